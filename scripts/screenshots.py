"""Draws the pictures of docs/images: the demo model's graph, closed and open, its routes, and one
node read by several lenses, light and dark.
"""

from __future__ import annotations

import base64
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

import visit_widget as vw

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PROMPT = "The capital of Japan is the city of"
LAYER, HEAD = 23, "L23.H4"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
WIDTH, SCALE = 1280, 1.5
LENSES, READ = ("logit", "calibrated", "jacobian", "local"), "L23.mlp"


def main() -> int:
    """Writes the pictures."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if chromium is None:
        print("Chromium was not found: scripts/chromium.sh installs it or says how.")
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    # Fitted first where it has not been: some minutes.
    widget = vw.visit(*vw.load_demo(), PROMPT, lens="jacobian")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        overview = widget.save_html(Path(folder, "overview.html"), expand=[])
        widget.selection = [HEAD]
        opened = widget.save_html(Path(folder, "open.html"), expand=[LAYER])
        widget.selection, widget.view = [], "routes"
        routes = widget.save_html(Path(folder, "routes.html"), expand=[])
        widget.view, widget.selection = "block", [READ]
        panels = []
        for lens in LENSES:
            widget.lens = lens
            panels.append(widget.save_html(Path(folder, f"{lens}.html"), expand=[LAYER]))
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        for theme in ("light", "dark"):
            draw(browser, overview, theme, IMAGES / f"overview-{theme}.png")
            draw(browser, opened, theme, IMAGES / f"open-{theme}.png")
            draw(browser, routes, theme, IMAGES / f"routes-{theme}.png")
            draw_panels(browser, panels, theme, IMAGES / f"lenses-{theme}.png")
        browser.close()
    return 0


def draw(browser: Browser, page_file: Path, theme: str, image: Path) -> None:
    """Takes one picture of the widget in a saved page."""
    page = opened(browser, page_file, theme)
    page.locator(".visit-widget").screenshot(path=image, animations="disabled")
    page.close()
    print(f"{image.relative_to(IMAGES.parents[1])} ({image.stat().st_size // 1024} KB)")


def draw_panels(browser: Browser, page_files: list[Path], theme: str, image: Path) -> None:
    """Takes one picture of what the panels of saved pages say of their node, side by side."""
    shots, ground = [], ""
    for page_file in page_files:
        page = opened(browser, page_file, theme)
        ends = [page.locator(f".vw-side-flow {what}") for what in (".vw-side-head", ".vw-section")]
        head, tokens = (end.first.bounding_box() for end in ends)
        assert head is not None
        assert tokens is not None
        bottom = tokens["y"] + tokens["height"]
        clip = {**head, "height": bottom - head["y"]}
        shots.append(base64.b64encode(page.screenshot(clip=clip)).decode())
        ground = page.locator(".visit-widget").evaluate("e => getComputedStyle(e).backgroundColor")
        page.close()
    width = clip["width"]
    page = browser.new_page(device_scale_factor=SCALE)
    style = f"background:{ground};display:inline-flex;align-items:start;gap:28px;padding:12px 20px"
    images = [f"<img width='{width}' src='data:image/png;base64,{shot}'>" for shot in shots]
    page.set_content(f"<body style='margin:0'><div style='{style}'>{''.join(images)}</div>")
    page.set_viewport_size({"width": 4 * WIDTH, "height": 1000})
    page.locator("div").screenshot(path=image)
    page.close()
    print(f"{image.relative_to(IMAGES.parents[1])} ({image.stat().st_size // 1024} KB)")


def opened(browser: Browser, page_file: Path, theme: str) -> Page:
    """A saved page, drawn."""
    page = browser.new_page(
        viewport={"width": WIDTH, "height": 1000},
        device_scale_factor=SCALE,
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    page.goto(page_file.as_uri())
    widget = page.locator(".visit-widget")
    widget.locator('[data-role="layer"], [data-role="routes"] svg').first.wait_for()
    page.wait_for_timeout(1000)  # fonts, and whatever moves
    return page


if __name__ == "__main__":
    sys.exit(main())
