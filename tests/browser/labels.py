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
        boxes.push({ text: node.data.trim(), owner: node.parentElement, ...box });
      }
    }
  }
  const found = [];
  for (let i = 0; i < boxes.length; i++) {
    for (let j = i + 1; j < boxes.length; j++) {
      const [a, b] = [boxes[i], boxes[j]];
      if (a.owner === b.owner) continue;
      const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (width > 1 && height > 1) {
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
