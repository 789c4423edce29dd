"""What is kept: the window that says so, and rest rows that open."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.labels import overlapping_labels
from tests.browser.steps import (
    GRAPH,
    LAYER,
    model_state,
    node,
    open_layer,
    panel_of,
    set_model,
    settle,
    sticks_out,
    widget_of,
)

DEFAULT = GRAPH["keep"]
NONE = {"count": None, "threshold": None, "mass": None}
REST = f"L{LAYER}.mlp.rest"


def keep_button(widget: Locator) -> Locator:
    return widget.locator('[data-role="keep"]')


def window_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="keep-window"]')


@pytest.fixture
def open_window(open_widget) -> Callable[..., tuple[Page, Locator, Locator]]:
    def open_it(**options) -> tuple[Page, Locator, Locator]:
        page = open_widget(**options)
        widget = widget_of(page)
        settle(widget)
        keep_button(widget).click()
        expect(window_of(widget)).to_be_visible()
        return page, widget, window_of(widget)

    return open_it


def kept(page: Page) -> dict:
    return model_state(page, "keep")


def fill(window: Locator, name: str, value: str) -> None:
    field = window.get_by_label(name, exact=True)
    field.fill(value)
    field.press("Tab")


FIELDS = {
    "a count": ("Heads: how many", "5", {"heads": 5}),
    "no count": ("Memories a head: how many", "", {"memories": NONE}),
    "a threshold": ("Heads: at least", "0.25", {"heads": NONE | {"count": 10, "threshold": 0.25}}),
    "a mass": (
        "Neurons: making up percent of the sum",
        "90",
        {"neurons": NONE | {"count": 12, "mass": 0.9}},
    ),
    "rows": ("W_O rows: how many", "8", {"rows": 8}),
    "every threshold": ("Every kind: at least", "0.05", {"threshold": 0.05}),
    "every mass": ("Every kind: making up percent of the sum", "80", {"mass": 0.8}),
    "routes": ("Parts of a stream: at least", "0.4", {"routes": NONE | {"threshold": 0.004}}),
    "a count of routes": (
        "Parts of a stream: how many",
        "3",
        {"routes": {"count": 3, "threshold": 0.01, "mass": None}},
    ),
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_number_becomes_the_trait(open_window, field):
    page, widget, window = open_window()
    name, value, said = FIELDS[field]
    fill(window, name, value)
    assert kept(page) == DEFAULT | said
    page.wait_for_function("model.get('graph').revision === 2")
    expect(keep_button(widget)).to_contain_text("as chosen")
    expect(window.get_by_role("button", name="Default")).to_have_attribute("aria-pressed", "false")
    window.locator('[data-role="reset-keep"]').click()
    assert kept(page) == DEFAULT
    expect(keep_button(widget)).to_contain_text("default")


def test_the_most_positive_and_the_most_negative_are_counted_apart(open_window, screenshot):
    page, _, window = open_window()
    toggle = window.get_by_label("Neurons: the most positive and the most negative apart")
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "true")
    page.wait_for_function("Array.isArray(model.get('keep').neurons)")
    assert kept(page) == DEFAULT | {"neurons": [6, 6]}
    fill(window, "Neurons: how many of the most positive", "18")
    fill(window, "Neurons: how many of the most negative", "7")
    assert kept(page) == DEFAULT | {"neurons": [18, 7]}
    screenshot(page, "keep-pair")
    toggle.click()
    page.wait_for_function("model.get('keep').neurons === 25")


def test_the_rules(open_window):
    page, _, window = open_window()
    window.locator('[data-role="keep-by"]').select_option("visit")
    assert kept(page) == DEFAULT | {"by": "visit"}
    window.locator('[data-role="keep-routes_by"]').select_option("edge")
    assert kept(page) == DEFAULT | {"by": "visit", "routes_by": "edge"}


PRESETS = {
    "VISIT’s": ({"neurons": [18, 7], "rows": [18, 7], "by": "visit"}, "VISIT"),
    "Everything": (
        {"heads": NONE, "memories": NONE, "neurons": NONE, "routes": NONE | {"threshold": 0}},
        "everything",
    ),
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PRESETS)
def test_presets(open_window, screenshot, name, theme):
    page, widget, window = open_window(theme=theme)
    said, called = PRESETS[name]
    button = window.get_by_role("button", name=name)
    button.click()
    assert kept(page) == DEFAULT | said
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(keep_button(widget)).to_contain_text(called)
    note = window.locator(".vw-keep-note")
    if name == "Everything":
        expect(note).to_have_text("An open layer then draws 1,536 neurons, which takes a while.")
    else:
        expect(note).to_be_empty()
    screenshot(page, f"keep-{called.lower()}-{theme}")
    assert overlapping_labels(window) == []
    window.get_by_role("button", name="Default").click()
    assert kept(page) == DEFAULT


WRONG = {
    "a negative count": ("Heads: how many", "-3", "How many is a whole number, 0 or more"),
    "half a head": ("Heads: how many", "2.5", "How many is a whole number, 0 or more"),
    "a negative threshold": ("Every kind: at least", "-1", "At least is a number, 0 or more"),
    "too much mass": (
        "Neurons: making up percent of the sum",
        "120",
        "Making up is a percentage above 0, at most 100",
    ),
    "no mass": (
        "Every kind: making up percent of the sum",
        "0",
        "Making up is a percentage above 0, at most 100",
    ),
    "too much of a route": (
        "Parts of a stream: at least",
        "101",
        "At least is a percentage, 0 to 100",
    ),
}


@pytest.mark.parametrize("field", WRONG)
def test_wrong_input_is_a_sentence_and_changes_nothing(open_window, screenshot, field):
    page, widget, window = open_window()
    name, value, sentence = WRONG[field]
    fill(window, name, value)
    expect(window.get_by_role("alert").filter(has_text=sentence)).to_be_visible()
    expect(window.get_by_label(name, exact=True)).to_have_attribute("aria-invalid", "true")
    page.wait_for_timeout(500)
    assert kept(page) == DEFAULT
    assert model_state(page, "graph")["revision"] == 1
    screenshot(page, f"keep-wrong-{field.replace(' ', '-')}")
    assert overlapping_labels(window) == []
    page.keyboard.press("Escape")
    expect(window).to_have_count(0)
    assert kept(page) == DEFAULT
    expect(keep_button(widget)).to_be_focused()
    page.keyboard.press("Enter")
    expect(window.get_by_role("alert")).to_have_count(0)


def test_the_window_by_keyboard_alone(open_widget):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    widget.locator('[data-role="foil"]').focus()
    page.keyboard.press("ArrowRight")
    expect(keep_button(widget)).to_be_focused()
    page.keyboard.press("Enter")
    window = window_of(widget)
    expect(window).to_be_focused()
    for _ in range(40):
        page.keyboard.press("Tab")
        assert window.evaluate("(e) => e.contains(document.activeElement)"), "the tab key stays"
        if window.get_by_label("Heads: how many", exact=True).evaluate(
            "(e) => e === document.activeElement"
        ):
            break
    else:
        pytest.fail("the tab key does not come to the first field")
    page.keyboard.press("Control+a")
    page.keyboard.type("4")
    page.wait_for_function("model.get('keep').heads === 4")
    page.keyboard.type("0")
    page.keyboard.press("Escape")
    expect(window).to_have_count(0)
    expect(keep_button(widget)).to_be_focused()
    assert kept(page) == DEFAULT | {"heads": 40}, "what was typed last counts"
    page.keyboard.press("u")
    assert kept(page) == DEFAULT | {"heads": 4}
    page.keyboard.press("u")
    assert kept(page) == DEFAULT


def test_the_window_follows_what_python_sets(open_window):
    page, _, window = open_window()
    set_model(page, keep={"heads": 3, "neurons": [5, 2], "mass": 0.07, "more": {REST: 24}})
    expect(window.get_by_label("Heads: how many", exact=True)).to_have_value("3")
    expect(window.get_by_label("Neurons: how many of the most negative")).to_have_value("2")
    expect(window.get_by_label("Every kind: making up percent of the sum")).to_have_value("7")
    expect(window.get_by_label("Memories a head: how many", exact=True)).to_have_value("2")
    expect(window).to_contain_text("1 rest node is opened further")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [480, 760, 1280])
def test_the_window_fits(open_window, screenshot, width, theme):
    page, _, window = open_window(
        theme=theme, page_options={"viewport": {"width": width, "height": 900}}
    )
    screenshot(page, f"keep-{width}-{theme}")
    assert sticks_out(page) <= 0
    assert window.evaluate("(e) => e.scrollWidth - e.clientWidth") <= 0
    box, frame = window.bounding_box(), widget_of(page).bounding_box()
    assert frame["x"] <= box["x"]
    assert box["x"] + box["width"] <= frame["x"] + frame["width"]
    assert overlapping_labels(window) == []


# Rest rows.


def rest_of_panel(widget: Locator, role: str) -> Locator:
    return panel_of(widget).locator(f'[data-role="{role}"]')


def test_a_double_click_opens_a_rest_row(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    node(widget, REST).dblclick()
    assert kept(page) == DEFAULT | {"more": {REST: 12}}
    assert model_state(page, "selection") == [REST]
    assert model_state(page, "expanded") == [LAYER]


def test_the_panel_opens_a_rest_row_further_and_closes_it(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    node(widget, REST).click()
    expect(panel_of(widget)).to_contain_text("1,524 more neurons")
    assert kept(page) == DEFAULT
    expect(rest_of_panel(widget, "close-rest")).to_have_count(0)
    more = rest_of_panel(widget, "open-rest")
    expect(more).to_have_text("Show the next 12")
    more.click()
    assert kept(page)["more"] == {REST: 12}
    more.click()
    assert kept(page)["more"] == {REST: 24}
    settle(widget)
    screenshot(page, "rest-opened")
    rest_of_panel(widget, "close-rest").click()
    assert kept(page) == DEFAULT
    expect(rest_of_panel(widget, "close-rest")).to_have_count(0)


@pytest.mark.parametrize(
    ("keep", "rest_id", "step"),
    [
        ({}, f"L{LAYER}.H4.rest", 6),
        ({"neurons": [18, 7]}, REST, 24),
        ({"neurons": 9}, REST, 9),
    ],
)
def test_a_step_is_as_large_as_the_kind_is_counted(open_widget, keep, rest_id, step):
    page = open_widget()
    widget = widget_of(page)
    set_model(page, keep=DEFAULT | keep)
    open_layer(widget)
    node(widget, rest_id).dblclick()
    assert kept(page) == DEFAULT | keep | {"more": {rest_id: step}}


def test_a_rest_row_by_keyboard(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    node(widget, REST).focus()
    page.keyboard.press("Enter")
    more = rest_of_panel(widget, "open-rest")
    expect(more).to_be_visible()
    more.focus()
    page.keyboard.press("Enter")
    assert kept(page)["more"] == {REST: 12}
    page.wait_for_function("model.get('graph').revision === 2")
    settle(widget)
    expect(more).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(rest_of_panel(widget, "close-rest")).to_be_focused()
    page.keyboard.press("Enter")
    assert kept(page) == DEFAULT


def test_a_saved_page_says_what_was_kept_and_opens_nothing(open_widget):
    page = open_widget(mode="standalone")
    widget = widget_of(page)
    open_layer(widget)
    expect(keep_button(widget)).to_be_disabled()
    expect(keep_button(widget)).to_contain_text("default")
    node(widget, REST).dblclick()
    expect(panel_of(widget)).to_contain_text("1,524 more neurons")
    expect(rest_of_panel(widget, "open-rest")).to_have_count(0)
