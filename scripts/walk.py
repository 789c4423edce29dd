"""Draws docs/images/walk.webp, the moving picture of the README: a walk through the demo model's
graph, from the whole of it into a layer and a head, and along its routes.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright
from screenshots import CHROMIUM_FLAGS, CHROMIUM_NAMES, HEAD, IMAGES, LAYER, PROMPT

import visit_widget as vw

TARGET = IMAGES / "walk.webp"
SIZE = {"width": 1080, "height": 680}
LARGEST = 2_000_000
NEURON = "L23.N1508"
# Milliseconds: of a frame while something moves, and of one that is to be looked at.
MOVING, LOOK = 90, 1700
_POINTER = """() => {
  const pointer = document.createElement("div");
  pointer.id = "walk-pointer";
  pointer.style.cssText = "position:fixed;left:0;top:0;z-index:99999;pointer-events:none";
  pointer.innerHTML = `<svg width="22" height="26" viewBox="0 0 22 26"><path
    d="M2 2v19l5-4.6 3.2 7.4 3.6-1.6-3.2-7.2H18z" fill="#111" stroke="#fff"
    stroke-width="1.6"/></svg>`;
  document.body.append(pointer);
  addEventListener("mousemove", (e) => {
    pointer.style.transform = `translate(${e.clientX}px, ${e.clientY}px)`;
  }, true);
}"""


class Walk:
    """A page, its pointer, and the frames so far."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.at = (SIZE["width"] * 0.6, SIZE["height"] * 0.9)
        self.frames: list[Image.Image] = []
        self.durations: list[int] = []
        page.evaluate(_POINTER)
        page.mouse.move(*self.at)

    def frame(self, duration: int = MOVING) -> None:
        """Take what is on the page; one that shows nothing new lengthens the one before."""
        shot = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        if self.frames and shot.tobytes() == self.frames[-1].tobytes():
            self.durations[-1] += duration
            return
        self.frames.append(shot)
        self.durations.append(duration)

    def look(self, duration: int = LOOK) -> None:
        """Wait until all is still, and stay."""
        self.page.wait_for_timeout(600)
        self.frame(duration)

    def to(self, what: Locator, x: float = 0.5, y: float = 0.5) -> None:
        """Move the pointer onto something."""
        box = what.bounding_box()
        assert box is not None
        end = (box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        start, steps = self.at, 7
        for step in range(1, steps + 1):
            part = step / steps
            eased = part * part * (3 - 2 * part)
            self.page.mouse.move(
                start[0] + (end[0] - start[0]) * eased, start[1] + (end[1] - start[1]) * eased
            )
            self.frame()
        self.at = end

    def click(self) -> None:
        """Click there, and watch what moves."""
        self.frame(350)
        self.page.mouse.click(*self.at)
        for _ in range(8):
            self.frame()


def main() -> int:
    """Writes the picture."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if chromium is None:
        print("Chromium was not found: scripts/chromium.sh installs it or says how.")
        return 1
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        widget = vw.visit(*vw.load_demo(), PROMPT, lens="jacobian")
        # All layers are in it, and none is open.
        saved = widget.save_html(Path(folder, "walk.html"), expand="all")
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(saved.as_uri())
        walk = Walk(page)
        tour(walk)
        browser.close()
    first, *others = walk.frames
    first.save(
        TARGET, save_all=True, append_images=others, duration=walk.durations, loop=0,
        quality=62, method=6, minimize_size=True, allow_mixed=True,
    )  # fmt: skip
    size = TARGET.stat().st_size
    seconds = sum(walk.durations) / 1000
    print(f"{TARGET.name}: {len(walk.frames)} frames, {seconds:.0f} s, {size // 1000} kB")
    if size > LARGEST:
        print(f"It is larger than {LARGEST // 1000} kB: take fewer frames.")
        return 1
    return 0


def tour(walk: Walk) -> None:
    """Where the walk goes."""
    widget = walk.page.locator(".visit-widget")
    layer = widget.locator(f'[data-role="layer"][data-layer="{LAYER}"]')
    views = widget.locator('[data-view="routes"]'), widget.locator('[data-view="block"]')
    layer.wait_for()
    walk.look()
    walk.to(layer)
    walk.click()
    walk.look()
    for part in (HEAD, NEURON):
        node = widget.locator(f'[data-node="{part}"]').first
        walk.to(node, x=0.3)
        # Rows make room for the one that is pointed at.
        walk.look(300)
        walk.to(node, x=0.3)
        walk.click()
        walk.look(2600)
    walk.page.keyboard.press("Escape")
    walk.to(views[0])
    walk.click()
    walk.look(2600)
    walk.to(views[1])
    walk.click()
    walk.look(600)


if __name__ == "__main__":
    sys.exit(main())
