"""The keyboard: one tab stop a region, arrows within, and a focus that is seen and never lost."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.steps import (
    BLOCK,
    HEAD,
    LAYER,
    PROJECT,
    layer_area,
    model_state,
    node,
    open_layer,
    panel_of,
    set_model,
    settle,
    show_routes,
    widget_of,
)

REGIONS = {
    ".vw-prompt": "prompt",
    ".vw-toolbar": "toolbar",
    ".vw-problems": "problems",
    ".vw-main": "view",
    '[data-role="panel"]': "panel",
}


@pytest.fixture
def widget(open_widget):
    page = open_widget()
    found = widget_of(page)
    settle(found)
    return page, found


def nav(page: Page) -> str | None:
    return page.evaluate("document.activeElement.getAttribute('data-nav')")


def region(page: Page) -> str | None:
    return page.evaluate(
        """(regions) => Object.entries(regions)
            .find(([selector]) => document.activeElement.closest(selector))?.[1] ?? null""",
        REGIONS,
    )


def tab_through(page: Page) -> list[str | None]:
    """The regions that Tab comes by, from the first to where it leaves the widget."""
    page.evaluate(
        """() => {
            document.querySelector("#before")?.remove();
            const before = document.createElement("button");
            before.id = "before";
            document.body.prepend(before);
            before.focus();
        }"""
    )
    passed = []
    for _ in range(30):
        page.keyboard.press("Tab")
        passed.append(region(page))
        if passed[-1] is None:
            return passed[:-1]
    return passed


def test_tab_stops_once_in_each_region(widget):
    page, found = widget
    assert tab_through(page) == ["prompt", "toolbar", "view"]
    open_layer(found)
    node(found, HEAD).click()
    expect(panel_of(found)).to_contain_text(PROJECT[HEAD]["top"][0]["text"])
    assert tab_through(page) == ["prompt", "toolbar", "view", "panel"]
    page.evaluate("model.failing.expand = 'The kernel has lost this model.'")
    layer_area(found, 2).click()
    expect(found.get_by_role("alert")).to_be_visible()
    assert tab_through(page) == ["prompt", "toolbar", "problems", "view", "panel"]
    show_routes(found)
    assert tab_through(page) == ["prompt", "toolbar", "problems", "view", "panel"]


def test_arrows_go_through_the_toolbar_and_leave_the_measure_alone(widget):
    page, found = widget
    bar = found.get_by_role("toolbar", name="Tools")
    bar.locator("[tabindex='0']").focus()
    page.keyboard.press("Home")
    enabled = "(bar) => [...bar.querySelectorAll('button, select')].filter((e) => !e.disabled)"
    count = bar.evaluate(f"(bar) => ({enabled})(bar).length")
    seen = []
    for _ in range(count):
        seen.append(bar.evaluate(f"(bar) => ({enabled})(bar).indexOf(document.activeElement)"))
        page.keyboard.press("ArrowRight")
    assert seen == list(range(count))
    assert model_state(page, "measure") == "logit"
    page.keyboard.press("End")
    assert bar.evaluate(f"(bar) => ({enabled})(bar).at(-1) === document.activeElement")
    page.keyboard.press("Home")
    expect(found.get_by_role("button", name="Layers", exact=True)).to_be_focused()


def test_arrows_go_through_the_prompt_to_the_target(widget):
    page, found = widget
    found.locator(".vw-chip.focus").focus()
    # Editing, comparing, what stands under the tokens.
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(found.locator('[data-role="target"]')).to_be_focused()
    page.keyboard.press("Home")
    expect(found.locator('.vw-chip[data-position="0"]')).to_be_focused()


def walk(page: Page, start: Locator, arrow: str, steps: int) -> list[str | None]:
    start.focus()
    seen = []
    for _ in range(steps):
        page.keyboard.press(arrow)
        seen.append(nav(page))
    return seen


def test_arrows_follow_the_ribbons_of_an_open_layer(widget):
    page, found = widget
    open_layer(found)
    ids = ["L23.mid", "L23.attn", "L23.H4", "L23.H4.V3", "L23.H4.K3", "L23.H4.Q", "L23.ln1"]
    keys = [f"node:{each}" for each in [*ids, "L23.pre"]]
    assert walk(page, node(found, ids[0]), "ArrowLeft", len(ids)) == keys[1:]
    # A stream is read before it flows on.
    back = [keys[-2], *keys[-3::-1]]
    assert walk(page, node(found, "L23.pre"), "ArrowRight", len(ids)) == back
    neuron = "node:L23.N1508"
    there = ["node:L23.ln2", f"{neuron}.key", neuron, "node:L23.mlp", "node:L23.post"]
    assert walk(page, node(found, "L23.mid"), "ArrowRight", len(there)) == there


def test_arrows_go_up_and_down_the_columns_of_an_open_layer(widget):
    page, found = widget
    open_layer(found)
    heads = [n for n in BLOCK["nodes"] if n["kind"] == "head"]
    strongest = sorted(heads, key=lambda n: -abs(n["logit"]))
    order = [f"node:{n['id']}" for n in strongest]
    assert walk(page, node(found, HEAD), "ArrowDown", len(order) - 1) == order[1:]
    assert walk(page, node(found, strongest[2]["id"]), "ArrowUp", 2) == order[1::-1]
    page.keyboard.press("End")
    assert nav(page) == "node:L23.mlp.rest"
    page.keyboard.press("Home")
    assert nav(page) == order[0]


def test_every_stop_of_an_open_layer_is_reached_by_arrows(widget):
    page, found = widget
    open_layer(found)
    unreached = page.evaluate(
        """() => {
            const all = [...document.querySelectorAll(".vw-stage [data-nav]")];
            const at = new Map(all.map((e) => [e.getAttribute("data-nav"), e]));
            const reached = new Set(["layer:0"]), open = ["layer:0"];
            while (open.length) {
                const from = at.get(open.pop());
                for (const key of ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"]) {
                    from.focus();
                    from.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
                    const to = document.activeElement.getAttribute("data-nav");
                    if (!reached.has(to)) { reached.add(to); open.push(to); }
                }
            }
            return [...at.keys()].filter((key) => !reached.has(key));
        }"""
    )
    assert unreached == []


def test_escape_lets_go_of_what_is_chosen_then_closes_the_layer(widget):
    page, found = widget
    open_layer(found)
    node(found, HEAD).focus()
    page.keyboard.press("Enter")
    expect(panel_of(found)).to_be_visible()
    page.keyboard.press("Escape")
    expect(panel_of(found)).to_be_hidden()
    assert nav(page) == f"node:{HEAD}"
    assert model_state(page, "expanded") == [LAYER]
    page.keyboard.press("Escape")
    assert model_state(page, "expanded") == []
    assert nav(page) == f"layer:{LAYER}"


# What had the focus is gone.


@pytest.mark.parametrize("by", ["its button", "Escape"])
def test_closing_the_panel_gives_the_focus_back_to_the_node(widget, by):
    page, found = widget
    open_layer(found)
    node(found, HEAD).click()
    expect(panel_of(found)).to_contain_text(PROJECT[HEAD]["top"][0]["text"])
    panel_of(found).locator('[data-role="close-panel"]').focus()
    page.keyboard.press("Enter" if by == "its button" else "Escape")
    expect(panel_of(found)).to_be_hidden()
    assert nav(page) == f"node:{HEAD}"


@pytest.mark.parametrize("role", ["keep", "exact", "target", "foil", "under-tokens"])
def test_closing_a_window_gives_the_focus_back_to_its_button(widget, role):
    page, found = widget
    button = found.locator(f'[data-role="{role}"]')
    button.focus()
    page.keyboard.press("Enter")
    expect(found.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(found.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()


def test_a_layer_closed_from_elsewhere_leaves_the_focus_on_it(widget):
    page, found = widget
    open_layer(found)
    node(found, HEAD).focus()
    set_model(page, expanded=[])
    expect(node(found, HEAD)).to_have_count(0)
    page.wait_for_timeout(300)
    assert nav(page) == f"layer:{LAYER}"


def test_a_button_that_has_nothing_more_to_do_hands_the_focus_on(widget):
    page, found = widget
    open_layer(found)
    undo = found.get_by_role("button", name="Undo (u)")
    undo.focus()
    page.keyboard.press("Enter")
    expect(undo).to_be_disabled()
    expect(found.get_by_role("button", name="Redo (Shift-u)")).to_be_focused()


def test_the_panel_drawn_anew_keeps_the_focus_on_the_same_control(widget):
    page, found = widget
    open_layer(found)
    page.evaluate("model.delay = 500")
    node(found, HEAD).click()
    panel_of(found).locator('[data-role="close-panel"]').focus()
    page.keyboard.press("End")
    expect(panel_of(found).locator('[data-role="copy-id"]')).to_be_focused()
    expect(panel_of(found).locator(".vw-sources")).to_be_visible()
    expect(panel_of(found).locator('[data-role="copy-id"]')).to_be_focused()


# What is seen.

RINGS = """
() => {
    const probe = document.createElement("i");
    probe.style.color = "Highlight";
    document.body.append(probe);
    const wanted = getComputedStyle(probe).color;
    probe.remove();
    const e = document.activeElement;
    const shapes = [e, ...e.querySelectorAll(".vw-halo, .vw-hit")].map((s) => getComputedStyle(s));
    return shapes.some(({ stroke, strokeWidth, outlineStyle, outlineColor, outlineWidth }) =>
        (stroke === wanted && parseFloat(strokeWidth) >= 1.5) ||
        (outlineStyle !== "none" && outlineColor === wanted && parseFloat(outlineWidth) >= 2));
}
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_focus_is_seen_in_forced_colours(open_widget, screenshot, theme):
    options = {"forced_colors": "active", "color_scheme": theme}
    page = open_widget(theme=theme, page_options=options)
    found = widget_of(page)
    open_layer(found)
    for stop in ["L23.H4", "L23.H4.K3", "L23.ln1", "L23.mid", "L23.mlp", "L2.attn"]:
        node(found, stop).focus()
        page.keyboard.press("Shift")  # the keyboard is in use
        assert page.evaluate(RINGS), stop
    for key in ["layer:5", "layer:23", "close:23", "token:442"]:
        found.locator(f'[data-nav="{key}"]').focus()
        assert page.evaluate(RINGS), key
    for control in found.locator(".vw-toolbar button:enabled, .vw-toolbar select").all():
        control.focus()
        # What is chosen has the highlight for its ground, and a ring of another colour.
        chosen = control.get_attribute("aria-pressed") == "true"
        assert page.evaluate(RINGS) or chosen, control.get_attribute("data-role")
    node(found, HEAD).focus()
    screenshot(page, f"forced-{theme}")
    show_routes(found)
    page.keyboard.press("Shift")
    for key in ["node:logits", "node:P0.embed", "node:P7.L29.post", "node:P7.L23.mlp"]:
        found.locator(f'.vw-routes [data-nav="{key}"]').focus()
        assert page.evaluate(RINGS), key
    found.locator("path.vw-route").first.focus()
    assert page.evaluate(RINGS)


