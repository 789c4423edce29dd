"""What tests do to a widget on a page, and what they read off it."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

FIXTURES = Path(__file__).parents[1] / "fixtures"


def fixture(name: str):
    """A recorded message of tests/fixtures."""
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


GRAPH = fixture("graph")
BLOCK = fixture("expand")
PROJECT = fixture("project")["nodes"]
AUDIT = fixture("audit")
ROUTES = fixture("routes")
ATTRIBUTION = fixture("attribution")
PREDICTIONS = fixture("predictions")

LAYER = BLOCK["layer"]
HEAD = "L23.H4"


def widget_of(page: Page, view: int = 0) -> Locator:
    return page.locator(".visit-widget").nth(view)


def layer_area(widget: Locator, layer: int) -> Locator:
    return widget.locator(f'[data-role="layer"][data-layer="{layer}"]')


def node(widget: Locator, node_id: str) -> Locator:
    return widget.locator(f'[data-node="{node_id}"]').first


def panel_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="panel"]')


def open_layer(widget: Locator, layer: int = LAYER) -> None:
    layer_area(widget, layer).click()
    expect(node(widget, f"L{layer}.H4")).to_be_visible()
    settle(widget)


def settle(widget: Locator) -> None:
    """Waits until whatever moves has arrived, also on a machine that is busy otherwise."""
    widget.evaluate(
        """async (root) => {
            const still = () => JSON.stringify([...root.querySelectorAll('[data-node], text')]
                .map((e) => { const b = e.getBoundingClientRect(); return [b.x | 0, b.y | 0]; }));
            const frame = () => new Promise((done) => {
                requestAnimationFrame(() => setTimeout(done, 30));
                setTimeout(done, 300);  // no frames are made of what is out of sight
            });
            let before = "";
            let alike = 0;
            for (let i = 0; i < 150; i++) {
                const now = still();
                alike = now === before ? alike + 1 : 0;
                // Some tests keep an answer back for good.
                if (alike >= (root.classList.contains("busy") ? 20 : 3)) return;
                before = now;
                await frame();
            }
        }"""
    )


def model_state(page: Page, trait: str):
    return page.evaluate("(trait) => model.get(trait)", trait)


def requests_for(page: Page, method: str) -> list[dict]:
    return page.evaluate(
        "(method) => model.sent.filter((m) => m.kind === 'visit-request' && m.method === method)",
        method,
    )


def set_model(page: Page, **traits) -> None:
    """As the kernel, or a cell, would."""
    page.evaluate("(all) => Object.entries(all).forEach((e) => model.set(...e))", traits)


def measure_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="measure"]')


def show_routes(widget: Locator) -> None:
    widget.get_by_role("button", name="Routes", exact=True).click()
    expect(widget.locator("path.vw-route").first).to_be_visible()
    settle(widget)


def click_ribbon(page: Page, path: Locator) -> None:
    """Clicks the middle of a ribbon's level run: its box is mostly empty."""
    x, y = path.evaluate(
        """(path) => {
            const points = path.getAttribute("d").match(/-?[\\d.]+,-?[\\d.]+/g)
                .map((point) => point.split(",").map(Number));
            const ends = [9, 10].flatMap((at) => [points[at], points.at(-1 - at)]);
            path.scrollIntoView({ block: "center" });
            const at = path.ownerSVGElement.createSVGPoint();
            at.x = 0.15 * (ends[2][0] - ends[0][0]) + ends[0][0];
            at.y = (Math.min(...ends.map((e) => e[1])) + Math.max(...ends.map((e) => e[1]))) / 2;
            const { x, y } = at.matrixTransform(path.getScreenCTM());
            return [x, y];
        }"""
    )
    page.mouse.click(x, y)


def show_layers(widget: Locator) -> None:
    widget.get_by_role("button", name="Layers", exact=True).click()


def sticks_out(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")
