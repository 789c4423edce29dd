"""An open layer fits the screens that people have; what the reader turns to unfolds."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.labels import overlapping_labels
from tests.browser.steps import (
    HEAD,
    LAYER,
    PROJECT,
    node,
    open_layer,
    panel_of,
    settle,
    widget_of,
)

SIDEWAYS = """(root) => [...root.querySelectorAll(".vw-scroller"), document.documentElement]
    .filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
    .map((e) => `${e.className} ${e.scrollWidth} in ${e.clientWidth}`)"""


@pytest.mark.parametrize("width", [424, 600, 760, 1032, 1280, 1920])
def test_an_open_layer_with_its_panel_fits(open_widget, width):
    # The page around the widget takes 24 px.
    page = open_widget(page_options={"viewport": {"width": width, "height": 720}})
    widget = widget_of(page)
    open_layer(widget)
    node(widget, HEAD).click()
    expect(panel_of(widget)).to_contain_text(PROJECT[HEAD]["top"][0]["text"])
    page.mouse.move(2, 2)
    settle(widget)
    assert widget.evaluate(SIDEWAYS) == []
    assert overlapping_labels(widget) == []
    if width >= 1008:
        box = widget.bounding_box()
        assert box["height"] <= 720
        panel = panel_of(widget).bounding_box()
        assert panel["y"] >= box["y"]
        assert panel["y"] + panel["height"] <= box["y"] + box["height"] + 1
    if width == 1032:
        room = widget.locator(".vw-side-content").evaluate(
            "(e) => [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight]"
        )
        assert room[0] == 0, "no column is out of sight"
        assert room[1] <= 4, "and nothing but the foot's rim below"


def test_the_panel_of_a_local_lens_fits_as_well(open_widget, screenshot):
    page = open_widget(page_options={"viewport": {"width": 1032, "height": 720}})
    widget = widget_of(page)
    # Its tokens have a line more over them: what their numbers are.
    page.evaluate(
        """() => { for (const part of Object.values(model.details)) part.unit = "nats"; }"""
    )
    open_layer(widget)
    node(widget, HEAD).click()
    expect(panel_of(widget)).to_contain_text("it raises · local lens")
    page.mouse.move(2, 2)
    settle(widget)
    screenshot(page, "panel-local")
    room = widget.locator(".vw-side-content").evaluate(
        "(e) => [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight]"
    )
    assert room[0] == 0
    assert room[1] <= 4


@pytest.mark.parametrize("pins", [[HEAD], [HEAD, "L23.H5", "L23.mlp", "logits"]])
def test_pins_take_a_line_and_unfold_over_the_picture(open_widget, screenshot, pins):
    page = open_widget(page_options={"viewport": {"width": 1032, "height": 720}})
    widget = widget_of(page)
    open_layer(widget)
    page.evaluate("(pins) => model.set('pins', pins)", pins)
    fold = widget.locator('[data-role="pins-fold"]')
    expect(fold).to_contain_text("Layer 23 · head 4")
    settle(widget)
    assert widget.bounding_box()["height"] <= 720
    assert widget.evaluate(SIDEWAYS) == []
    assert overlapping_labels(widget) == []
    table = widget.locator(".vw-pins-table")
    expect(table).to_be_hidden()
    fold.focus()
    before = widget.bounding_box()
    page.keyboard.press("Enter")
    expect(fold).to_have_attribute("aria-expanded", "true")
    expect(table.locator("thead th")).to_have_count(len(pins))
    settle(widget)
    screenshot(page, f"pins-{len(pins)}")
    assert widget.bounding_box()["height"] == before["height"]
    room = widget.locator(".vw-pins-room").bounding_box()
    assert room["y"] >= widget.bounding_box()["y"]
    assert room["y"] + room["height"] <= fold.bounding_box()["y"] + 1
    fold.click()
    expect(table).to_be_hidden()


def test_the_panel_lies_over_what_is_not_read(open_widget):
    page = open_widget(page_options={"viewport": {"width": 1008, "height": 720}})
    widget = widget_of(page)
    open_layer(widget)
    for chosen in (HEAD, f"L{LAYER}.mlp"):
        if panel_of(widget).is_visible():
            panel_of(widget).get_by_role("button", name="Close").first.click()
            expect(panel_of(widget)).to_be_hidden()
        node(widget, chosen).click()
        settle(widget)
        panel, read = panel_of(widget).bounding_box(), node(widget, chosen).bounding_box()
        above = read["y"] + read["height"] <= panel["y"]
        below = panel["y"] + panel["height"] <= read["y"]
        assert above or below, chosen


def test_a_folded_head_unfolds_under_the_pointer(open_widget):
    page = open_widget(page_options={"viewport": {"width": 1008, "height": 720}})
    widget = widget_of(page)
    open_layer(widget)
    heads = widget.locator('.vw-node[data-kind="head"]')
    queries = widget.locator('.vw-node[data-kind="query"]')
    expect(heads).not_to_have_count(0)
    count = queries.count()
    assert 0 < count < heads.count()
    weak = heads.nth(heads.count() - 1)
    name = weak.get_attribute("data-node")
    height = widget.bounding_box()["height"]
    expect(node(widget, f"{name}.Q")).to_have_count(0)
    weak.hover()
    expect(node(widget, f"{name}.Q")).to_be_visible()
    expect(queries).to_have_count(count)
    settle(widget)
    assert widget.bounding_box()["height"] == height
    at = node(widget, name).bounding_box()
    page.mouse.move(2, 2)
    settle(widget)
    assert node(widget, name).bounding_box() == at, "what was turned to stays"
