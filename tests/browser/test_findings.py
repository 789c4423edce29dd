"""Findings in the picture and in windows: sinks, outliers, edges between heads, other prompts."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.steps import (
    HEAD,
    fixture,
    node,
    open_layer,
    panel_of,
    requests_for,
    settle,
    widget_of,
)

FOUND = fixture("findings")
EDGES = [edge for edge in FOUND["head_reads"]["edges"] if edge["traced"] is not None][:12]


def find(page: Page, method: str, **options) -> Locator:
    """A window of findings of head 4 of layer 23."""
    widget = widget_of(page)
    open_layer(widget)
    node(widget, HEAD).click()
    panel_of(widget).locator(f'[data-role="find-{method}"]').click()
    window = widget.locator('[data-role="findings"]')
    expect(window.locator(".vw-found-room > *")).to_have_count(1)
    return window


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_sinks_are_marked_without_colour_and_say_how_far(open_widget, screenshot, theme):
    page = open_widget(theme=theme, page_options={"viewport": {"width": 1440, "height": 900}})
    widget = widget_of(page)
    (sink,) = FOUND["sinks"]["sinks"]
    assert sink["position"] == 0
    chip = widget.locator(".vw-chip.parked")
    expect(chip).to_have_count(1)
    assert chip.evaluate("(e) => getComputedStyle(e, '::after').content") == '"▾"'
    title = chip.get_attribute("title") or ""
    assert f"An attention sink: in layer {sink['layer']}" in title
    assert "times the others" in title
    open_layer(widget)
    marks = widget.locator(".vw-outlier.sink")
    assert marks.count() >= 1
    assert "attention sink" in (marks.first.locator("title").text_content() or "")
    # The stream of a sink itself is long in most layers: a mark where that begins.
    streams = [{"layer": n, "ratio": 10 + n} for n in range(3, 9)] + [{"layer": 20, "ratio": 5}]
    page.evaluate("(streams) => { model.replies.sinks.streams = streams }", streams)
    page.evaluate("model.revised = (graph) => ({ ...graph })")
    widget.locator('.vw-chip[data-position="2"]').click()
    expect(widget.locator(".vw-outlier.outlier")).to_have_count(2)
    settle(widget)
    words = widget.locator(".vw-outlier.outlier").first.get_attribute("aria-label")
    assert words is not None
    assert "before layers 3 to 8 this stream is up to 18 times" in words
    screenshot(page, f"findings-sinks-{theme}")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_heads_that_a_head_reads_are_a_table_and_edges(open_widget, screenshot, theme):
    page = open_widget(theme=theme, page_options={"viewport": {"width": 1440, "height": 900}})
    widget = widget_of(page)
    window = find(page, "head_reads")
    expect(window.locator("tbody tr")).to_have_count(len(FOUND["head_reads"]["edges"]))
    expect(window.locator("tbody tr").first).to_contain_text(EDGES[0]["source"].replace(".", " "))
    screenshot(page, f"findings-reads-{theme}")
    window.locator('[data-role="compose"]').check()
    page.keyboard.press("Escape")
    drawn = widget.locator(".vw-composes")
    expect(drawn).to_have_count(len(EDGES))
    for edge in EDGES[:4]:
        arc = widget.locator(
            f'.vw-composes.{edge["reads"]}[data-source="{edge["source"]}"][data-target="{HEAD}"]'
        )
        expect(arc).to_have_count(1)
        words = arc.get_attribute("aria-label") or ""
        assert edge["reads"] in words
        assert "by weights" in words
        expect(arc.locator("text")).to_have_text("−" if edge["traced"] < 0 else "+")
    settle(widget)
    screenshot(page, f"findings-edges-{theme}")
    # Another graph is asked anew.
    widget.locator('.vw-chip[data-position="2"]').click()
    expect(drawn).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_other_prompts_are_shown_and_can_be_traced(open_widget, screenshot, theme):
    page = open_widget(theme=theme, page_options={"viewport": {"width": 1440, "height": 900}})
    window = find(page, "elsewhere")
    told = FOUND["elsewhere"]["prompts"]
    expect(window.locator("li")).to_have_count(len(told))
    screenshot(page, f"findings-elsewhere-{theme}")
    (asked,) = requests_for(page, "elsewhere")
    assert asked["params"]["part"] == HEAD
    window.locator("li button").first.click()
    assert requests_for(page, "retrace")[-1]["params"]["prompt"] == told[0]["text"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_queries_and_keys_are_points(open_widget, screenshot, theme):
    page = open_widget(theme=theme, page_options={"viewport": {"width": 1440, "height": 900}})
    window = find(page, "joint_embedding")
    points = FOUND["joint_embedding"]["points"]
    for kind, shape in (("query", "circle"), ("key", "rect")):
        expect(window.locator(f"svg {shape}")).to_have_count(
            sum(point["kind"] == kind for point in points)
        )
    screenshot(page, f"findings-joint-{theme}")
    # The other findings are a click away.
    window.get_by_role("button", name="in other prompts").click()
    expect(window.locator("li")).to_have_count(len(FOUND["elsewhere"]["prompts"]))


def test_closing_calls_it_off_and_a_failure_is_said(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    node(widget, HEAD).click()
    page.evaluate("model.silent.add('elsewhere')")
    link = panel_of(widget).locator('[data-role="find-elsewhere"]')
    link.click()
    window = widget.locator('[data-role="findings"]')
    (asked,) = requests_for(page, "elsewhere")
    page.evaluate(
        "(id) => model.tell({ kind: 'visit-progress', id, done: 8, total: 36 })", asked["id"]
    )
    expect(window).to_contain_text("Looking at prompt 9 of 36")
    page.keyboard.press("Escape")
    cancelled = page.evaluate("model.sent.filter(({ kind }) => kind === 'visit-cancel')")
    assert asked["id"] in [each["id"] for each in cancelled]
    page.evaluate("model.silent.clear(); model.failing.elsewhere = 'No such prompt.'")
    link.click()
    expect(window).to_contain_text("No such prompt.")


def test_a_saved_page_has_marks_and_offers_no_findings(open_widget):
    page = open_widget(mode="standalone")
    widget = widget_of(page)
    expect(widget.locator(".vw-chip.parked")).to_have_count(1)
    open_layer(widget)
    node(widget, HEAD).click()
    expect(panel_of(widget).locator('[data-role="findings-section"]')).to_have_count(0)
