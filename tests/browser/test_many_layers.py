"""A page with many open layers: what is seen comes first, and in the end all of it is there."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from benchmarks.generated import Size, saved_graph
from tests.browser.steps import layer_area, widget_of
from tests.browser.test_figure import export as exported
from visit_widget.viewer.page import page as saved_page

SIZE = Size("thirty open layers", opened=30, heads=6, neurons=6)
LAST = f"L{SIZE.layers - 1}"
SVG = "{http://www.w3.org/2000/svg}"
HOLD = (
    "const later = window.setTimeout;"
    "window.setTimeout = (f, ms, ...rest) => ms === undefined ? 0 : later(f, ms, ...rest);"
)
HEADS = '[data-node^="L"][data-kind="head"]'


@pytest.fixture
def open_wide(new_page, tmp_path) -> Callable[..., Locator]:
    """Opens the page; with `held`, what the page puts off until there is time does not come."""

    def open_page(held: bool = False, **options) -> Locator:
        path = tmp_path / "wide.html"
        path.write_text(saved_page(SIZE.name, saved_graph(SIZE)), encoding="utf-8")
        page = new_page(**options)
        if held:
            page.add_init_script(HOLD)
        page.goto(path.as_uri())
        widget = widget_of(page)
        expect(widget.locator(HEADS).first).to_be_attached()
        if not held:
            expect(widget.locator(HEADS)).to_have_count(SIZE.layers * SIZE.heads)
        return widget

    return open_page


@pytest.fixture
def open_narrow(new_page, tmp_path) -> Locator:
    path = tmp_path / "narrow.html"
    path.write_text(saved_page("narrow", saved_graph(Size("", 0, layers=96))), encoding="utf-8")
    page = new_page(viewport={"width": 480, "height": 900})
    page.goto(path.as_uri())
    expect(widget_of(page).locator(".vw-node").first).to_be_attached()
    return widget_of(page)


def test_all_layers_are_drawn_in_the_end_and_can_be_lit(open_wide):
    widget = open_wide()
    widget.locator(".vw-scroller").first.evaluate("(e) => { e.scrollLeft = e.scrollWidth; }")
    head = widget.locator(f'[data-node^="{LAST}.H"][data-kind="head"]').first
    head.hover()
    name = head.get_attribute("data-node")
    expect(widget.locator(f'path.vw-ribbon.lit[data-source="{name}"]')).to_have_count(1)
    # Layers that nothing was lit in are left as they were.
    lit = widget.locator(".vw-inside .vw-part.has-lit")
    assert set(lit.evaluate_all("(all) => all.map((e) => e.dataset.part)")) == {"closed", LAST}


def test_the_keyboard_reaches_what_was_not_drawn_yet(open_wide):
    widget = open_wide(held=True)
    assert widget.locator(HEADS).count() < SIZE.layers * SIZE.heads
    layer_area(widget, SIZE.layers - 1).focus()
    widget.page.keyboard.press("ArrowDown")
    focused = widget.page.evaluate("document.activeElement.getAttribute('data-nav')")
    assert focused.startswith(f"node:{LAST}."), focused
    assert widget.locator(HEADS).count() == SIZE.layers * SIZE.heads


def test_a_figure_holds_what_is_out_of_sight(open_wide):
    widget = open_wide(held=True)
    seen = widget.locator("path.vw-ribbon").count()
    tree = ET.parse(exported(widget.page))
    ribbons = [p for p in tree.iter(f"{SVG}path") if p.get("d", "").count("L") > 30]
    assert len(ribbons) > 2 * seen
    assert not list(tree.iter(f"{SVG}image"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_have_a_rim_of_what_is_around_them(open_wide, scheme):
    widget = open_wide(color_scheme=scheme)
    ground = widget.locator("rect.vw-panel-ground").first.evaluate(
        "(e) => getComputedStyle(e).fill"
    )
    for words in (".vw-node text", ".vw-headings text", ".vw-river-text text"):
        style = widget.locator(words).first.evaluate(
            "(e) => (({ stroke, paintOrder, fill }) => ({ stroke, paintOrder, fill }))"
            "(getComputedStyle(e))"
        )
        assert style["paintOrder"].startswith("stroke"), words
        assert style["stroke"] not in ("none", style["fill"]), words
        assert (style["stroke"] == ground) is (words != ".vw-river-text text"), words


def test_layers_too_narrow_to_be_told_apart_have_one_mark(open_narrow):
    widget = open_narrow
    shapes = widget.locator(".vw-node.kind-attention > .vw-shape")
    assert shapes.count() == 96
    seen = [s for s in shapes.evaluate_all("(all) => all.map((e) => e.getBBox().width)") if s > 0]
    assert 10 < len(seen) <= 48
    expect(widget.locator(".vw-legend").first).to_contain_text("one mark: 2 layers, summed")
    # The tip beside the pointer still tells one layer from the next.
    box = widget.locator(".vw-node.kind-attention > .vw-halo").nth(40).bounding_box()
    widget.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(widget.locator(".vw-tooltip")).to_contain_text("Layer 40 · attention")
    expect(widget.locator("path.vw-ribbon.kind-write.lit")).to_have_count(1)
