/** Asks the host for what only a window shows: nothing of it is kept in the state. */

/** @import { StateAction } from "./state.js" */
/** @import { Host, RequestOptions, Token } from "../types.js" */

/**
 * @param {Host} host
 * @param {{revisionNow: () => number | undefined, apply: (action: StateAction) => void,
 *   listenTo: (of: string) => RequestOptions}} context
 */
export function createWindowAsker(host, { revisionNow, apply, listenTo }) {
  /**
   * The effects of all heads, or of all sublayers.
   *
   * @param {import("../types.js").EffectsMap["over"]} over
   * @param {AbortSignal} signal
   * @returns {Promise<import("../types.js").EffectsMap>}
   */
  async function mapEffects(over, signal) {
    const params = { over, revision: revisionNow() };
    try {
      return await host.request("effects_map", params, { ...listenTo("map"), signal });
    } finally {
      apply({ type: "progress-end", of: "map" });
    }
  }

  /**
   * What parts of the other prompt bring, one after the other.
   *
   * @param {import("../types.js").PatchedOver} over
   * @param {AbortSignal} signal
   * @returns {Promise<import("../types.js").Patching>}
   */
  async function mapPatching(over, signal) {
    const params = { over, revision: revisionNow() };
    try {
      return await host.request("patching", params, { ...listenTo("map"), signal });
    } finally {
      apply({ type: "progress-end", of: "map" });
    }
  }

  /**
   * Fits a lens for this model; resolves once it can be read with.
   *
   * @param {import("../types.js").LensName} lens
   * @param {AbortSignal} signal
   */
  async function fitLens(lens, signal) {
    // How far it is goes to its own window: it takes minutes, and the picture is not waiting.
    const onProgress = (/** @type {number} */ done, /** @type {number} */ total) =>
      apply({ type: "progress", of: "fit", done, total });
    try {
      const { lenses } = await host.request("fit_lens", { lens }, { onProgress, signal });
      apply({ type: "traits", traits: { lenses } });
    } finally {
      apply({ type: "progress-end", of: "fit" });
    }
  }

  /**
   * @param {string} head
   * @param {number} source
   * @returns {Promise<import("../types.js").ScoreMatrix>}
   */
  const scoreParts = (head, source) =>
    host.request("score_parts", { head, source, revision: revisionNow() });

  /**
   * A finding that only a window shows, as does how far it is.
   *
   * @param {string} method
   * @param {Record<string, unknown>} params
   * @param {AbortSignal} signal
   * @param {(done: number, total: number) => void} onProgress
   * @returns {Promise<any>}
   */
  const find = (method, params, signal, onProgress) =>
    host.request(method, { ...params, revision: revisionNow() }, { signal, onProgress });

  /**
   * @param {string} query
   * @param {AbortSignal} [signal]
   * @returns {Promise<Token[]>}
   */
  async function searchVocabulary(query, signal) {
    const reply = await host.request("vocabulary", { query, limit: 20 }, { signal });
    return reply.tokens;
  }

  return { mapEffects, mapPatching, fitLens, scoreParts, find, searchVocabulary };
}
