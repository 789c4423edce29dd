"""A generation on a tape, and a chat's turns in the prompt bar."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.axe import violations
from tests.browser.steps import (
    GRAPH,
    LAYER,
    layer_area,
    model_state,
    open_layer,
    requests_for,
    settle,
    show_routes,
    sticks_out,
    widget_of,
)

BEGUN = len(GRAPH["tokens"])
THEMES = ["light", "dark"]


def part(widget: Locator, role: str) -> Locator:
    return widget.locator(f'[data-role="{role}"]')


def said(widget: Locator) -> Locator:
    return part(widget, "tape").locator("button.vw-chip")


def target_of(widget: Locator) -> Locator:
    return part(widget, "target")


@pytest.fixture
def taped(open_widget):
    def open_it(**options) -> tuple[Page, Locator]:
        page = open_widget(tape="yes", **options)
        widget = widget_of(page)
        settle(widget)
        return page, widget

    return open_it


def test_a_click_and_arrows_step_through_and_the_view_stays(taped):
    page, widget = taped()
    open_layer(widget)
    said(widget).nth(2).click()
    expect(target_of(widget)).to_have_text("␣a")
    expect(said(widget).nth(2)).to_have_attribute("aria-current", "step")
    expect(widget.locator(".vw-chips .vw-chip")).to_have_count(BEGUN + 2)
    assert model_state(page, "expanded") == [LAYER]
    assert model_state(page, "step") == 2
    page.keyboard.press("ArrowRight")
    expect(target_of(widget)).to_have_text("␣large")
    expect(said(widget).nth(3)).to_be_focused()
    expect(widget.locator(".vw-chips .vw-chip.focus")).to_have_attribute(
        "data-position", str(BEGUN + 2)
    )
    page.keyboard.press("End")
    expect(part(widget, "tape-place")).to_have_text("token 6 of 6")
    page.keyboard.press("u")
    page.keyboard.press("u")
    expect(target_of(widget)).to_have_text("␣a")
    assert layer_area(widget, LAYER).count() == 1


def test_the_routes_stay_on_screen_from_step_to_step(taped):
    page, widget = taped()
    show_routes(widget)
    page.evaluate("model.silent.add('routes')")
    said(widget).nth(1).click()
    expect(target_of(widget)).to_have_text(",")
    expect(widget.locator("path.vw-route").first).to_be_visible()
    assert model_state(page, "view") == "routes"


def test_each_token_says_what_it_was_to_the_model(taped):
    page, widget = taped()
    expect(part(widget, "tape-facts")).to_have_text("␣Tokyo 85.0%, rank 1")
    said(widget).nth(2).hover()
    words = "␣a 3.1%, rank 4; the first choice was ␣the (41.0%)"
    expect(part(widget, "tape-facts")).to_have_text(words)
    expect(said(widget).nth(2)).to_have_attribute("aria-label", f"New token 3, {words}")
    # Not by colour alone.
    assert [chip.inner_text().strip()[-1:] == "≠" for chip in said(widget).all()] == [
        False, False, True, True, False, False,
    ]  # fmt: skip
    assert model_state(page, "step") == 0


def test_it_plays_to_the_end_and_pauses(taped):
    page, widget = taped()
    play = part(widget, "play")
    play.click()
    expect(play).to_have_attribute("aria-label", "Pause")
    expect(part(widget, "tape-place")).to_have_text("token 3 of 6")
    play.click()
    expect(play).to_have_attribute("aria-label", "Play the tokens one after the other")
    at = model_state(page, "step")
    page.wait_for_timeout(1500)
    assert model_state(page, "step") == at
    play.press("Enter")
    expect(part(widget, "tape-place")).to_have_text("token 6 of 6")
    expect(play).to_have_attribute("aria-label", "Play the tokens one after the other")
    play.press("u")
    expect(part(widget, "tape-place")).to_have_text(f"token {at + 1} of 6")


def test_what_if_it_had_said_makes_a_branch_that_can_be_left(taped):
    page, widget = taped()
    said(widget).nth(1).click()
    expect(target_of(widget)).to_have_text(",")
    expect(part(widget, "branches")).to_be_hidden()
    part(widget, "say-else").press("Enter")
    dialog = widget.get_by_role("dialog")
    expect(dialog.get_by_role("option")).to_have_count(len(GRAPH["prediction"]))
    expect(widget.locator(".vw-prompt")).not_to_have_class(re.compile("old-predictions"))
    settle(widget)
    assert violations(page) == []
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    second = GRAPH["prediction"][1]
    expect(target_of(widget)).to_have_text(second["text"])
    [asked] = requests_for(page, "branch")
    assert asked["params"] == {"at": 1, "token": second["id"]}
    expect(said(widget)).to_have_count(4)
    expect(said(widget).nth(1)).to_contain_text("✎")
    expect(part(widget, "tape-facts")).to_contain_text("put there")
    expect(part(widget, "say-else")).to_be_focused()
    branches = part(widget, "branches")
    assert branches.locator("option").all_inner_texts() == [
        "as it was said",
        f"1: {second['text']} as token 2",
    ]
    page.keyboard.press("u")
    expect(said(widget)).to_have_count(6)
    expect(target_of(widget)).to_have_text(",")
    branches.select_option(index=1)
    expect(said(widget)).to_have_count(4)
    expect(target_of(widget)).to_have_text(second["text"])
    # What is of an earlier step is dimmed until this one has stood for a while.
    expect(widget.locator(".vw-prompt")).not_to_have_class(re.compile("old-predictions"))
    settle(widget)
    assert violations(page) == []


def test_what_cannot_be_branched_is_said(taped):
    page, widget = taped()
    page.evaluate("model.failing.branch = 'There is no such token.'")
    part(widget, "say-else").click()
    widget.get_by_role("dialog").get_by_role("option").nth(1).click()
    expect(widget.get_by_text("There is no such token.").first).to_be_visible()
    expect(said(widget)).to_have_count(6)
    expect(part(widget, "say-else")).to_be_enabled()


def test_a_saved_page_shows_the_tape_to_be_read(taped):
    page, widget = taped(mode="standalone")
    expect(said(widget)).to_have_count(6)
    assert part(widget, "play").count() == part(widget, "say-else").count() == 0
    said(widget).first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(part(widget, "tape-facts")).to_contain_text("the first choice was ␣the")
    page.keyboard.press("Enter")
    expect(target_of(widget)).to_have_text("␣Tokyo")
    assert violations(page) == []


def test_a_widget_of_a_prompt_has_no_tape(open_widget):
    expect(part(widget_of(open_widget()), "tape")).to_be_hidden()


def test_a_chat_says_whose_words_they_are_and_folds_by_turn(open_widget):
    page = open_widget(chat="yes")
    widget = widget_of(page)
    heads = widget.locator(".vw-turn")
    expect(heads).to_have_text(["template", "user", "assistant"])
    chips = widget.locator(".vw-chips .vw-chip")
    assert [("template" in (c.get_attribute("class") or "")) for c in chips.all()] == [
        True, True, True, False, False, True, True, True,
    ]  # fmt: skip
    heads.nth(1).press("Enter")
    expect(heads.nth(1)).to_have_text("user · 4 tokens")
    expect(heads.nth(1)).to_have_attribute("aria-expanded", "false")
    expect(heads.nth(1)).to_be_focused()
    expect(chips.nth(3)).to_be_hidden()
    expect(chips.nth(6)).to_be_visible()
    # The focus is never folded away.
    page.evaluate("model.set('focus', 3)")
    expect(chips.nth(3)).to_be_visible()
    expect(heads.nth(1)).to_have_attribute("aria-expanded", "true")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [1008, 480])
def test_both_fit_and_are_accessible(taped, screenshot, theme, width):
    page, widget = taped(
        chat="yes", theme=theme, page_options={"viewport": {"width": width, "height": 900}}
    )
    said(widget).nth(2).click()
    expect(target_of(widget)).to_have_text("␣a")
    settle(widget)
    assert sticks_out(page) <= 0
    assert violations(page) == []
    screenshot(page, f"tape-{theme}-{width}")
