"""The routes view under a reader's hands: pointer, clicks, keyboard."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.steps import (
    GRAPH,
    HEAD,
    LAYER,
    ROUTES,
    click_ribbon,
    measure_of,
    model_state,
    node,
    panel_of,
    settle,
    show_routes,
    widget_of,
)
from tests.browser.test_routes import (
    INTO,
    NODES,
    WIDE,
    picture,
    ribbon,
    routes_of,
)

HEADS = sorted(
    (n for n in ROUTES["nodes"] if re.fullmatch(r"P7\.L23\.H\d+\.V3", n["id"])),
    key=lambda value: -abs(INTO[value["id"]]["influence"]),
)


@pytest.fixture
def routes(open_widget) -> tuple[Page, Locator]:
    page = open_widget(page_options={"viewport": {"width": 1280, "height": 1100}})
    widget = widget_of(page)
    show_routes(widget)
    page.mouse.move(2, 2)
    return page, widget


def opacities(widget: Locator) -> dict[bool, set[float]]:
    """Of lit ribbons, and of the others."""
    pairs = widget.locator("path.vw-route").evaluate_all(
        "(all) => all.map((e) => [e.classList.contains('lit'), +getComputedStyle(e).opacity])"
    )
    return {lit: {round(o, 2) for is_lit, o in pairs if is_lit == lit} for lit in (True, False)}


def ways_through(node_id: str) -> set[str]:
    """All nodes from which a kept way leads there, or to which one leads from there."""
    ends = [(e["source"], e["target"]) for e in ROUTES["edges"]]
    found = {node_id}
    for here, there in ((0, 1), (1, 0)):
        edge = {node_id}
        while edge:
            edge = {pair[there] for pair in ends if pair[here] in edge} - found
            found |= edge
    return found


# The pointer.


def test_hovering_lights_a_path_and_dims_the_others(routes, screenshot):
    page, widget = routes
    asked = page.evaluate("model.sent.length")
    river = node(routes_of(widget), "P4.L26.post")
    box = river.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(picture(widget)).to_have_class(re.compile(r"\bhas-lit\b"))
    page.wait_for_timeout(300)
    seen = opacities(widget)
    assert seen[True]
    assert seen[False]
    assert min(seen[True]) > 3 * max(seen[False])
    lit = widget.locator("path.vw-route.lit").evaluate_all(
        "(all) => all.map((e) => [e.dataset.source, e.dataset.target])"
    )
    ways = ways_through("P4.L26.post")
    assert all(source in ways and target in ways for source, target in lit)
    expect(widget.locator('[role="tooltip"]')).to_contain_text("␣is")
    screenshot(page, "routes-hover")
    page.mouse.move(2, 2)
    expect(picture(widget)).not_to_have_class(re.compile(r"\bhas-lit\b"))
    expect(widget.locator('[role="tooltip"]')).to_be_hidden()
    assert page.evaluate("model.sent.length") == asked, "hovering needs no kernel"


def test_a_ribbon_says_what_it_carries(routes):
    page, widget = routes
    path = ribbon(widget)
    x, y = path.evaluate(
        "(e) => { const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y]; }"
    )
    for step in range(60):
        page.mouse.move(x, y + 2 * step)
        if "lit" in (path.get_attribute("class") or ""):
            break
    tooltip = widget.locator('[role="tooltip"]')
    expect(tooltip).to_contain_text("␣Japan")
    expect(tooltip).to_contain_text("H4")
    label = path.get_attribute("aria-label")
    assert "Layer 23: from ␣Japan at position 3 to ␣of at position 7" in label


# Clicks.


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_click_on_a_ribbon_lists_its_heads(open_widget, screenshot, theme):
    page = open_widget(theme=theme)
    widget = widget_of(page)
    show_routes(widget)
    click_ribbon(page, ribbon(widget))
    rows = panel_of(widget).locator(".vw-carrier")
    expect(rows).to_have_count(len(HEADS))
    for row, head in zip(rows.all(), HEADS, strict=True):
        influence = INTO[head["id"]]["influence"]
        sign = "−" if influence < 0 else "+"
        expect(row).to_contain_text(f"H{head['head']}")
        expect(row).to_contain_text(f"{sign}{abs(influence):.2f}")
        expect(row).to_contain_text(f"{100 * head['weight']:.1f}%")
        expect(row).to_contain_text(head["label"])
    total = sum(INTO[head["id"]]["influence"] for head in HEADS)
    expect(panel_of(widget)).to_contain_text(f"+{total:.2f} logits")
    expect(panel_of(widget)).to_contain_text("layer 23, position 3 to 7")
    assert set(model_state(page, "selection")) == {head["id"] for head in HEADS}
    page.mouse.move(2, 2)
    settle(widget)
    screenshot(page, f"routes-ribbon-{theme}")
    page.keyboard.press("Escape")
    expect(panel_of(widget)).to_be_hidden()


def test_a_click_on_such_a_head_goes_to_its_block(routes, screenshot):
    page, widget = routes
    click_ribbon(page, ribbon(widget))
    row = panel_of(widget).locator(".vw-carrier").first
    expect(row).to_have_attribute("data-node", "P7.L23.H4.V3")
    row.click()
    expect(node(widget, HEAD)).to_be_visible()
    assert model_state(page, "view") == "block"
    assert model_state(page, "focus") == 7
    assert model_state(page, "expanded") == [LAYER]
    assert model_state(page, "selection") == [HEAD]
    expect(panel_of(widget)).to_contain_text("Layer 23")
    expect(node(widget, HEAD)).to_have_attribute("aria-pressed", "true")
    settle(widget)
    screenshot(page, "routes-to-block")


def test_a_head_at_another_position_moves_the_focus(routes):
    page, widget = routes
    path = ribbon(widget, "P3.L22.post", "P4.L23.mid")
    click_ribbon(page, path)
    panel_of(widget).locator('[data-node="P4.L23.H4.V3"]').click()
    assert model_state(page, "focus") == 4
    assert model_state(page, "expanded") == [LAYER]
    assert model_state(page, "selection") == [HEAD]
    page.wait_for_function("model.get('graph').position === 4")
    expect(node(widget, HEAD)).to_be_visible()
    assert model_state(page, "selection") == [HEAD]
    expect(panel_of(widget)).to_contain_text("Layer 23")


@pytest.mark.parametrize(
    ("node_id", "focus", "layer", "selection"),
    [
        ("P3.L22.post", 3, 22, []),
        ("P0.embed", 0, 0, []),
        ("P7.L28.mlp", 7, 28, ["L28.mlp"]),
    ],
)
def test_a_click_on_a_river_goes_to_its_block(routes, node_id, focus, layer, selection):
    page, widget = routes
    page.evaluate("(layer) => { model.blocks[layer] = { ...model.blocks[23], layer } }", layer)
    assert node_id in NODES
    part = node(routes_of(widget), node_id)
    if node_id.endswith(".post"):  # its middle may be a mark's
        part.click(position={"x": 2, "y": 2})
    elif node_id.endswith(".embed"):
        part.locator("text").first.click()
    else:
        part.click()
    assert model_state(page, "view") == "block"
    assert model_state(page, "focus") == focus
    assert model_state(page, "expanded") == [layer]
    assert model_state(page, "selection") == selection
    expect(routes_of(widget)).to_be_hidden()


@pytest.mark.parametrize("by", ["a mark", "a head of the panel"])
def test_one_click_is_one_step_back(routes, by):
    page, widget = routes
    if by == "a mark":
        node(routes_of(widget), "P7.L23.mlp").click()
    else:
        click_ribbon(page, ribbon(widget))
        panel_of(widget).locator(".vw-carrier").first.click()
    assert model_state(page, "view") == "block"
    widget.get_by_role("button", name="Undo (u)").click()
    assert model_state(page, "view") == "routes"
    assert model_state(page, "expanded") == []


def test_the_bar_under_a_token_is_part_of_it(routes):
    page, widget = routes
    box = node(routes_of(widget), "P0.embed").locator(".vw-root-bar").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert model_state(page, "view") == "block"
    assert model_state(page, "focus") == 0


def test_every_river_node_and_mark_takes_its_click(routes):
    _, widget = routes
    dead = (
        routes_of(widget)
        .locator(".vw-stop, .vw-mark, .vw-root, .vw-crown")
        .evaluate_all(
            """(all) => all.filter((e) => {
            const shape = e.tagName === "g" ? e.querySelector("rect") : e;
            const { x, y, width, height } = shape.getBoundingClientRect();
            for (const part of [0.5, 0.25, 0.75, 0.1, 0.9]) for (const at of [0.5, 0.1, 0.9]) {
                const hit = document.elementFromPoint(x + width * at, y + height * part);
                if (hit?.closest("[data-nav]") === e) return false;
            }
            return true;
        }).map((e) => e.dataset.node)"""
        )
    )
    assert dead == []


# The keyboard.


def active(page: Page) -> str:
    return page.evaluate("document.activeElement.getAttribute('data-nav') ?? ''")


def test_one_tab_stop_arrows_enter_and_escape(routes):
    page, widget = routes
    stops = picture(widget).locator('[tabindex="0"]')
    expect(stops).to_have_count(1)
    stops.focus()
    assert active(page) == "node:logits"
    page.keyboard.press("ArrowDown")
    assert active(page) == "node:P7.L29.post"
    seen = {active(page)}
    for _ in range(40):
        page.keyboard.press("ArrowDown")
        seen.add(active(page))
        if active(page) == f"node:{WIDE[1]}":
            break
    assert active(page) == f"node:{WIDE[1]}"
    page.keyboard.press("ArrowLeft")
    assert active(page) == f"ribbon:{WIDE[0]}→{WIDE[1]}", "the widest that comes in there"
    expect(widget.locator('[role="tooltip"]')).to_be_visible()
    expect(picture(widget)).to_have_class(re.compile(r"\bhas-lit\b"))
    expect(picture(widget).locator('[tabindex="0"]')).to_have_count(1)
    page.keyboard.press("Enter")
    expect(panel_of(widget).locator(".vw-carrier")).to_have_count(len(HEADS))
    assert active(page) == f"ribbon:{WIDE[0]}→{WIDE[1]}", "the focus stays on the ribbon"
    page.keyboard.press("Escape")
    expect(panel_of(widget)).to_be_hidden()
    assert active(page) == f"ribbon:{WIDE[0]}→{WIDE[1]}"
    page.keyboard.press("ArrowLeft")
    assert active(page) == f"node:{WIDE[0]}"
    page.keyboard.press("Home")
    assert active(page) == "node:P0.embed"
    page.keyboard.press("End")
    assert active(page) == "node:logits"


def test_every_stop_is_reached_by_arrows(routes):
    page, widget = routes
    all_stops = set(
        picture(widget)
        .locator(".vw-stop, .vw-mark, .vw-root, .vw-crown")
        .evaluate_all("(all) => all.map((e) => e.dataset.nav)")
    )
    reached = set(
        page.evaluate(
            """async () => {
            const nav = () => document.activeElement?.getAttribute("data-nav");
            const at = (key) => [...document.querySelectorAll(".vw-routes [data-nav]")]
                .find((e) => e.getAttribute("data-nav") === key);
            const found = new Set(["node:logits"]), open = ["node:logits"];
            while (open.length) {
                const from = open.pop();
                for (const key of ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"]) {
                    at(from).focus();
                    at(from).dispatchEvent(new KeyboardEvent("keydown",
                        { key, bubbles: true, cancelable: true }));
                    const to = nav();
                    if (to && !found.has(to)) { found.add(to); open.push(to); }
                }
            }
            return [...found];
        }"""
        )
    )
    assert all_stops - reached == set()


def test_enter_on_a_river_goes_to_its_block_and_the_keyboard_stays_in_the_widget(routes):
    page, widget = routes
    node(routes_of(widget), "P7.L23.post").focus()
    page.keyboard.press("Enter")
    assert model_state(page, "view") == "block"
    assert model_state(page, "expanded") == [LAYER]
    expect(node(widget, HEAD)).to_be_visible()
    settle(widget)
    assert widget.evaluate("(e) => e.contains(document.activeElement)")
    page.keyboard.press("u")
    assert model_state(page, "view") == "routes"


def test_a_head_of_the_panel_by_keyboard_keeps_the_keyboard_in_the_widget(routes):
    page, widget = routes
    click_ribbon(page, ribbon(widget))
    panel_of(widget).locator(".vw-carrier").first.focus()
    page.keyboard.press("Enter")
    expect(node(widget, HEAD)).to_be_visible()
    settle(widget)
    assert widget.evaluate("(e) => e.contains(document.activeElement)")


def test_the_picture_has_words(routes):
    _, widget = routes
    expect(picture(widget)).to_have_attribute(
        "aria-label", re.compile(f"Routes to {GRAPH['target']['text']} over 8 tokens and 30 layers")
    )
    nameless = (
        picture(widget)
        .locator("[data-nav]")
        .evaluate_all("(all) => all.filter((e) => !e.getAttribute('aria-label')).length")
    )
    assert nameless == 0


# A new graph.


def test_a_chosen_ribbon_is_dropped_when_it_is_not_kept_any_more(routes):
    page, widget = routes
    click_ribbon(page, ribbon(widget))
    gone = {head["id"] for head in HEADS}
    page.evaluate(
        """(gone) => {
            const { routes } = model.replies;
            model.replies.routes = { ...routes,
                nodes: routes.nodes.filter(({ id }) => !gone.includes(id)),
                edges: routes.edges.filter((e) =>
                    !gone.includes(e.source) && !gone.includes(e.target)) };
        }""",
        list(gone),
    )
    measure_of(widget).select_option("share")
    expect(ribbon(widget)).to_have_count(0)
    expect(panel_of(widget)).to_be_hidden()
    assert model_state(page, "selection") == []
