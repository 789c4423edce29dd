"""Search, pins, filters and help, by hand; and a saved page that opens as it was left."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

import visit_widget as vw
from tests.browser.steps import (
    BLOCK,
    GRAPH,
    HEAD,
    LAYER,
    ROUTES,
    layer_area,
    model_state,
    node,
    open_layer,
    panel_of,
    requests_for,
    set_model,
    settle,
    show_layers,
    show_routes,
    sticks_out,
    widget_of,
)  # fmt: skip
from tests.tiny import make_speaker, tokenizer

SMALL = {"viewport": {"width": 1008, "height": 720}}


def role(widget: Locator, name: str) -> Locator:
    return widget.locator(f'[data-role="{name}"]')


def search_for(page: Page, widget: Locator, text: str) -> None:
    layer_area(widget, 0).focus()
    page.keyboard.press("/")
    expect(widget.locator(".vw-search-input")).to_be_focused()
    page.keyboard.type(text)


def counted(widget: Locator) -> Locator:
    return role(widget, "search-count")


def opacity(locator: Locator) -> float:
    return float(locator.evaluate("(e) => getComputedStyle(e).opacity"))


def in_window(locator: Locator) -> bool:
    return locator.evaluate(
        """(e) => {
            const { left, right, top, bottom } = e.getBoundingClientRect();
            return left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
        }"""
    )


# Search.


def test_found_ones_are_counted_lit_and_walked_through(open_widget):
    page = open_widget()
    widget = widget_of(page)
    search_for(page, widget, "Japan")
    says = [n for n in GRAPH["nodes"] if any("japan" in t["text"].lower() for t in n["top"])]
    assert any(n["id"] == f"L{LAYER}.attn" for n in says)
    expect(counted(widget)).to_have_text(re.compile(r"^\d+ found$"))
    total = int(counted(widget).inner_text().split()[0])
    chips = widget.locator(".vw-chips .vw-chip")
    expect(chips.nth(3)).to_have_class(re.compile(r"\bfound\b"))
    expect(chips.nth(2)).not_to_have_class(re.compile(r"\bfound\b"))
    ink = "(e) => getComputedStyle(e).color"
    assert chips.nth(2).evaluate(ink) != chips.nth(3).evaluate(ink)
    lit = node(widget, f"L{LAYER}.attn")
    expect(lit).to_have_class(re.compile(r"\bfound\b"))
    expect(node(widget, "L3.attn")).to_have_css("opacity", re.compile(r"0\.[12]"))
    expect(lit).to_have_css("opacity", "1")

    page.keyboard.press("Enter")
    expect(counted(widget)).to_have_text(f"1 of {total}")
    expect(chips.nth(3)).to_have_class(re.compile(r"\bhere\b"))
    page.keyboard.press("Enter")
    expect(counted(widget)).to_have_text(f"2 of {total}")
    assert model_state(page, "selection") == [f"L{LAYER}.attn"]
    widget.get_by_role("button", name="Previous (Shift+Enter)").click()
    expect(counted(widget)).to_have_text(f"1 of {total}")
    widget.locator(".vw-search-input").focus()
    page.keyboard.press("Shift+Enter")
    expect(counted(widget)).to_have_text(f"{total} of {total}")

    page.keyboard.press("Escape")
    expect(role(widget, "search")).to_be_hidden()
    expect(layer_area(widget, 0)).to_be_focused()
    expect(widget.locator(".found")).to_have_count(0)
    expect(widget.locator("svg.has-found")).to_have_count(0)


def test_a_node_of_a_closed_layer_is_gone_to_by_its_id(open_widget, screenshot):
    page = open_widget(page_options=SMALL)
    widget = widget_of(page)
    search_for(page, widget, HEAD.lower())
    expect(counted(widget)).to_have_text("1 found")
    expect(role(widget, "search-note")).to_have_text(f"Layer {LAYER} has to be opened for it.")
    assert model_state(page, "expanded") == []
    page.keyboard.press("Enter")
    found = node(widget, HEAD)
    expect(found).to_be_visible()
    expect(found).to_have_class(re.compile(r"\bselected\b"))
    settle(widget)
    page.wait_for_timeout(500)
    assert in_window(found)
    assert model_state(page, "expanded") == [LAYER]
    assert model_state(page, "selection") == [HEAD]
    expect(panel_of(widget)).to_be_visible()
    # The head and its parts, now that they are there.
    parts = [n for n in BLOCK["nodes"] if re.match(rf"{HEAD}(\.|$)", n["id"])]
    expect(counted(widget)).to_have_text(f"1 of {len(parts)}")
    expect(widget.locator(".vw-search-input")).to_be_focused()
    screenshot(page, "search")
    # One step: the layer is closed, and nothing is selected.
    page.keyboard.press("Escape")
    layer_area(widget, 0).focus()
    page.keyboard.press("u")
    expect(found).to_have_count(0)
    assert model_state(page, "selection") == []


def test_what_is_not_there_is_said(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    search_for(page, widget, f"L{LAYER}.N815")
    note = role(widget, "search-note")
    expect(note).to_contain_text("is not drawn apart")
    expect(counted(widget)).to_have_text("none")
    # Nothing is dimmed where nothing was found.
    expect(widget.locator("svg.has-found")).to_have_count(0)
    for query, says in (("L99.H1", "no layer 99"), ("P3.L10", "a part of the routes")):
        widget.locator(".vw-search-input").fill(query)
        expect(note).to_contain_text(says)


def test_the_routes_are_searched_too(open_widget):
    page = open_widget()
    widget = widget_of(page)
    show_routes(widget)
    role(widget, "open-search").click()
    page.keyboard.type(HEAD)
    ids = [n["id"] for n in ROUTES["nodes"] if re.match(rf"P\d+\.{HEAD}(\.|$)", n["id"])]
    ids = [i for i in ids if not i.endswith(".bias")]
    expect(counted(widget)).to_have_text(f"{len(ids)} found")
    page.keyboard.press("Enter")
    assert model_state(page, "selection") == [ids[0]]
    lit = widget.locator("path.vw-route.found")
    assert lit.count() >= 1
    other = widget.locator("path.vw-route:not(.found)").first
    assert opacity(other) < 0.3 < opacity(lit.first)
    # In the other view it is of other nodes.
    page.keyboard.press("Escape")
    show_layers(widget)
    expect(widget.locator("svg.has-found")).to_have_count(0)


def test_a_slash_that_is_typed_is_a_slash(open_widget):
    page = open_widget()
    widget = widget_of(page)
    widget.locator('[data-role="edit-prompt"]').click()
    page.keyboard.type("and/or?")
    expect(widget.locator("textarea")).to_have_value("and/or?")
    expect(role(widget, "search")).to_be_hidden()


def test_a_saved_page_is_searched_and_says_what_it_lacks(open_widget):
    page = open_widget(mode="standalone", include="nothing")
    widget = widget_of(page)
    search_for(page, widget, HEAD)
    page.keyboard.press("Enter")
    expect(widget.locator('[data-problem="expand"]')).to_contain_text("not included in this page")
    show_routes_button = widget.get_by_role("button", name="Routes", exact=True)
    show_routes_button.click()
    role(widget, "open-search").click()
    page.keyboard.press("Control+a")
    page.keyboard.type("japan")
    expect(role(widget, "search-note")).to_contain_text("The routes are not in this page")
    expect(counted(widget)).to_have_text("1 found")


# Pins.


def pin(page: Page, widget: Locator, node_id: str) -> None:
    set_model(page, selection=[node_id])
    role(panel_of(widget), "pin").click()


def test_pinned_nodes_stand_side_by_side_and_stay(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    others = [n["id"] for n in BLOCK["nodes"] if n["kind"] == "head" and n["id"] != HEAD]
    chosen = [HEAD, *others[:3]]
    for node_id in chosen:
        pin(page, widget, node_id)
    pins = role(widget, "pins")
    expect(pins.locator("thead th")).to_have_count(4)
    assert model_state(page, "pins") == chosen
    expect(pins).to_contain_text("adds +2.68 to ␣Tokyo")
    row = pins.locator("tbody tr").filter(has_text="reads")
    expect(row).to_contain_text("␣Japan 92.2%")
    # A fifth has no room.
    set_model(page, selection=[f"L{LAYER}.attn"])
    expect(role(panel_of(widget), "pin")).to_be_disabled()
    settle(widget)
    assert sticks_out(page) <= 0
    screenshot(page, "pins")

    asked = len(requests_for(page, "project"))
    page.evaluate("model.delay = 1500")
    set_model(page, selection=[])
    widget.locator('.vw-chip[data-position="4"]').click()
    expect(pins.locator("td.old").first).to_be_visible()
    expect(pins.locator("td.old")).to_have_count(0)
    expect(pins.locator("thead th")).to_have_count(4)
    last = requests_for(page, "project")[asked:][-1]["params"]
    assert last["nodes"] == chosen
    assert last["lenient"] is True
    assert last["revision"] == model_state(page, "graph")["revision"]

    pins.get_by_role("button", name=f"Unpin {chosen[1]}").click()
    expect(pins.locator("thead th")).to_have_count(3)
    layer_area(widget, 0).focus()
    page.keyboard.press("u")
    expect(pins.locator("thead th")).to_have_count(4)


def test_common_tokens_are_on_one_line(open_widget):
    page = open_widget()
    widget = widget_of(page)
    set_model(page, pins=[HEAD, f"L{LAYER}.attn"])
    pins = role(widget, "pins")
    common = pins.locator("tr.common")
    expect(common.first).to_be_visible()
    for line in range(common.count()):
        tokens = common.nth(line).locator(".vw-token").all_inner_texts()
        assert len(tokens) == 2
        assert len(set(tokens)) == 1


def test_a_pin_that_the_graph_lacks_is_said(open_widget):
    page = open_widget()
    widget = widget_of(page)
    set_model(page, pins=[f"L{LAYER}.N1", HEAD])
    pins = role(widget, "pins")
    expect(pins.locator(".vw-pin-missing")).to_have_text(f"L{LAYER}.N1 is not drawn.")
    expect(pins).to_contain_text("adds +2.68 to ␣Tokyo")


# Filters.


def total_into_attention(widget: Locator) -> float:
    """What the rows beside an open layer's heads say they add, in the picture."""
    heads = widget.locator(
        f'g.vw-node[data-layer="{LAYER}"]:is([data-kind="head"], [data-node$="attn.others"],'
        ' [data-node$="attn.rest"], [data-node$="attn.bias"])'
    )
    numbers = heads.evaluate_all(
        "(all) => all.map((e) => e.querySelector('.vw-text.number')?.textContent ?? '0')"
    )
    return sum(float(n.replace("−", "-")) for n in numbers)