PLACES = """(root) => [...root.querySelectorAll('[data-node], text')]
    .map((e) => e.getBoundingClientRect()).map(({ x, y }) => [x, y].map(Math.round).join())"""


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_where_motion_is_not_wanted(open_widget, motion):
    page = open_widget(page_options={"reduced_motion": motion})
    found = widget_of(page)
    settle(found)
    page.evaluate(
        """(places) => {
            const root = document.querySelector(".visit-widget"), read = eval(places);
            window.seen = [];
            new MutationObserver((_, observer) => {
                if (!root.querySelector('[data-node="L23.H4"]')) return;
                observer.disconnect();
                const look = () => {
                    const running = document.getAnimations()
                        .filter((a) => a.effect.getComputedTiming().duration > 1);
                    seen.push({ places: read(root).join(" "), running: running.length });
                    if (seen.length < 20) requestAnimationFrame(look);
                };
                requestAnimationFrame(look);
            }).observe(root, { subtree: true, childList: true });
        }""",
        PLACES,
    )
    layer_area(found, LAYER).click()
    page.wait_for_function("window.seen.length === 20")
    seen = page.evaluate("window.seen")
    moves = len({look["places"] for look in seen}) > 1 or any(look["running"] for look in seen)
    assert moves == (motion == "no-preference")
