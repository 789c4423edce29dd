/** Asks the host for what the state shows and does not have, and keeps what it answers. */

import { isVoid } from "../wire/requests.js";
import { createWindowAsker } from "./asking-windows.js";
import { LATE_NAMES } from "./revisions.js";
import {
  auditPending,
  awaitsGraph,
  isStale,
  missingDetails,
  problemOf,
  shownMeasure,
  showsAll,
  staleLayers,
} from "./selectors.js";

/** @import { UserAction } from "./controller.js" */
/** @import { State, StateAction } from "./state.js" */
/** @import { Host, LateName } from "../types.js" */

const ASK_LATER_MS = 500;
/** Nothing has changed for so long before more is computed than was asked for. */
const IDLE_MS = 300;
/** So long a step of a generation stands before more is asked of it than what is drawn. */
const RESTS_MS = 400;

/** Refusals that are no news under the prompt's tokens: there is just nothing to show there. */
const UNAVAILABLE = ["not-included", "no-kernel", "unreachable"];

/**
 * @param {Host} host
 * @param {{getState: () => State, apply: (action: StateAction) => void,
 *   isWatched: () => boolean, shareSteps: () => void}} context
 */
export function createAsker(host, { getState, apply, isWatched, shareSteps }) {
  let silentRequests = 0;
  let auditReaders = 0;
  let auditing = new AbortController();
  /** The layer whose effects are being measured: one at a time. */
  let measuring = { layer: -1, revision: /** @type {number | undefined} */ (-1), stop() {} };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let idle;
  /** The step that is on screen, and since when. */
  let shown = { step: /** @type {string | null} */ (null), since: 0 };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let resting;

  /** Asks for everything that the state shows and does not have. */
  function fillIn() {
    // While many prompts are on show, nobody looks at the graph of one.
    if (!getState().graph || !isWatched() || showsAll(getState())) return;
    for (const layer of staleLayers(getState())) {
      if (!getState().asked.includes(layer)) void expand(layer);
    }
    const missing = missingDetails(getState());
    if (missing.some((id) => !getState().detailsAsked.includes(id))) void project(missing);
    const passes = passesBy();
    for (const name of LATE_NAMES) {
      const { view, lateAsked, graph } = getState();
      if (passes && !(name === "routes" && view === "routes")) continue;
      // What tokens add, and where attention is parked, is told of the pass as it is.
      const told = !["attribution", "sinks"].includes(name) || !graph?.before;
      const wanted = name === "routes" ? view === "routes" : told;
      if (wanted && isStale(getState(), name) && !lateAsked.includes(name)) void late(name);
    }
    const { audit: known, auditAsked } = getState();
    if (auditReaders > 0 && !known && !auditAsked) void audit();
    if (measuring.layer >= 0 && !isMeasured(measuring)) measuring.stop();
    clearTimeout(idle);
    if (!passes && measuring.layer < 0 && unmeasured() !== undefined)
      idle = setTimeout(measure, IDLE_MS);
  }

  /**
   * Whether the step on screen is one of many that are gone through: what only a reader who stays
   * would see of it is not worth the kernel's time. Once one rests, it is asked for.
   */
  function passesBy() {
    const { graph, step, passing, playing, live } = getState();
    if (graph?.step == null) return false;
    const now = `${graph.branch} ${step}`;
    if (shown.step !== now) shown = { step: now, since: shown.step === null ? 0 : Date.now() };
    const left = shown.since + RESTS_MS - Date.now();
    clearTimeout(resting);
    if (passing || (playing && live)) return true;
    if (left > 0) resting = setTimeout(fillIn, left);
    return left > 0;
  }

  /**
   * Whether the effects of a layer's parts are to be seen.
   *
   * @param {{layer: number, revision?: number}} of
   */
  function isMeasured({ layer, revision = revisionNow() }) {
    const state = getState();
    const shown = shownMeasure(state) === "effect" && revision === revisionNow();
    return shown && state.expanded.includes(layer);
  }

  function unmeasured() {
    const state = getState();
    if (awaitsGraph(state)) return;
    const waits = staleLayers(state);
    return state.expanded.find(
      (layer) => isMeasured({ layer }) && !waits.includes(layer) && !state.effects[layer],
    );
  }

  /** Measures the parts of an open layer, once nothing else happens. */
  async function measure() {
    const layer = unmeasured();
    const revision = revisionNow();
    if (layer === undefined || revision === undefined || measuring.layer >= 0) return;
    const asking = new AbortController();
    measuring = { layer, revision, stop: () => asking.abort() };
    const tell = (/** @type {import("../types.js").LayerEffects | null} */ effects) => {
      if (revision === revisionNow()) apply({ type: "effects", layer, effects });
    };
    tell({ revision, nodes: {} });
    try {
      const of = listenTo("effects");
      tell({
        ...(await host.request("effects", { layer, revision }, { ...of, signal: asking.signal })),
        revision,
      });
    } catch (error) {
      const { type = "", message = "" } = /** @type {{type?: string, message?: string}} */ (error);
      if (isVoid(error)) tell(null);
      else tell({ revision, nodes: {}, failed: UNAVAILABLE.includes(type) ? "" : message });
    } finally {
      measuring = { ...measuring, layer: -1 };
      apply({ type: "progress-end", of: "effects" });
      fillIn();
    }
  }

  /** @param {number} layer */
  async function expand(layer) {
    const revision = revisionNow();
    const of = `layer ${layer}`;
    apply({ type: "block-asked", layer });
    try {
      const block = await host.request("expand", { layer, revision }, listenTo(of));
      // A block of another revision is dropped: the graph it belongs to is on its way.
      apply({ type: "block", block });
      fillIn();
    } catch (error) {
      if (isVoid(error) || revision !== revisionNow()) return;
      if (awaitsGraph(getState())) return askLater(revision, { type: "block-deferred", layer });
      apply({ type: "block-failed", layer });
      shareSteps();
      // One sentence for however many layers fail of one cause; one try again for all of them.
      const before = getState().problems.find(({ key }) => key === "expand")?.retry?.layers ?? [];
      report("expand", error, { type: "open-layers", layers: [...before, layer] });
    } finally {
      if (revision === revisionNow()) apply({ type: "progress-end", of });
    }
  }

  /** @param {string[]} ids */
  async function project(ids) {
    const revision = revisionNow();
    apply({ type: "details-asked", ids });
    try {
      // A pin may be of what this graph does not draw, and must not keep the others from being told.
      const lenient = ids.some((id) => getState().pins.includes(id));
      const params = { nodes: ids, revision, ...(lenient ? { lenient } : {}) };
      const { nodes, against, missing, ...reply } = await host.request(
        "project",
        params,
        listenTo("details"),
      );
      apply({ type: "details", revision: reply.revision, details: nodes, against, missing });
      apply({ type: "dismiss", key: "details" });
    } catch (error) {
      if (isVoid(error) || revision !== revisionNow()) return;
      if (awaitsGraph(getState())) return askLater(revision, { type: "details-failed", ids });
      // Still counted as asked, or the next change of anything would ask again.
      report("details", error, { type: "ask-details" });
    } finally {
      if (revision === revisionNow()) apply({ type: "progress-end", of: "details" });
    }
  }

  /** @param {LateName} name */
  async function late(name) {
    const revision = revisionNow();
    apply({ type: "late-asked", name });
    try {
      const reply = await host.request(name, { revision }, listenTo(name));
      apply({ type: "late", name, reply });
      // Where marks could be had, others may still be missing.
      if (name !== "sinks") apply({ type: "dismiss", key: problemOf(name) });
      fillIn();
    } catch (error) {
      if (isVoid(error) || revision !== revisionNow()) return;
      if (awaitsGraph(getState())) return askLater(revision, { type: "late-unasked", name });
      const { type = "" } = /** @type {{type?: string}} */ (error);
      // Still counted as asked, or the next change of anything would ask again.
      // Marks are no loss that a reader has to be told of.
      const quiet = name === "sinks" || UNAVAILABLE.includes(type);
      if (quiet) apply({ type: "late-missing", name });
      if (name === "routes" || !quiet) {
        report(problemOf(name), error, { type: "ask-late", problem: problemOf(name) });
      }
    } finally {
      if (revision === revisionNow()) apply({ type: "progress-end", of: name });
    }
  }

  /**
   * While somebody reads the audit it is kept up to date with the graph; with the last reader gone,
   * an audit under way is called off.
   *
   * @returns {() => void}
   */
  function readAudit() {
    auditReaders += 1;
    fillIn();
    let reading = true;
    return () => {
      if (!reading) return;
      reading = false;
      auditReaders -= 1;
      if (auditReaders > 0) return;
      auditing.abort();
      apply({ type: "audit-unasked" });
      apply({ type: "dismiss", key: "audit" });
      apply({ type: "progress-end", of: "audit" });
    };
  }

  async function audit() {
    const revision = revisionNow();
    auditing = new AbortController();
    const { signal } = auditing;
    apply({ type: "audit-asked" });
    try {
      const reply = await host.request("audit", { revision }, { ...listenTo("audit"), signal });
      apply({ type: "audit", revision, audit: reply });
    } catch (error) {
      if (isVoid(error) || signal.aborted || revision !== revisionNow()) return;
      if (awaitsGraph(getState())) return askLater(revision, { type: "audit-unasked" });
      // Still counted as asked, or the next change of anything would ask again.
      report("audit", error, { type: "ask-audit" });
    } finally {
      if (revision === revisionNow() && !auditPending(getState())) {
        apply({ type: "progress-end", of: "audit" });
      }
    }
  }

  /**
   * The kernel refuses questions about a graph that it is just replacing: the new one is on its way,
   * and if it does not come the question stands.
   *
   * @param {number | undefined} revision
   * @param {StateAction} unasked
   */
  function askLater(revision, unasked) {
    setTimeout(() => {
      if (revision !== revisionNow()) return;
      apply(unasked);
      fillIn();
    }, ASK_LATER_MS);
  }

  /** @param {string} prompt */
  async function retrace(prompt) {
    try {
      await host.request("retrace", { prompt }, listenTo("prompt"));
      apply({ type: "dismiss", key: "retrace" });
    } catch (error) {
      if (!isVoid(error)) report("retrace", error, { type: "retrace", prompt });
    } finally {
      apply({ type: "progress-end", of: "prompt" });
    }
  }

  /**
   * @param {number} at
   * @param {number} token What stands there instead.
   */
  async function branch(at, token) {
    const from = getState();
    apply({ type: "progress", of: "branch", done: 0, total: 1 });
    try {
      await host.request("branch", { at, token }, listenTo("branch"));
      apply({ type: "branched", from });
      apply({ type: "dismiss", key: "branch" });
    } catch (error) {
      if (!isVoid(error)) report("branch", error, { type: "branch", at, token });
    } finally {
      apply({ type: "progress-end", of: "branch" });
    }
  }

  /** @param {string} of */
  function listenTo(of) {
    return {
      /** @type {(done: number, total: number) => void} */
      onProgress: (done, total) => apply({ type: "progress", of, done, total }),
      /** @type {(silent: boolean) => void} */
      onSilence(silent) {
        silentRequests += silent ? 1 : -1;
        apply({ type: "silence", silent: silentRequests > 0 });
      },
    };
  }

  /**
   * @param {string} key
   * @param {unknown} error
   * @param {UserAction} retry
   */
  function report(key, error, retry) {
    const message = error instanceof Error ? error.message : String(error);
    // Where no kernel stands behind the page, trying again would only fail again.
    const problem = host.live ? { key, message, retry } : { key, message };
    apply({ type: "problem", problem });
  }

  const revisionNow = () => getState().graph?.revision;

  return {
    fillIn,
    retrace,
    branch,
    readAudit,
    ...createWindowAsker(host, { revisionNow, apply, listenTo }),
    isSilent: () => silentRequests > 0,
  };
}