def test_layers_step_back_and_heads_are_drawn_as_one(open_widget, screenshot):
    page = open_widget(page_options=SMALL)
    widget = widget_of(page)
    open_layer(widget)
    whole = total_into_attention(widget)
    role(widget, "show").click()
    window = role(widget, "show-window")
    window.get_by_label("Show layers from").fill("20")
    page.keyboard.press("Tab")
    chips = window.locator(".vw-show-head")
    n_heads = sum(n["kind"] == "head" for n in BLOCK["nodes"])
    expect(chips).to_have_count(n_heads)
    for head in (0, 1, 2):
        window.get_by_role("button", name=f"Head {head}", exact=True).click()
    page.keyboard.press("Escape")
    expect(window).to_have_count(0)
    expect(role(widget, "show")).to_be_focused()
    settle(widget)
    assert model_state(page, "filters") == {
        "layers": [20, 29], "heads": {str(LAYER): list(range(3, n_heads))},
    }  # fmt: skip
    note = role(widget, "filter-note")
    expect(note).to_contain_text("Layers 0–19 are dimmed")
    expect(note).to_contain_text("stays in every sum")
    assert opacity(node(widget, "L5.attn")) < 0.2
    assert opacity(node(widget, "L28.attn")) == 1
    expect(node(widget, f"L{LAYER}.H0")).to_have_count(0)
    others = node(widget, f"L{LAYER}.attn.others")
    expect(others).to_contain_text("+ 3 more heads")
    # Rounded to two digits each.
    assert total_into_attention(widget) == pytest.approx(whole, abs=0.005 * (n_heads + 3))
    assert requests_for(page, "expand")[-1]["params"]["layer"] == LAYER
    assert model_state(page, "graph")["revision"] == GRAPH["revision"], "nothing is computed"
    screenshot(page, "filters")

    show_routes(widget)
    inside = widget.locator(f'path.vw-route[data-layer="{LAYER}"]').first
    outside = widget.locator("path.vw-route.outside").first
    assert opacity(outside) < 0.2 < opacity(inside)
    show_layers(widget)

    # The row is no part to be selected: it gives its heads back.
    settle(widget)
    others.click()
    expect(node(widget, f"L{LAYER}.H0")).to_be_visible()
    assert model_state(page, "selection") == []
    role(widget, "show-all").click()
    expect(note).to_be_hidden()
    expect(widget.locator('[data-role="stage"] .outside')).to_have_count(0)
    show_routes(widget)
    expect(widget.locator(".outside")).to_have_count(0)
    show_layers(widget)
    layer_area(widget, 0).focus()
    page.keyboard.press("u")
    page.keyboard.press("u")
    page.keyboard.press("u")
    expect(note).to_be_visible()


