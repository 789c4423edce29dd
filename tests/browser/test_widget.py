"""The committed bundle in Chromium, on a model that answers from recorded messages."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.labels import overlapping_labels
from tests.browser.steps import (
    BLOCK,
    GRAPH,
    HEAD,
    LAYER,
    PROJECT,
    layer_area,
    model_state,
    node,
    open_layer,
    panel_of,
    requests_for,
    settle,
    widget_of,
)

# The first frame.


def test_the_first_frame_shows_prompt_river_and_prediction(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    for token in GRAPH["tokens"]:
        expect(widget.get_by_text(token["text"], exact=True).first).to_be_visible()
    expect(widget).to_contain_text(GRAPH["target"]["text"])
    for choice in GRAPH["prediction"][:3]:
        expect(widget).to_contain_text(choice["text"])
    for layer in range(GRAPH["model"]["n_layers"]):
        expect(layer_area(widget, layer)).to_be_attached()
    screenshot(page, "overview-light")


@pytest.mark.parametrize("width", [640, 900, 1280, 1720])
def test_labels_of_the_first_frame_do_not_overlap(open_widget, screenshot, width):
    page = open_widget(page_options={"viewport": {"width": width, "height": 900}})
    settle(widget_of(page))
    screenshot(page, f"overview-{width}")
    assert overlapping_labels(widget_of(page)) == []


@pytest.mark.parametrize("width", [640, 900, 1280, 1720])
def test_nothing_sticks_out_of_the_cell(open_widget, width):
    page = open_widget(page_options={"viewport": {"width": width, "height": 900}})
    settle(widget_of(page))
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_first_frame_asks_the_kernel_for_nothing(open_widget):
    page = open_widget()
    settle(widget_of(page))
    assert requests_for(page, "expand") == []


# Drilling in.


def test_a_click_on_a_layer_opens_it_in_place(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    heads = [n["id"] for n in BLOCK["nodes"] if n["kind"] == "head"]
    neurons = [n["id"] for n in BLOCK["nodes"] if n["kind"] == "neuron"]
    assert heads
    assert neurons
    for shown in heads + neurons:
        expect(node(widget, shown)).to_be_visible()
    assert model_state(page, "expanded") == [LAYER]
    request = requests_for(page, "expand")[0]
    assert request["params"]["layer"] == LAYER
    assert isinstance(request["id"], str)
    screenshot(page, "open-light")


@pytest.mark.parametrize("width", [900, 1280, 1720])
def test_labels_of_an_open_layer_do_not_overlap(open_widget, screenshot, width):
    page = open_widget(page_options={"viewport": {"width": width, "height": 1100}})
    widget = widget_of(page)
    open_layer(widget)
    node(widget, HEAD).click()
    expect(panel_of(widget)).to_contain_text(PROJECT[HEAD]["top"][0]["text"])
    page.mouse.move(2, 2)
    settle(widget)
    screenshot(page, f"open-{width}")
    assert overlapping_labels(widget) == []


def test_the_close_button_closes_the_layer(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    widget.locator('[data-role="close-layer"]').first.click()
    expect(node(widget, HEAD)).to_have_count(0)
    assert model_state(page, "expanded") == []
    expect(layer_area(widget, LAYER)).to_be_attached()


def test_a_layer_opened_again_is_not_asked_for_again(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    widget.locator('[data-role="close-layer"]').first.click()
    expect(node(widget, HEAD)).to_have_count(0)
    settle(widget)
    open_layer(widget)
    assert len(requests_for(page, "expand")) == 1


def test_a_layer_opened_from_python_opens(open_widget):
    page = open_widget()
    page.evaluate("(layer) => model.set('expanded', [layer])", LAYER)
    expect(node(widget_of(page), HEAD)).to_be_visible()


def test_ribbons_join_the_nodes_they_name(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    ribbon = widget.locator(f'[data-source="{HEAD}"][data-target="L23.attn"]').first
    expect(ribbon).to_be_attached()
    ends = ribbon.bounding_box()
    head = node(widget, HEAD).bounding_box()
    whole = node(widget, "L23.attn").bounding_box()
    assert ends["width"] > 5
    assert head["x"] <= ends["x"] <= head["x"] + head["width"] + 4
    assert abs(ends["x"] + ends["width"] - whole["x"]) <= whole["width"] + 4


# The panel.


def test_a_click_on_a_head_fills_the_panel(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    node(widget, HEAD).click()
    panel = panel_of(widget)
    detail = PROJECT[HEAD]
    for choice in detail["top"][:4]:
        expect(panel).to_contain_text(choice["text"])
    expect(panel).to_contain_text(re.compile(r"head 4", re.IGNORECASE))
    expect(panel).to_contain_text(f"{abs(detail['logit']):.2f}")
    for token in GRAPH["tokens"]:  # what it reads: its attention on the prompt
        expect(panel).to_contain_text(token["text"])
    assert model_state(page, "selection") == [HEAD]
    assert HEAD in requests_for(page, "project")[0]["params"]["nodes"]


def test_a_selection_made_in_python_fills_the_panel(open_widget):
    page = open_widget()
    page.evaluate("(layer) => model.set('expanded', [layer])", LAYER)
    expect(node(widget_of(page), HEAD)).to_be_visible()
    page.evaluate("(id) => model.set('selection', [id])", HEAD)
    expect(panel_of(widget_of(page))).to_contain_text(PROJECT[HEAD]["top"][0]["text"])


def test_hovering_needs_no_kernel(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    before = page.evaluate("model.sent.length")
    node(widget, HEAD).hover()
    page.wait_for_timeout(400)
    assert page.evaluate("model.sent.length") == before


SPILLS = re.compile(r"\[object |\bundefined\b|\bNaN\b|\bInfinity\b|\bnull\b")


def test_no_text_spills_the_program_behind_it(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    seen = [widget.inner_text()]
    kinds = {each["kind"]: each["id"] for each in BLOCK["nodes"]}
    for node_id in kinds.values():
        shown = node(widget, node_id)
        if shown.count() and shown.is_visible():
            shown.hover()
            page.wait_for_timeout(150)
            shown.click()
            page.wait_for_timeout(150)
            seen.append(widget.inner_text())
    spills = {line for text in seen for line in text.splitlines() if SPILLS.search(line)}
    assert spills == set()


# Room and theme.


def test_it_follows_the_width_of_its_cell(open_widget):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    wide = layer_area(widget, 29).bounding_box()["x"]
    page.set_viewport_size({"width": 820, "height": 900})
    settle(widget)
    assert layer_area(widget, 29).bounding_box()["x"] < wide
    assert overlapping_labels(widget) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    settle(widget)
    assert layer_area(widget, 29).bounding_box()["x"] == pytest.approx(wide, abs=1)


def background(widget: Locator) -> list[int]:
    text = widget.evaluate("(e) => getComputedStyle(e).backgroundColor")
    return [int(part) for part in re.findall(r"\d+", text)[:3]]


def test_it_takes_the_page_theme_and_follows_it(open_widget, screenshot):
    page = open_widget(theme="dark")
    widget = widget_of(page)
    settle(widget)
    assert max(background(widget)) < 80
    screenshot(page, "overview-dark")
    open_layer(widget)
    node(widget, HEAD).click()
    expect(panel_of(widget)).to_contain_text(PROJECT[HEAD]["top"][0]["text"])
    page.mouse.move(2, 2)
    settle(widget)
    screenshot(page, "open-dark")
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    expect(widget).not_to_have_class(re.compile(r"\bdark\b"))
    assert min(background(widget)) > 200
    expect(node(widget, HEAD)).to_be_visible()


# When things fail.


def test_an_error_reply_is_a_sentence_and_the_rest_stays_usable(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    sentence = "The model was moved to another device; run the cell again."
    page.evaluate("(sentence) => { model.failing.expand = sentence }", sentence)
    layer_area(widget, LAYER).click()
    expect(widget).to_contain_text(sentence)
    screenshot(page, "error")
    page.evaluate("delete model.failing.expand")
    open_layer(widget)


def test_an_error_in_a_projection_is_a_sentence(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    sentence = "The kernel has lost this model; run the cell again."
    page.evaluate("(sentence) => { model.failing.project = sentence }", sentence)
    node(widget, HEAD).click()
    expect(widget).to_contain_text(sentence)
    page.evaluate("delete model.failing.project")
    other = next(key for key in PROJECT if key != HEAD and key.startswith(f"L{LAYER}.H"))
    node(widget, other).click()
    expect(panel_of(widget)).to_contain_text(PROJECT[other]["top"][0]["text"])


# Two views of one model.


def test_two_views_agree(open_widget, screenshot):
    page = open_widget(views=2, page_options={"viewport": {"width": 1280, "height": 1800}})
    first, second = widget_of(page, 0), widget_of(page, 1)
    open_layer(first)
    expect(node(second, HEAD)).to_be_visible()
    settle(second)
    node(second, HEAD).click()
    for view in (first, second):
        expect(panel_of(view)).to_contain_text(PROJECT[HEAD]["top"][0]["text"])
    screenshot(page, "two-views")
    second.locator('[data-role="close-layer"]').first.click()
    expect(node(first, HEAD)).to_have_count(0)
    assert len(requests_for(page, "expand")) == 1, "one request serves both views"


def test_a_view_that_is_taken_away_leaves_nothing_behind(open_widget):
    page = open_widget()
    settle(widget_of(page))
    page.evaluate("endWidget()")
    page.evaluate("model.set('expanded', [3])")
    page.wait_for_timeout(300)
    assert requests_for(page, "expand") == []


# Keyboard.


def test_the_keyboard_reaches_opens_and_closes_a_layer(open_widget):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    layer_area(widget, 0).focus()
    in_graph = "document.activeElement.closest('.visit-widget') !== null"
    if not page.evaluate(in_graph):
        widget.locator('[tabindex="0"]').first.focus()
    assert page.evaluate(in_graph)
    for _ in range(LAYER):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(widget.locator('[data-role="close-layer"]').first).to_be_visible()
    assert len(model_state(page, "expanded")) == 1
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(widget.locator('[data-role="close-layer"]')).to_have_count(0)
    assert model_state(page, "expanded") == []


def test_every_control_has_a_name(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    nameless = widget.locator("button, select, input, [role=button]").evaluate_all(
        """(controls) => controls.filter((c) => !(c.getAttribute('aria-label')
            || c.getAttribute('aria-labelledby') || c.title || c.textContent.trim()
            || c.labels?.length)).map((c) => c.outerHTML.slice(0, 120))"""
    )
    assert nameless == []


# The saved page.


def test_a_saved_page_opens_what_it_carries(open_widget):
    page = open_widget(mode="standalone")
    widget = widget_of(page)
    open_layer(widget)
    node(widget, HEAD).click()
    expect(panel_of(widget)).to_contain_text(PROJECT[HEAD]["top"][0]["text"])


def test_a_saved_page_says_what_it_does_not_carry(open_widget):
    page = open_widget(mode="standalone", include="nothing")
    widget = widget_of(page)
    settle(widget)
    layer_area(widget, LAYER).click()
    expect(widget).to_contain_text("not included")
