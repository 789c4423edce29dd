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
    requests_for,
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
    assert reader.locator('option[value="tuned"]').text_content() == "tuned…"
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


@pytest.mark.parametrize(("theme", "width"), [("light", 1008), ("dark", 1440), ("light", 400)])
def test_a_lens_is_fitted_where_it_is_chosen(open_widget, screenshot, theme, width):
    page = open_widget(theme=theme, page_options={"viewport": {"width": width, "height": 720}})
    widget = widget_of(page)
    settle(widget)
    page.evaluate("model.silent.add('fit_lens')")
    toolbar = widget.get_by_role("toolbar")
    before = toolbar.bounding_box()
    reader = widget.locator('[data-role="lens"]')
    reader.select_option("tuned")
    window = widget.locator('[data-role="fit-window"]')
    expect(window).to_be_focused()
    assert reader.input_value() == GRAPH["lens"], "nothing is read with it yet"
    assert violations(page) == []
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(window.get_by_role("button", name="Fit it")).to_be_focused()
    page.keyboard.press("Enter")
    (asked,) = requests_for(page, "fit_lens")
    assert asked["params"] == {"lens": "tuned"}
    page.evaluate(
        "(id) => model.tell({ kind: 'visit-progress', id, done: 2, total: 8 })", asked["id"]
    )
    expect(window.get_by_role("status")).to_have_text("Passage 3 of 8…")
    assert sticks_out(page) <= 0
    assert window.evaluate("(e) => e.scrollHeight - e.clientHeight") <= 0
    screenshot(page, f"fit-{theme}-{width}")
    page.keyboard.press("Escape")
    expect(window).to_have_count(0)
    assert reader.locator('option[value="tuned"]').text_content() == "tuned, fitting 3/8"
    assert toolbar.bounding_box() == before, "nothing has moved"
    lenses = ["local", "logit", "tuned"]
    page.evaluate(
        """([id, lenses]) =>
            model.tell({ kind: "visit-response", id, ok: true, result: { lenses } })""",
        [asked["id"], lenses],
    )
    page.wait_for_function("() => model.get('lens') === 'tuned'")
    expect(reader.locator("option:checked")).to_have_text("tuned")
