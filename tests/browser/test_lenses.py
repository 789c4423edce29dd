"""Another lens: chosen in the toolbar, sent to the kernel, and what others make of a node."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.axe import violations
from tests.browser.steps import (
    GRAPH,
    HEAD,
    PROJECT,
    model_state,
    node,
    open_layer,
    panel_of,
    settle,
    sticks_out,
    widget_of,
)

READINGS = PROJECT[HEAD]["readings"]
# Tokens that are not wholly within the section, or that others lie on.
CUT = """(list) => {
    const frame = list.closest("section").getBoundingClientRect();
    const tokens = [...list.querySelectorAll(".vw-token")];
    const boxes = tokens.map((token) => token.getBoundingClientRect());
    const covers = (a, b) => a !== b && a.left < b.right - 1 && b.left < a.right - 1 &&
        a.top < b.bottom - 2 && b.top < a.bottom - 2;
    return tokens.map((token) => token.textContent).filter((_, at) => {
        const { left, right, bottom } = boxes[at];
        return left < frame.left - 1 || right > frame.right + 1 || bottom > frame.bottom + 1 ||
            boxes.some((other) => covers(boxes[at], other));
    });
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1008, 720), (400, 720)])
def test_another_lens_goes_out_and_the_panel_says_what_others_read(
    open_widget, screenshot, theme, width, height
):
    page = open_widget(theme=theme, page_options={"viewport": {"width": width, "height": height}})
    widget = widget_of(page)
    settle(widget)
    page.evaluate(
        "() => { model.revised = (graph) => { window.drawn = graph.lens; return graph; }; }"
    )
    reader = widget.locator('[data-role="lens"]')
    assert reader.input_value() == GRAPH["lens"]
    assert reader.locator('option[value="tuned"]').is_disabled()
    other = READINGS[-1]["lens"]
    reader.select_option(other)
    assert model_state(page, "lens") == other
    page.wait_for_function("name => window.drawn === name", arg=other)
    settle(widget)
    open_layer(widget)
    node(widget, HEAD).click()
    told = panel_of(widget).locator('[data-role="readings"]')
    expect(told.locator("dd")).to_have_count(len(READINGS))
    for line, reading in zip(told.locator("dd").all(), READINGS, strict=True):
        assert line.locator(".vw-token").all_text_contents() == [t["text"] for t in reading["top"]]
    assert told.evaluate(CUT) == []
    assert sticks_out(page) <= 0
    settle(widget)
    assert violations(page) == []
    screenshot(page, f"lens-{theme}-{width}")


@pytest.mark.parametrize("width", [942, 1008])
def test_the_toolbar_stays_on_one_line(open_widget, width):
    page = open_widget(page_options={"viewport": {"width": width, "height": 720}})
    widget = widget_of(page)
    tops = widget.locator(".vw-toolbar > *:visible").evaluate_all(
        """(tools) => tools.map((tool) => tool.getBoundingClientRect())
            .map((box) => box.y + box.height / 2)"""
    )
    assert max(tops) - min(tops) < 4
