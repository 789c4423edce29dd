/** What jsdom lacks: sizes. Import before the code under test. */

globalThis.ResizeObserver ??= class {
  /** @type {Set<any>} */
  static all = new Set();
  constructor(callback) {
    this.callback = callback;
    ResizeObserver.all.add(this);
  }
  observe() {}
  unobserve() {}
  disconnect() {
    ResizeObserver.all.delete(this);
  }
};

/**
 * @param {Element} root
 * @param {string} selector
 */
export function all(root, selector) {
  return [...root.querySelectorAll(selector)];
}

/** @param {Element} root */
export const texts = (root, selector) => all(root, selector).map((element) => element.textContent);

/** @param {Element} element */
export function press(element, key, more = {}) {
  element.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, composed: true, ...more }),
  );
}
