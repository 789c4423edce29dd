"""Draws the pictures of docs/images: the demo model's graph, closed and open, and its routes, light
and dark.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

import visit_widget as vw

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PROMPT = "The capital of Japan is the city of"
LAYER, HEAD = 23, "L23.H4"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
WIDTH = 1280


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
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        for theme in ("light", "dark"):
            draw(browser, overview, theme, IMAGES / f"overview-{theme}.png")
            draw(browser, opened, theme, IMAGES / f"open-{theme}.png")
            draw(browser, routes, theme, IMAGES / f"routes-{theme}.png")
        browser.close()
    return 0


def draw(browser: Browser, page_file: Path, theme: str, image: Path) -> None:
    """Takes one picture of the widget in a saved page."""
    page = browser.new_page(
        viewport={"width": WIDTH, "height": 1000},
        device_scale_factor=1.5,
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    page.goto(page_file.as_uri())
    widget = page.locator(".visit-widget")
    widget.locator('[data-role="layer"], [data-role="routes"] svg').first.wait_for()
    page.wait_for_timeout(1000)  # fonts, and whatever moves
    widget.screenshot(path=image, animations="disabled")
    page.close()
    print(f"{image.relative_to(IMAGES.parents[1])} ({image.stat().st_size // 1024} KB)")


if __name__ == "__main__":
    sys.exit(main())
