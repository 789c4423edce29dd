"""Another measure, focus, target or foil: on screen at once, or as soon as the kernel has it."""

from __future__ import annotations

import itertools
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.labels import overlapping_labels
from tests.browser.steps import (
    BLOCK,
    GRAPH,
    HEAD,
    LAYER,
    PROJECT,
    layer_area,
    measure_of,
    model_state,
    node,
    open_layer,
    panel_of,
    requests_for,
    set_model,
    settle,
    show_layers,
    show_routes,
    widget_of,
)

SIGNED = {"logit": True, "share": True, "norm": False, "proximity": False}
WRITES = {e["source"]: e for e in GRAPH["edges"] if e["kind"] == "write"}
KYOTO = next(token for token in GRAPH["prediction"] if token["text"] == "␣Kyoto")
SECOND = GRAPH["prediction"][1]


def widths(widget: Locator) -> dict[str, float]:
    """How wide each layer's two ribbons leave their marks, in pixels."""
    return widget.locator("path.vw-ribbon.kind-write").evaluate_all(
        """(paths) => Object.fromEntries(paths.map((path) => {
            const points = path.getAttribute("d").match(/-?[\\d.]+,-?[\\d.]+/g);
            const x = (point) => Number(point.split(",")[0]);
            return [path.dataset.source, Math.abs(x(points[0]) - x(points.at(-1)))];
        }))"""
    )


def watch_for_pending(page: Page) -> None:
    page.evaluate(
        """() => {
            window.flashes = 0;
            const look = () => {
                window.flashes += document.querySelectorAll(".vw-panel.pending").length;
            };
            new MutationObserver(look).observe(document.body,
                { subtree: true, childList: true, attributes: true, attributeFilter: ["class"] });
        }"""
    )


def target_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="target"]')


def foil_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="foil"]')


def options_of(widget: Locator) -> Locator:
    return widget.get_by_role("listbox").get_by_role("option")


def choose(widget: Locator, control: Locator, text: str) -> None:
    control.click()
    options_of(widget).filter(has_text=text).first.click()
    expect(widget.get_by_role("listbox")).to_have_count(0)


# The measure.


@pytest.mark.parametrize("measure", ["share", "norm", "proximity", "logit"])
def test_ribbons_are_as_wide_as_the_measure_says_before_any_reply(open_widget, screenshot, measure):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    page.evaluate("model.silent.add('graph')")
    if measure == "logit":
        measure_of(widget).select_option("norm")
        settle(widget)
    asked = page.evaluate("model.sent.length")
    before = widths(widget)
    measure_of(widget).select_option(measure)
    assert model_state(page, "measure") == measure
    settle(widget)
    after = widths(widget)
    assert page.evaluate("model.sent.length") == asked, "the edges carry all four"
    assert model_state(page, "graph")["revision"] == GRAPH["revision"]
    assert after != before
    assert after.keys() == WRITES.keys()
    by_size = sorted(WRITES, key=lambda name: abs(WRITES[name][measure]))
    for small, large in itertools.pairwise(by_size):
        assert after[small] <= after[large] + 0.05, (small, large)
    negative = {name for name, edge in WRITES.items() if edge[measure] < 0}
    marked = widget.locator("path.vw-ribbon.kind-write.negative").evaluate_all(
        "(paths) => paths.map((path) => path.dataset.source)"
    )
    assert set(marked) == (negative if SIGNED[measure] else set())
    assert overlapping_labels(widget) == []
    screenshot(page, f"measure-{measure}")


