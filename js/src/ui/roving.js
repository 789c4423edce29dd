/** One tab stop for all controls of a region: arrows, Home and End go from one to the next. */

import { pressed } from "../words/keys.js";

const CONTROLS = "button, select, summary, input";
/** How far an arrow scrolls where the next control is out of sight, in pixels. */
const STEP = 60;

/**
 * @param {HTMLElement} el Its controls may come and go.
 * @param {{scroller?: HTMLElement}} [options] What scrolls within it, where what lies between two
 *   controls is to be read.
 */
export function createRoving(el, { scroller } = {}) {
  /** @type {HTMLElement | null} */
  let current = null;
  let place = { key: "", index: 0 };

  const all = () => /** @type {HTMLElement[]} */ ([...el.querySelectorAll(CONTROLS)]);

  /** @param {HTMLElement} control */
  function hold(control) {
    current = control;
    const usable = all().filter(isUsable);
    place = { key: keyOf(control), index: usable.indexOf(control) };
  }

  function rove() {
    const controls = all();
    const usable = controls.filter(isUsable);
    if (!current || !usable.includes(current)) {
      // What was drawn anew is known by what it does, else by where it stands.
      current =
        usable.find((control) => place.key !== "" && keyOf(control) === place.key) ??
        usable[Math.min(place.index, usable.length - 1)] ??
        null;
      if (current) place = { key: keyOf(current), index: usable.indexOf(current) };
    }
    for (const control of controls) {
      const wanted = control === current ? 0 : -1;
      if (control.getAttribute("tabindex") !== `${wanted}`) control.tabIndex = wanted;
    }
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const { target } = event;
    const key = pressed(event, "before", "after", "upper", "lower", "start", "end");
    if (!key || !(target instanceof HTMLElement)) return;
    const usable = all().filter(isUsable);
    const from = usable.indexOf(target);
    const sideways = key === "before" || key === "after";
    const ends = key === "start" || key === "end";
    // A list of choices keeps its own arrows, and a field those along what is written in it.
    const own = target.matches("input") ? sideways || ends : target.matches("select") && !sideways;
    if (from < 0 || own) return;
    const step = ends ? 0 : key === "after" || key === "lower" ? 1 : -1;
    const next = usable[ends ? (key === "start" ? 0 : usable.length - 1) : from + step];
    if (step && scroller && !sideways && !isNear(scroller, next, step)) {
      scroller.scrollTop += step * STEP;
    } else next?.focus();
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {FocusEvent} event */
  function onFocus({ target }) {
    if (!(target instanceof HTMLElement) || !target.matches(CONTROLS)) return;
    hold(target);
    rove();
  }

  const watch = new MutationObserver(rove);
  watch.observe(el, {
    childList: true,
    subtree: true,
    attributes: true,
    attributeFilter: ["disabled", "hidden"],
  });
  el.addEventListener("keydown", onKey);
  el.addEventListener("focusin", onFocus);
  rove();

  return {
    el,
    /** @param {HTMLElement} control Becomes the region's tab stop, without taking the focus. */
    prefer(control) {
      if (el.contains(el.ownerDocument.activeElement)) return;
      hold(control);
      rove();
    },
    /** Gives the region its focus back. @returns {boolean} Whether it has anything to hold it. */
    restore() {
      if (el.hidden) return false;
      rove();
      current?.focus({ preventScroll: true });
      return current !== null;
    },
    destroy() {
      watch.disconnect();
      el.removeEventListener("keydown", onKey);
      el.removeEventListener("focusin", onFocus);
    },
  };
}

/** @typedef {ReturnType<typeof createRoving>} Roving */

/** @param {HTMLElement} control */
const isUsable = (control) =>
  !(/** @type {HTMLButtonElement} */ (control).disabled) && !control.closest("[hidden]");

/** @param {HTMLElement} control */
function keyOf(control) {
  const { role, position, view, node } = control.dataset;
  const named = control.getAttribute("aria-label") ?? control.textContent ?? "";
  return role ?? position ?? view ?? node ?? named;
}

/**
 * Whether the next control is in sight, or there is nothing more to scroll that way.
 *
 * @param {HTMLElement} scroller
 * @param {HTMLElement | undefined} next
 * @param {1 | -1} step
 */
function isNear(scroller, next, step) {
  const { scrollTop, clientHeight, scrollHeight } = scroller;
  if (step > 0 ? scrollTop + clientHeight >= scrollHeight - 1 : scrollTop <= 0) return true;
  if (!next) return false;
  const [own, room] = [next.getBoundingClientRect(), scroller.getBoundingClientRect()];
  return own.top >= room.top && own.bottom <= room.bottom;
}
