"""Finds labels that lie on one another, by the boxes that the browser gives their text."""

from __future__ import annotations

from playwright.sync_api import Locator

# Text is measured by a Range around each text node, since an element's box can be wider than its
# ink. Boxes may touch by a pixel: line boxes are taller than the letters in them.
FIND_OVERLAPS = """
(root) => {
  const boxes = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const visible = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) &&
    !element.closest("title, desc, style, [role=tooltip]");
  const clipped = (box, element) => {
    let { left, right, top, bottom } = box;
    for (let e = element; e && e !== root.parentElement; e = e.parentElement) {
      if (getComputedStyle(e).overflowX === "visible") continue;
      if (e.namespaceURI?.endsWith("svg") && e.tagName !== "svg") continue;
      const clip = e.getBoundingClientRect();
      left = Math.max(left, clip.left); right = Math.min(right, clip.right);
      top = Math.max(top, clip.top); bottom = Math.min(bottom, clip.bottom);
    }
    return { left, right, top, bottom };
  };
  // The box of slanted text is mostly empty: what counts is the text's own, as it lies.
  const known = new Map();
  const slantedCorners = (element) => {
    const text = element.closest("text");
    if (text && !known.has(text)) known.set(text, cornersOf(text));
    return known.get(text) ?? null;
  };
  const cornersOf = (text) => {
    const matrix = text.getScreenCTM();
    if (Math.abs(matrix.b) < 1e-6) return null;
    const { x, y, width, height } = text.getBBox();
    const shrink = height / 8;
    const [top, bottom] = [y + shrink, y + height - shrink];
    return [[x, top], [x + width, top], [x + width, bottom], [x, bottom]]
      .map(([px, py]) => new DOMPoint(px, py).matrixTransform(matrix));
  };
  const corners = ({ slanted, left, right, top, bottom }) => slanted ??
    [[left, top], [right, top], [right, bottom], [left, bottom]].map(([x, y]) => ({ x, y }));
  // Two convex shapes are apart if they are so along one of their sides' normals.
  const apart = (a, b) => {
    if (!a.slanted && !b.slanted) return false;
    const [one, other] = [corners(a), corners(b)];
    return [one, other].some((shape) => [0, 1].some((at) => {
      const [p, q] = [shape[at], shape[at + 1]];
      const length = Math.hypot(q.x - p.x, q.y - p.y);
      const along = ({ x, y }) => ((q.x - p.x) * x + (q.y - p.y) * y) / length;
      const [m, n] = [one.map(along), other.map(along)];
      return Math.min(Math.max(...m), Math.max(...n)) -
        Math.max(Math.min(...m), Math.min(...n)) <= 1;
    }));
  };
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.data.trim() || !visible(node.parentElement)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      const box = clipped(rect, node.parentElement);
      const shrink = Math.min(2, (box.bottom - box.top) / 8);
      box.top += shrink; box.bottom -= shrink;
      if (box.right - box.left > 1.5 && box.bottom - box.top > 1.5) {
        const slanted = slantedCorners(node.parentElement);
        boxes.push({ text: node.data.trim(), owner: node.parentElement, slanted, ...box });
      }
    }
  }
  // What the panel lies over is not seen.
  const over = root.closest(".over")?.querySelector(".vw-side");
  if (over) {
    const clip = over.getBoundingClientRect();
    for (let i = boxes.length - 1; i >= 0; i--) {
      const { owner, left, right, top, bottom } = boxes[i];
      const beside = right <= clip.left || left >= clip.right;
      const apart = bottom <= clip.top || top >= clip.bottom;
      if (!beside && !apart && !over.contains(owner)) boxes.splice(i, 1);
    }
  }
  const found = [];
  for (let i = 0; i < boxes.length; i++) {
    for (let j = i + 1; j < boxes.length; j++) {
      const [a, b] = [boxes[i], boxes[j]];
      if (a.owner === b.owner) continue;
      const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (width > 1 && height > 1 && !(a.slanted && a.slanted === b.slanted) && !apart(a, b)) {
        found.push(`"${a.text}" and "${b.text}" at ${Math.round(a.left)},${Math.round(a.top)}`);
      }
    }
  }
  return { count: boxes.length, found };
}
"""


def overlapping_labels(widget: Locator) -> list[str]:
    """Pairs of texts inside `widget` that overlap, in words. At least ten texts must be there."""
    result = widget.evaluate(FIND_OVERLAPS)
    assert result["count"] >= 10, "too few labels to be the widget's first frame"
    return result["found"]