def test_the_pruned_graph_of_a_measure_comes_in_without_a_flash(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    node(widget, HEAD).click()
    settle(widget)
    gone = next(n["id"] for n in BLOCK["nodes"] if n["kind"] == "neuron")
    drop = f"(e) => ![e.id, e.source, e.target].some((id) => `${{id}}`.startsWith('{gone}'))"
    page.evaluate(
        f"""() => {{
            const {{ nodes, edges, ...rest }} = model.blocks[{LAYER}];
            const left = {drop};
            model.blocks = {{ {LAYER}: {{ ...rest, nodes: nodes.filter(left),
                edges: edges.filter(left) }} }};
            model.delay = 600;
        }}"""
    )
    watch_for_pending(page)
    measure_of(widget).select_option("share")
    page.wait_for_function("model.get('graph').measure === 'share'")
    expect(node(widget, gone)).to_be_visible()
    expect(node(widget, gone)).to_have_count(0)
    expect(node(widget, HEAD)).to_be_visible()
    assert page.evaluate("flashes") == 0
    assert [r["params"]["revision"] for r in requests_for(page, "expand")] == [1, 2]
    assert model_state(page, "selection") == [HEAD]
    assert model_state(page, "expanded") == [LAYER]
    expect(panel_of(widget)).to_contain_text(PROJECT[HEAD]["top"][0]["text"])


def test_a_measure_that_the_kernel_refuses_is_put_back_with_a_sentence(open_widget):
    page = open_widget()
    widget = widget_of(page)
    page.evaluate("model.silent.add('graph')")
    measure_of(widget).select_option("proximity")
    sentence = "This model's layers have no proximity; choose another measure."
    set_model(page, measure="logit", status={"state": "error", "message": sentence})
    expect(widget).to_contain_text(sentence)
    expect(measure_of(widget)).to_have_value("logit")


# The focus.

AT_JAPAN = """(graph) => graph.position !== 3 ? graph : { ...graph,
    target: { id: 314, text: "␣is", logit: 17.25, probability: 0.61, rank: 1 },
    prediction: [{ id: 314, text: "␣is", logit: 17.25, probability: 0.61 },
                 { id: 5721, text: "␣lies", logit: 15.5, probability: 0.12 }] }"""


def test_a_click_on_a_token_moves_the_focus_and_the_layer_stays_open(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    page.evaluate(f"() => {{ model.revised = {AT_JAPAN} }}")
    widget.locator('.vw-chip[data-position="3"]').click()
    assert model_state(page, "focus") == 3
    expect(widget.locator(".vw-chip.focus")).to_have_text("␣Japan")
    expect(widget.locator('[aria-current="true"]')).to_have_attribute("data-position", "3")
    expect(target_of(widget)).to_have_text("␣is")
    expect(widget).to_contain_text("rank of ␣is if the model stopped here")
    expect(widget.locator('[data-role="prediction"]')).to_have_count(2)
    expect(widget.locator('[data-role="prediction"]').first).to_contain_text("61%")
    expect(node(widget, HEAD)).to_be_visible()
    assert model_state(page, "expanded") == [LAYER]
    assert requests_for(page, "expand")[-1]["params"] == {"layer": LAYER, "revision": 2}
    page.mouse.move(2, 2)
    settle(widget)
    screenshot(page, "focus-3")
    assert overlapping_labels(widget) == []


def test_the_tokens_are_one_tab_stop_with_arrows(open_widget):
    page = open_widget()
    widget = widget_of(page)
    chips = widget.locator(".vw-chip[data-position]")
    assert chips.evaluate_all("(all) => all.filter((e) => e.tabIndex === 0).length") == 1
    widget.locator(".vw-chip.focus").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert model_state(page, "focus") == 5
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    assert model_state(page, "focus") == 0


# Target and foil.


def test_a_target_chosen_from_the_prediction_is_followed(open_widget):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    widget.locator(f'[data-role="prediction"][data-token="{KYOTO["id"]}"]').click()
    assert model_state(page, "target") == {"id": KYOTO["id"], "text": "␣Kyoto"}
    expect(target_of(widget)).to_have_text("␣Kyoto")
    expect(widget).to_contain_text("raises ␣Kyoto")
    expect(widget.locator('[data-role="prediction"].target')).to_contain_text("␣Kyoto")
    choose(widget, target_of(widget), "␣Tokyo")
    assert model_state(page, "target")["id"] == GRAPH["target"]["id"]
    expect(widget).to_contain_text("raises ␣Tokyo")


def test_numbers_follow_the_new_target(open_widget):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    told = {"id": KYOTO["id"], "text": "␣Kyoto", "logit": 7.5564, "probability": 0.0037, "rank": 7}
    page.evaluate(
        """(target) => { model.revised = (graph) => ({ ...graph, target,
            edges: graph.edges.map((e) => ({ ...e, logit: e.logit === null ? null : -e.logit })),
            nodes: graph.nodes.map((n) => ({ ...n, logit: n.logit === null ? null : -n.logit })),
        }) }""",
        told,
    )
    strongest = node(widget, "L23.attn")
    expect(strongest).to_have_attribute("aria-label", re.compile(r"\+3\.98"))
    choose(widget, target_of(widget), "␣Kyoto")
    expect(strongest).to_have_attribute("aria-label", re.compile(r"−3\.98"))
    expect(target_of(widget)).to_have_attribute("aria-label", re.compile(r"0\.4%, rank 7"))
    settle(widget)
    assert "L23.attn" in widget.locator("path.vw-ribbon.negative").evaluate_all(
        "(paths) => paths.map((path) => path.dataset.source)"
    )


def test_a_target_found_in_the_vocabulary_by_keyboard_alone(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    target_of(widget).focus()
    page.keyboard.press("Enter")
    field = widget.get_by_role("combobox", name="Target token")
    expect(field).to_be_focused()
    page.keyboard.type("Japan")
    options = options_of(widget)
    expect(options.first).to_have_text("␣Japan")
    screenshot(page, "target-search")
    assert [r["params"]["query"] for r in requests_for(page, "vocabulary")] == ["Japan"]
    second = options.nth(1).inner_text().strip()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(widget.get_by_role("listbox")).to_have_count(0)
    expect(target_of(widget)).to_be_focused()
    assert model_state(page, "target")["text"] == second
    page.keyboard.press("Enter")
    page.keyboard.type("zzz")
    expect(widget).to_contain_text("No token of the vocabulary matches “zzz”.")
    page.keyboard.press("Escape")
    expect(widget.get_by_role("listbox")).to_have_count(0)
    assert model_state(page, "target")["text"] == second


def test_a_search_that_fails_is_a_sentence(open_widget):
    page = open_widget()
    widget = widget_of(page)
    sentence = "This tokenizer cannot be searched."
    page.evaluate("(sentence) => { model.failing.vocabulary = sentence }", sentence)
    target_of(widget).click()
    page.keyboard.type("Japan")
    expect(widget.get_by_role("status").filter(has_text=sentence)).to_be_visible()


def test_a_foil_is_compared_against_and_taken_away_again(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    choose(widget, foil_of(widget), SECOND["text"])
    assert model_state(page, "foil") == {"id": SECOND["id"], "text": SECOND["text"]}
    expect(foil_of(widget)).to_contain_text(SECOND["text"])
    settle(widget)
    legend = widget.locator(".vw-legend").first
    expect(legend).to_contain_text(SECOND["text"])
    screenshot(page, "foil")
    assert overlapping_labels(widget) == []
    foil_of(widget).click()
    page.keyboard.type("Kyoto")
    expect(options_of(widget).first).to_have_text("␣Kyoto")
    page.keyboard.press("Enter")
    assert model_state(page, "foil")["id"] == KYOTO["id"]
    expect(legend).to_contain_text("␣Kyoto")
    choose(widget, foil_of(widget), "no comparison")
    assert model_state(page, "foil") is None
    expect(legend).not_to_contain_text("␣Kyoto")


# Undo and redo.


def test_undo_and_redo_go_through_all_of_it(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    names = ["expanded", "focus", "target", "foil", "measure", "keep", "view", "selection"]

    def traits() -> dict:
        return {name: model_state(page, name) for name in names}

    seen = [traits()]
    steps = [
        lambda: measure_of(widget).select_option("norm"),
        lambda: widget.locator('.vw-chip[data-position="5"]').click(),
        lambda: choose(widget, target_of(widget), "␣Kyoto"),
        lambda: choose(widget, foil_of(widget), "␣Sh"),
        lambda: widget.get_by_role("button", name="Routes", exact=True).click(),
        lambda: widget.get_by_role("button", name="Layers", exact=True).click(),
    ]
    for step in steps:
        step()
        seen.append(traits())
        assert seen[-1] != seen[-2]
    undo = widget.get_by_role("button", name="Undo (u)")
    redo = widget.get_by_role("button", name="Redo (Shift-u)")
    for told in reversed(seen[:-1]):
        undo.click()
        assert traits() == told
    expect(measure_of(widget)).to_have_value("logit")
    expect(widget.locator(".vw-chip.focus")).to_have_attribute("data-position", "7")
    expect(target_of(widget)).to_have_text("␣Tokyo")
    for told in seen[1:]:
        redo.click()
        assert traits() == told
    expect(redo).to_be_disabled()
    page.wait_for_function(
        "model.get('graph').measure === 'norm' && model.get('graph').position === 5"
    )


def test_undo_and_redo_by_keyboard_also_from_one_view_to_the_other(open_widget):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    measure_of(widget).select_option("share")
    layer_area(widget, 2).focus()
    page.keyboard.press("u")
    assert model_state(page, "measure") == "logit"
    page.keyboard.press("Shift+U")
    assert model_state(page, "measure") == "share"
    show_routes(widget)
    show_layers(widget)
    layer_area(widget, 2).focus()
    page.keyboard.press("u")
    assert model_state(page, "view") == "routes"
    settle(widget)
    page.keyboard.press("Shift+U")
    assert model_state(page, "view") == "block"


# The saved page.


def test_a_saved_page_switches_measure_freely(open_widget):
    page = open_widget(mode="standalone")
    widget = widget_of(page)
    open_layer(widget)
    seen = []
    for measure in SIGNED:
        measure_of(widget).select_option(measure)
        settle(widget)
        seen.append(widths(widget))
        expect(node(widget, HEAD)).to_be_visible()
        expect(widget.locator('[data-role="problems"]')).to_be_empty()
        expect(widget.locator(".visit-widget.busy")).to_have_count(0)
    assert all(seen.count(one) == 1 for one in seen)
    assert widget.get_attribute("aria-busy") == "false"
