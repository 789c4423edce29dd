/** Keeps the keys within the widget: what had the focus may be gone after an update. */

/** @import { Roving } from "../ui/roving.js" */

/**
 * @param {HTMLElement} root
 * @param {Roving[]} regions
 * @param {() => {el: HTMLElement, chosen: string | null}} shown The element of what is looked at, and
 *   the node that was chosen in it last.
 */
export function createFocusKeeper(root, regions, shown) {
  /** @returns {HTMLElement | SVGElement | null} */
  function focused() {
    const home = /** @type {Document | ShadowRoot} */ (root.getRootNode());
    const active = home.activeElement ?? null;
    return active && root.contains(active) ? /** @type {HTMLElement} */ (active) : null;
  }

  /** @param {Element} element */
  const isThere = (element) =>
    root.contains(element) &&
    !element.closest("[hidden], .vw-leave") &&
    !(/** @type {HTMLButtonElement} */ (element).disabled);

  /** To the node that was chosen, or where the arrows were last. */
  function toView() {
    const { el, chosen } = shown();
    const stops = [...el.querySelectorAll("[data-nav]")];
    const stop =
      stops.find((each) => chosen && each.getAttribute("data-nav") === `node:${chosen}`) ??
      [...el.querySelectorAll('[tabindex="0"]')].find(isThere);
    /** @type {HTMLElement | SVGElement | undefined} */ (stop)?.focus({ preventScroll: true });
  }

  /**
   * @param {() => void} update
   */
  return function during(update) {
    const before = focused();
    const region = before && regions.find(({ el }) => el.contains(before));
    update();
    if (!before || isThere(before)) return;
    // What took the focus while updating knows why.
    const now = focused();
    if (now && now !== before && isThere(now)) return;
    if (!region?.restore()) toView();
  };
}
