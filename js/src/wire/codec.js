/**
 * The envelopes that requests travel in (docs/protocol.md). Pure: what goes out is built here, and
 * what comes in is trusted only after it has passed here.
 */

/** @import { CancelEnvelope, IncomingEnvelope, OutgoingEnvelope, RequestEnvelope } from "../types.js" */

/**
 * @param {string} id
 * @param {string} method
 * @param {Record<string, unknown>} params
 * @returns {RequestEnvelope}
 */
export function encodeRequest(id, method, params) {
  return { kind: "visit-request", id, method, params };
}

/**
 * @param {string} id
 * @returns {CancelEnvelope}
 */
export function encodeCancel(id) {
  return { kind: "visit-cancel", id };
}

/**
 * Reads a message from the kernel; null where it is none of ours or is malformed.
 *
 * @param {unknown} message
 * @returns {IncomingEnvelope | null}
 */
export function decodeIncoming(message) {
  if (!isRecord(message) || !isId(message.id)) return null;
  if (message.kind === "visit-progress") {
    return isCount(message.done) && isCount(message.total)
      ? { kind: "visit-progress", id: message.id, done: message.done, total: message.total }
      : null;
  }
  if (message.kind !== "visit-response") return null;
  if (message.ok === true && "result" in message) {
    return { kind: "visit-response", id: message.id, ok: true, result: message.result };
  }
  if (message.ok === false && isRecord(message.error)) {
    const { type, message: sentence } = message.error;
    if (typeof type !== "string" || typeof sentence !== "string") return null;
    return {
      kind: "visit-response",
      id: message.id,
      ok: false,
      error: { type, message: sentence },
    };
  }
  return null;
}

/**
 * Reads a message to the kernel: what a fake kernel does, and what the shared fixtures hold the
 * encoders to.
 *
 * @param {unknown} message
 * @returns {OutgoingEnvelope | null}
 */
export function decodeOutgoing(message) {
  if (!isRecord(message) || !isId(message.id)) return null;
  if (message.kind === "visit-cancel") return encodeCancel(message.id);
  if (message.kind !== "visit-request") return null;
  if (typeof message.method !== "string" || message.method === "") return null;
  if (!isRecord(message.params)) return null;
  return encodeRequest(message.id, message.method, message.params);
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, any>}
 */
function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * @param {unknown} value
 * @returns {value is string}
 */
function isId(value) {
  return typeof value === "string" && value !== "";
}

/**
 * @param {unknown} value
 * @returns {value is number}
 */
function isCount(value) {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}