def test_what_is_searched_for_is_shown(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    set_model(page, filters={"layers": None, "heads": {str(LAYER): [5]}})
    expect(node(widget, HEAD)).to_have_count(0)
    search_for(page, widget, HEAD)
    page.keyboard.press("Enter")
    expect(node(widget, HEAD)).to_be_visible()
    assert model_state(page, "filters")["heads"] == {str(LAYER): [4, 5]}


# Help.


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_help_has_marks_and_keys(open_widget, screenshot, theme):
    page = open_widget(page_options=SMALL, theme=theme)
    widget = widget_of(page)
    layer_area(widget, 3).focus()
    page.keyboard.press("?")
    window = role(widget, "help")
    expect(window).to_be_visible()
    for words in ("hatched ribbon", "the river", "search tokens", "Esc"):
        expect(window).to_contain_text(words)
    assert window.locator("kbd").count() > 20
    screenshot(page, f"help-{theme}")
    box = window.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1008
    page.keyboard.press("?")
    expect(window).to_have_count(0)
    role(widget, "open-help").click()
    expect(window).to_be_visible()
    page.keyboard.press("Escape")
    expect(role(widget, "open-help")).to_be_focused()


# A page as it was left.


@pytest.mark.parametrize("view", ["block", "routes"])
def test_a_saved_page_opens_as_it_was_left(new_page, tmp_path, view):
    made = vw.visit(make_speaker("gpt2"), tokenizer(), "the cat sat on the mat", focus=4)
    made.foil, made.measure, made.view = " red", "share", view
    made.expanded, made.selection = [1], ["L1.H0"]
    made.pins = ["L1.H1", "L0.mlp"]
    made.filters = {"layers": [1, 2], "heads": {"1": [0, 1]}}
    made.display = {"under": ["predictions"], "least": True}
    page = new_page()
    page.goto(made.save_html(tmp_path / "page.html").as_uri())
    widget = widget_of(page)
    shown = {"block": "Layers", "routes": "Routes"}[view]
    pressed = widget.get_by_role("button", name=shown, exact=True)
    expect(pressed).to_have_attribute("aria-pressed", "true")
    expect(role(widget, "measure")).to_have_value("share")
    expect(role(widget, "foil")).to_contain_text("␣red")
    expect(widget.locator(".vw-chips .vw-chip.focus")).to_have_text(made.trace.tokens[4])
    expect(widget.locator(".vw-prompt")).to_have_class(re.compile("with-predictions"))
    expect(widget.locator(".vw-prompt")).not_to_have_class(re.compile("with-attribution"))
    expect(role(widget, "filter-note")).to_contain_text("Layer 0 is dimmed")
    expect(role(widget, "pins").locator("thead th")).to_have_count(2)
    expect(role(widget, "pins").locator(".vw-pin-missing")).to_have_count(0)
    expect(panel_of(widget)).to_contain_text("head 0")
    expect(panel_of(widget).locator("details.vw-least")).to_have_attribute("open", "")
    if view == "block":
        expect(node(widget, "L1.H0")).to_have_class(re.compile(r"\bselected\b"))
        expect(node(widget, "L1.H0")).to_be_visible()
    show_layers(widget)
    expect(node(widget, "L1.H0")).to_be_visible()
