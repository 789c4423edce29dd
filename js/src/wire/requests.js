/**
 * Asks the kernel, over a channel that only carries messages.
 *
 * A later request of the same topic makes the earlier one void: its promise rejects as `void`, the
 * kernel is told, and whatever it still answers is dropped. Replies that cannot change are kept.
 */

import { decodeIncoming, encodeCancel, encodeRequest } from "./codec.js";

/** @import { RequestOptions, OutgoingEnvelope } from "../types.js" */

/** How long the kernel may stay silent before the reader is told. The request goes on waiting. */
export const SILENCE_MS = 20_000;

/** Methods whose reply is decided by their params, which name the graph's revision where it matters. */
const CACHED_METHODS = new Set([
  "expand",
  "project",
  "audit",
  "effects",
  "effects_map",
  "vocabulary",
]);

const CACHE_SIZE = 128;

/** The kernel's own error, or why it could not be asked: `message` is a sentence to show. */
export class RequestError extends Error {
  /**
   * @param {string} type
   * @param {string} message
   */
  constructor(type, message) {
    super(message);
    this.name = "RequestError";
    this.type = type;
  }
}

/**
 * Whether a rejection only says that nobody wants the answer any more.
 *
 * @param {unknown} error
 */
export function isVoid(error) {
  return error instanceof RequestError && error.type === "void";
}

/**
 * @typedef {object} Channel
 * @property {(message: OutgoingEnvelope) => void} send
 * @property {(listener: (message: unknown) => void) => () => void} onMessage
 *
 * @typedef {object} PendingRequest
 * @property {string} id
 * @property {string} topic
 * @property {string} key
 * @property {(result: any) => void} resolve
 * @property {(error: RequestError) => void} reject
 * @property {RequestOptions} options
 * @property {ReturnType<typeof setTimeout>} timer
 * @property {boolean} silent
 * @property {() => void} release
 */

/**
 * @param {Channel} channel
 * @param {{silenceMs?: number}} [settings]
 */
export function createRequestClient(channel, { silenceMs = SILENCE_MS } = {}) {
  // Two views of a notebook may talk to one kernel: a random prefix keeps their ids apart.
  // (crypto.randomUUID does not exist on plain http.)
  const prefix = Math.random().toString(36).slice(2, 10);
  let counter = 0;

  /** @type {Map<string, PendingRequest>} */
  const pending = new Map();
  /** @type {Map<string, any>} */
  const replies = new Map();

  const stopListening = channel.onMessage(receive);

  /** @param {unknown} message */
  function receive(message) {
    const envelope = decodeIncoming(message);
    const request = envelope && pending.get(envelope.id);
    if (!envelope || !request) return;
    if (envelope.kind === "visit-progress") {
      hearFrom(request);
      request.options.onProgress?.(envelope.done, envelope.total);
      return;
    }
    settle(request);
    if (envelope.ok) {
      remember(request.key, envelope.result);
      request.resolve(envelope.result);
    } else {
      request.reject(new RequestError(envelope.error.type, envelope.error.message));
    }
  }

  /**
   * @param {string} method
   * @param {Record<string, unknown>} params
   * @param {RequestOptions} [options]
   * @returns {Promise<any>}
   */
  function request(method, params, options = {}) {
    const topic = topicOf(method, params);
    for (const other of pending.values()) {
      if (other.topic === topic) abandon(other);
    }
    const key = CACHED_METHODS.has(method) ? JSON.stringify([method, params]) : "";
    if (replies.has(key)) return Promise.resolve(replies.get(key));
    if (options.signal?.aborted) return Promise.reject(voided());

    return new Promise((resolve, reject) => {
      const id = `${prefix}-${++counter}`;
      const onAbort = () => {
        const request = pending.get(id);
        if (request) abandon(request);
      };
      options.signal?.addEventListener("abort", onAbort);
      /** @type {PendingRequest} */
      const entry = {
        id,
        topic,
        key,
        resolve,
        reject,
        options,
        timer: setTimeout(() => fallSilent(id), silenceMs),
        silent: false,
        release: () => options.signal?.removeEventListener("abort", onAbort),
      };
      pending.set(id, entry);
      try {
        channel.send(encodeRequest(id, method, params));
      } catch {
        settle(entry);
        reject(
          new RequestError(
            "unreachable",
            "The kernel cannot be reached; it may have been restarted. Run the cell again to " +
              "reconnect. What is shown here keeps working.",
          ),
        );
      }
    });
  }

  /** @param {string} id */
  function fallSilent(id) {
    const request = pending.get(id);
    if (!request) return;
    request.silent = true;
    request.options.onSilence?.(true);
  }

  /** @param {PendingRequest} request */
  function hearFrom(request) {
    clearTimeout(request.timer);
    if (request.silent) request.options.onSilence?.(false);
    request.silent = false;
    request.timer = setTimeout(() => fallSilent(request.id), silenceMs);
  }

  /** @param {PendingRequest} request */
  function settle(request) {
    pending.delete(request.id);
    clearTimeout(request.timer);
    request.release();
    if (request.silent) request.options.onSilence?.(false);
  }

  /** @param {PendingRequest} request */
  function abandon(request) {
    settle(request);
    try {
      channel.send(encodeCancel(request.id));
    } catch {
      // A kernel that is gone needs no telling.
    }
    request.reject(voided());
  }

  /**
   * @param {string} key
   * @param {any} result
   */
  function remember(key, result) {
    if (key === "") return;
    replies.set(key, result);
    const [oldest] = replies.keys();
    if (replies.size > CACHE_SIZE && oldest !== undefined) replies.delete(oldest);
  }

  function destroy() {
    stopListening();
    for (const request of [...pending.values()]) abandon(request);
    replies.clear();
  }

  return { request, destroy };
}

/**
 * @param {string} method
 * @param {Record<string, unknown>} params
 */
function topicOf(method, params) {
  return "layer" in params ? `${method} ${params.layer}` : method;
}

function voided() {
  return new RequestError("void", "This question was overtaken by a later one.");
}
