"""Under each prompt token: what it adds to the prediction, and what the model says after it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.labels import overlapping_labels
from tests.browser.steps import (
    ATTRIBUTION,
    GRAPH,
    PREDICTIONS,
    layer_area,
    measure_of,
    model_state,
    requests_for,
    set_model,
    settle,
    sticks_out,
    widget_of,
)

TOKENS = GRAPH["tokens"]
RIGHT = [p["position"] for p in PREDICTIONS["positions"] if p["next"] and p["next"]["rank"] == 1]
AGAINST = {
    "revision": 1,
    "tokens": [
        {"position": p, "value": v, "direct": v / 2}
        for p, v in enumerate([2.0, -1.0, 0.5, 4.0, 0.0, -0.25, 0.0001, 1.0])
    ],
    "bias": 0.5,
    "opaque": -0.75,
    "rest": 7.0084,
    "total": 13.0085,
}


def bars_of(widget: Locator) -> Locator:
    return widget.locator(".vw-token-bar")


def bar_widths(widget: Locator) -> list[float]:
    """In pixels, once they have arrived."""
    return bars_of(widget).evaluate_all(
        """async (all) => {
            await Promise.all(all.flatMap((e) => e.getAnimations()).map((each) => each.finished));
            return all.map((e) => e.getBoundingClientRect().width);
        }"""
    )


def remainder_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="remainder"]')


def attribute(page: Page, attribution: dict) -> None:
    page.evaluate("(told) => { model.replies.attribution = told }", attribution)
    set_model(page, measure="share")
    page.wait_for_function("model.get('graph').revision === 2")


def test_a_bar_for_each_token_says_in_words_what_it_adds(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    expect(bars_of(widget)).to_have_count(len(TOKENS))
    values = [token["value"] for token in ATTRIBUTION["tokens"]]
    most = max(map(abs, values))
    for width, value in zip(bar_widths(widget), values, strict=True):
        assert width == pytest.approx(max(2, 40 * abs(value) / most), abs=0.6)
    said = widget.locator(".vw-under[role=img]").evaluate_all(
        "(all) => all.map((e) => e.ariaLabel)"
    )
    assert len(said) == len(TOKENS)
    assert said[3].startswith(
        "␣Japan adds +2.08 to the logit of ␣Tokyo along the kept paths: "
        "0 directly (through attention and the stream), +2.08 through MLPs."
    )
    assert said[4].startswith("␣is adds nothing along the kept paths.")
    expect(remainder_of(widget)).to_have_text("rest +7.07")
    expect(remainder_of(widget)).to_have_attribute("title", re.compile(r"is 13\.01:\n\+5\.94 from"))
    assert requests_for(page, "attribution")[0]["params"] == {"revision": 1}
    assert len(requests_for(page, "attribution")) == 1
    screenshot(page, "under-tokens-light")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_speaks_against_is_patterned(open_widget, screenshot, theme):
    page = open_widget(theme=theme)
    widget = widget_of(page)
    attribute(page, AGAINST)
    negative = widget.locator(".vw-token-bar.negative")
    expect(negative).to_have_count(2)
    for bar in negative.all():
        assert "repeating-linear-gradient" in bar.evaluate(
            "(e) => getComputedStyle(e).backgroundImage"
        )
    plain = widget.locator(".vw-token-bar.positive").first
    assert plain.evaluate("(e) => getComputedStyle(e).backgroundImage") == "none"
    expect(widget.locator(".vw-token-bar.none")).to_have_count(2)
    assert bar_widths(widget)[3] == pytest.approx(40, abs=0.5)
    assert bar_widths(widget)[1] == pytest.approx(10, abs=0.5)
    under = widget.locator(".vw-under").nth(1)
    expect(under).to_have_attribute(
        "aria-label", re.compile("^␣capital takes 1.00 from the logit of ␣Tokyo")
    )
    expect(remainder_of(widget)).to_have_text("rest +7.01 · opaque −0.75 · biases +0.50")
    settle(widget)
    screenshot(page, f"under-tokens-negative-{theme}")
    assert overlapping_labels(widget) == []


def test_predictions_stand_under_their_tokens_with_a_mark_where_right(open_widget):
    page = open_widget()
    widget = widget_of(page)
    guesses = widget.locator(".vw-guess")
    expect(guesses).to_have_count(len(TOKENS))
    for predicted in PREDICTIONS["positions"]:
        position, text = predicted["position"], predicted["top"][0]["text"]
        mark = "✓" if position in RIGHT else ""
        expect(guesses.nth(position)).to_have_text(f"{mark}{text}")
    assert RIGHT
    assert all(
        TOKENS[p + 1]["text"] == PREDICTIONS["positions"][p]["top"][0]["text"] for p in RIGHT
    )
    expect(widget.locator(".vw-under").nth(0)).to_have_attribute(
        "aria-label", re.compile("The prompt goes on with ␣capital: rank 2,923, <0.01%")
    )


def test_either_can_be_hidden(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    both = layer_area(widget, 0).bounding_box()["y"]
    choose = widget.locator('[data-role="under-tokens"]')
    choose.focus()
    page.keyboard.press("Enter")
    checks = widget.get_by_role("checkbox")
    expect(checks).to_have_count(2)
    checks.nth(0).uncheck()
    expect(bars_of(widget).first).to_be_hidden()
    expect(remainder_of(widget)).to_be_hidden()
    expect(widget.locator(".vw-guess").first).to_be_visible()
    checks.nth(1).uncheck()
    expect(widget.locator(".vw-guess").first).to_be_hidden()
    page.keyboard.press("Escape")
    expect(choose).to_be_focused()
    settle(widget)
    screenshot(page, "under-tokens-hidden")
    assert layer_area(widget, 0).bounding_box()["y"] < both - 10
    page.keyboard.press("Enter")
    checks.nth(0).check()
    checks.nth(1).check()
    page.keyboard.press("Escape")
    expect(bars_of(widget).first).to_be_visible()
    settle(widget)
    assert layer_area(widget, 0).bounding_box()["y"] == pytest.approx(both, abs=1)


def test_room_is_kept_until_the_numbers_come(open_widget):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    at = layer_area(widget, 0).bounding_box()["y"]
    page.evaluate("['attribution', 'predictions'].forEach((m) => model.silent.add(m))")
    measure_of(widget).select_option("norm")
    page.wait_for_function("model.get('graph').revision === 2")
    settle(widget)
    assert layer_area(widget, 0).bounding_box()["y"] == pytest.approx(at, abs=0.5)
    expect(widget.locator(".vw-prompt.old-attribution.old-predictions")).to_have_count(1)
    faint = bars_of(widget).first.evaluate("(e) => Number(getComputedStyle(e).opacity)")
    assert faint < 1, "old numbers look old"


def test_numbers_that_cannot_be_had_are_a_sentence(open_widget):
    page = open_widget()
    widget = widget_of(page)
    sentence = "There is not enough memory to follow every path."
    page.evaluate("(sentence) => { model.failing.attribution = sentence }", sentence)
    measure_of(widget).select_option("norm")
    expect(widget.get_by_role("alert")).to_contain_text(sentence)
    page.evaluate("delete model.failing.attribution")
    widget.get_by_role("alert").get_by_text("try again").click()
    expect(widget.get_by_role("alert")).to_have_count(0)
    expect(widget.locator(".vw-prompt.old-attribution")).to_have_count(0)


@pytest.mark.parametrize("width", [480, 760, 1280])
def test_nothing_of_it_overlaps(open_widget, screenshot, width):
    page = open_widget(page_options={"viewport": {"width": width, "height": 900}})
    widget = widget_of(page)
    attribute(page, AGAINST)
    settle(widget)
    screenshot(page, f"under-tokens-{width}")
    assert overlapping_labels(widget) == []
    assert sticks_out(page) <= 0


def test_a_token_under_which_is_something_still_takes_the_focus(open_widget):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    widget.get_by_role("button", name="␣Japan", exact=True).click()
    assert model_state(page, "focus") == 3


# The saved page.


def test_a_saved_page_shows_them_without_a_kernel(open_widget):
    page = open_widget(mode="standalone")
    widget = widget_of(page)
    expect(bars_of(widget).first).to_be_visible()
    assert bar_widths(widget)[0] == pytest.approx(40, abs=0.5)
    expect(widget.locator(".vw-guess").nth(1)).to_have_text("✓␣of")
    expect(remainder_of(widget)).to_have_text("rest +7.07")
    measure_of(widget).select_option("norm")
    expect(remainder_of(widget)).to_have_text("rest +7.07")
    expect(widget.locator(".vw-prompt.old-attribution")).to_have_count(0)


def test_a_page_saved_without_them_shows_no_error(open_widget, screenshot):
    page = open_widget(mode="standalone", include="nothing")
    widget = widget_of(page)
    settle(widget)
    expect(widget.get_by_role("alert")).to_have_count(0)
    expect(widget.locator('[data-role="under-tokens"]')).to_be_hidden()
    expect(widget.locator(".vw-guess").first).to_be_hidden()
    expect(widget.locator(".vw-prompt.with-under")).to_have_count(0)
    assert widget.get_attribute("aria-busy") == "false"
    screenshot(page, "under-tokens-not-saved")
