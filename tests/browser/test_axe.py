"""Every state of a widget is free of what axe-core can find wrong."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.axe import violations
from tests.browser.steps import (
    HEAD,
    LAYER,
    PROJECT,
    click_ribbon,
    layer_area,
    node,
    open_layer,
    panel_of,
    settle,
    show_routes,
    widget_of,
)

THEMES = ["light", "dark"]
WINDOWS = ["keep", "show", "exact", "target", "foil", "under-tokens", "open-help"]


@pytest.fixture(params=THEMES)
def widget(request, open_widget):
    page = open_widget(theme=request.param)
    found = widget_of(page)
    settle(found)
    return page, found


def test_axe_finds_what_is_wrong(open_widget):
    page = open_widget()
    widget_of(page).locator('[data-role="keep"]').evaluate(
        "(e) => e.setAttribute('aria-label', 'x y')"
    )
    assert [found.split(" ")[0] for found in violations(page)] == ["label-content-name-mismatch"]


def test_the_first_frame(widget):
    page, _ = widget
    assert violations(page) == []


def test_an_open_layer_and_a_selected_node(widget):
    page, found = widget
    open_layer(found)
    assert violations(page) == []
    node(found, HEAD).click()
    expect(panel_of(found)).to_contain_text(PROJECT[HEAD]["top"][0]["text"])
    settle(found)
    assert violations(page) == []


def test_a_layer_that_is_waited_for(widget):
    page, found = widget
    page.evaluate("model.silent.add('expand')")
    layer_area(found, LAYER).click()
    expect(found).to_contain_text("computing…")
    settle(found)
    assert violations(page) == []


def test_the_routes_and_a_selected_ribbon(widget):
    page, found = widget
    show_routes(found)
    assert violations(page) == []
    click_ribbon(page, found.locator("path.vw-route").first)
    expect(panel_of(found).locator(".vw-carrier").first).to_be_visible()
    settle(found)
    assert violations(page) == []


@pytest.mark.parametrize("role", WINDOWS)
def test_a_window(widget, role):
    page, found = widget
    found.locator(f'[data-role="{role}"]').click()
    expect(found.get_by_role("dialog")).to_be_visible()
    if role == "exact":
        expect(found.locator(".vw-audit-table")).to_be_visible()
    assert violations(page) == []


def test_the_search(widget):
    page, found = widget
    open_layer(found)
    layer_area(found, 0).focus()
    page.keyboard.press("/")
    page.keyboard.type("Jap")
    expect(found.locator('[data-role="search-count"]')).not_to_have_text("")
    assert violations(page) == []


def test_pins(widget):
    page, found = widget
    open_layer(found)
    page.evaluate("(pins) => model.set('pins', pins)", [HEAD, "L23.H5"])
    expect(found.locator('[data-role="pins"] thead th')).to_have_count(2)
    settle(found)
    assert violations(page) == []


def test_the_menu_of_downloads(widget):
    page, found = widget
    found.get_by_role("button", name="Export").click()
    expect(found.get_by_role("menu")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("view", ["Layers", "Routes"])
def test_the_tables(widget, view):
    page, found = widget
    open_layer(found)
    node(found, HEAD).click()
    found.get_by_role("button", name=view, exact=True).click()
    found.get_by_role("button", name="table", exact=True).click()
    expect(found.locator(".vw-table").nth(1)).to_be_visible()
    assert violations(page) == []


def test_a_long_prompt_scrolls_by_keyboard(open_widget):
    page = open_widget(page_options={"viewport": {"width": 1008, "height": 720}})
    found = widget_of(page)
    page.evaluate(
        """() => {
            const graph = model.get("graph");
            const tokens = Array.from({ length: 300 }, (_, position) =>
                ({ ...graph.tokens[position % 8], position }));
            model.replies = {};
            model.set("graph", { ...graph, tokens, position: 299, revision: graph.revision + 1 });
            model.set("focus", 299);
        }"""
    )
    open_layer(found)
    node(found, HEAD).click()
    expect(panel_of(found)).to_contain_text(PROJECT[HEAD]["top"][0]["text"])
    assert violations(page) == []


def test_an_error_and_the_prompt_being_edited(widget):
    page, found = widget
    page.evaluate("model.failing.expand = 'The kernel has lost this model; run the cell again.'")
    layer_area(found, LAYER).click()
    expect(found.get_by_role("alert")).to_be_visible()
    found.locator('[data-role="edit-prompt"]').click()
    assert violations(page) == []


def test_a_saved_page(open_widget):
    page = open_widget(mode="standalone")
    open_layer(widget_of(page))
    assert violations(page) == []
