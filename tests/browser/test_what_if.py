"""What if: effects, interventions, what was before, and the map of effects."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.axe import violations
from tests.browser.labels import overlapping_labels
from tests.browser.steps import (
    BLOCK,
    GRAPH,
    HEAD,
    LAYER,
    layer_area,
    measure_of,
    model_state,
    node,
    open_layer,
    panel_of,
    requests_for,
    set_model,
    settle,
    sticks_out,
    widget_of,
)

N_LAYERS, N_HEADS = GRAPH["model"]["n_layers"], GRAPH["model"]["n_heads"]
OUT = {"id": HEAD, "action": "zero", "positions": "focus"}
THEMES = ["light", "dark"]


def foretold(said: dict) -> dict:
    """The same with effects: nine tenths of the logits."""
    return {
        **said,
        **{
            kind: [
                {**each, "effect": None if each["logit"] is None else 0.9 * each["logit"]}
                for each in said[kind]
            ]
            for kind in ("nodes", "edges")
        },
    }


MEASURED = {
    each["id"]: {"predicted": 0.9 * each["logit"], "measured": each["logit"]}
    for each in BLOCK["nodes"]
    if each["kind"] in ("head", "value", "neuron") and each["logit"] is not None
}
EFFECTS = {"nodes": MEASURED, "rho": 0.968, "found": 9, "of": 10}


def a_map(columns: list[str]) -> dict:
    """Effects that grow with the layer and change their sign from column to column."""
    values = [
        [(-1) ** c * (layer + 1) / 10 for c in range(len(columns))] for layer in range(N_LAYERS)
    ]
    return {
        "over": "heads",
        "layers": list(range(N_LAYERS)),
        "columns": columns,
        "ids": [[f"L{layer}.{name}" for name in columns] for layer in range(N_LAYERS)],
        "predicted": [[value / 2 for value in row] for row in values],
        "measured": values,
    }


MAP = a_map([f"H{head}" for head in range(N_HEADS)])

# A rerun says another token, and had the target before.
REVISED = """(graph) => {
    if (graph.measure === "effect") graph = { ...graph, ...model.effectful };
    if (!graph.interventions?.length) return { ...graph, before: null };
    const stream = ({ label, target_rank, target_probability }) =>
        ({ label, target_rank, target_probability });
    const is = ({ kind }) => kind === "residual";
    const streams = graph.nodes.filter(is).map((node) => [node.id, stream(node)]);
    const late = (node) => is(node) && node.layer > 20;
    return {
        ...graph,
        target: { ...graph.target, probability: 0.12, rank: 4 },
        before: { target: graph.target, foil: null, prediction: graph.prediction,
                  streams: Object.fromEntries(streams) },
        prediction: graph.prediction.map((token, at) =>
            ({ ...token, probability: 0.2 / (at + 1) })),
        nodes: graph.nodes.map((node) =>
            late(node) ? { ...node, label: "␣Osaka", target_rank: 40 } : node),
    };
}"""


@pytest.fixture
def what_if(open_widget):
    def open_it(**options) -> tuple[Page, Locator]:
        page = open_widget(**options)
        page.evaluate(
            f"""([effectful, block, effects, map]) => {{
                model.effectful = effectful;
                model.revised = {REVISED};
                model.effectBlock = block;
                Object.assign(model.replies, {{ effects, effects_map: map }});
            }}""",
            [
                {kind: foretold(GRAPH)[kind] for kind in ("nodes", "edges")},
                foretold(BLOCK),
                EFFECTS,
                MAP,
            ],
        )
        widget = widget_of(page)
        settle(widget)
        return page, widget

    return open_it


def part(widget: Locator, role: str) -> Locator:
    return widget.locator(f'[data-role="{role}"]')


def bar_of(widget: Locator) -> Locator:
    return part(widget, "interventions")


def select_head(widget: Locator) -> None:
    open_layer(widget)
    node(widget, HEAD).click()
    expect(part(widget, "knock-out")).to_be_visible()


def follow_effects(page: Page, widget: Locator) -> None:
    """As a kernel does that has drawn effects: blocks carry them from then on."""
    page.evaluate(
        """() => {
            model.blocks = { [model.effectBlock.layer]: model.effectBlock };
            for (const node of model.effectBlock.nodes) {
                const detail = model.details[node.id];
                if (detail) model.details[node.id] = { ...detail, effect: node.effect };
            }
        }"""
    )
    measure_of(widget).select_option("effect")
    page.wait_for_function("model.get('graph').measure === 'effect'")
    settle(widget)


# Effects.


def test_effects_are_followed_once_a_graph_has_them(what_if, screenshot):
    page, widget = what_if()
    page.evaluate("model.silent.add('graph')")
    widths = "(e) => e.getAttribute('d')"
    ribbon = widget.locator(f'path.vw-ribbon[data-source="L{LAYER}.mlp"]').first
    before = ribbon.evaluate(widths)
    measure_of(widget).select_option("effect")
    page.wait_for_timeout(300)
    assert ribbon.evaluate(widths) == before, "nothing is drawn that is not known"
    page.evaluate("model.silent.delete('graph')")
    measure_of(widget).select_option("logit")
    follow_effects(page, widget)
    expect(widget.locator(".vw-legend").first).to_contain_text("without it, less")
    node(widget, f"L{LAYER}.mlp").hover()
    expect(widget.locator(".vw-tooltip")).to_contain_text("effect foretold")
    screenshot(page, "effects-closed")


def test_a_saved_page_without_effects_does_not_offer_them(open_widget):
    page = open_widget(mode="standalone")
    widget = widget_of(page)
    expect(measure_of(widget).locator("option[value=effect]")).to_be_disabled()
    expect(part(widget, "open-map")).to_be_hidden()
    open_layer(widget)
    node(widget, HEAD).click()
    expect(panel_of(widget)).to_be_visible()
    expect(part(widget, "what-if")).to_have_count(0)


def test_an_open_layer_is_measured_once(what_if, screenshot):
    page, widget = what_if()
    follow_effects(page, widget)
    open_layer(widget)
    heading = widget.locator(".vw-headings")
    expect(heading).to_contain_text("ρ 0.97 · 9 of the 10 strongest foretold")
    brackets = widget.locator("g.vw-node path.vw-measured")
    drawn = [each for each in MEASURED if node(widget, each).count()]
    expect(brackets).to_have_count(len(drawn))
    assert widget.locator("g.vw-node path.vw-measured.negative").count() > 0
    node(widget, HEAD).click()
    head = MEASURED[HEAD]
    told = f"foretold +{head['predicted']:.2f}, measured +{head['measured']:.2f}"
    expect(panel_of(widget)).to_contain_text(told)
    assert f"measured +{head['measured']:.2f}" in node(widget, HEAD).get_attribute("aria-label")
    settle(widget)
    screenshot(page, "effects-open")
    layer_area(widget, LAYER).click()
    open_layer(widget)
    page.wait_for_timeout(600)
    asked = [each["params"] for each in requests_for(page, "effects")]
    assert asked == [{"layer": LAYER, "revision": 2}]


def test_measuring_is_called_off_with_its_layer(what_if):
    page, widget = what_if()
    page.evaluate("model.silent.add('effects')")
    follow_effects(page, widget)
    open_layer(widget)
    expect(widget.locator(".vw-headings")).to_contain_text("measuring effects…")
    [asked] = requests_for(page, "effects")
    layer_area(widget, LAYER).click()
    page.wait_for_function(
        "(id) => model.sent.some((m) => m.kind === 'visit-cancel' && m.id === id)", arg=asked["id"]
    )


def test_what_cannot_be_measured_is_said_quietly(what_if):
    page, widget = what_if()
    page.evaluate("model.failing.effects = 'There is no room for that.'")
    follow_effects(page, widget)
    open_layer(widget)
    expect(widget.locator(".vw-headings")).to_contain_text("effects not measured: There is no room")
    expect(widget.get_by_role("alert")).to_have_count(0)


# Interventions.


def test_a_head_is_knocked_out_and_comes_back(what_if, screenshot):
    page, widget = what_if()
    expect(bar_of(widget)).to_be_hidden()
    select_head(widget)
    part(widget, "knock-out").click()
    assert model_state(page, "interventions") == [OUT]
    expect(bar_of(widget)).to_contain_text("L23 · head 4 knocked out at ␣of")
    expect(part(widget, "outcome")).to_have_text("␣Tokyo was 85.4%, rank 1; now 12.0%, rank 4")
    assert "edited out" in node(widget, HEAD).get_attribute("class")
    assert node(widget, HEAD).get_attribute("aria-label").endswith(", knocked out")
    expect(part(widget, "knock-out")).to_have_attribute("aria-pressed", "true")
    settle(widget)
    screenshot(page, "knocked-out")
    widget.get_by_role("button", name="Undo").click()
    assert model_state(page, "interventions") == []
    expect(bar_of(widget)).to_be_hidden()
    page.wait_for_function("!model.get('graph').interventions?.length")
    expect(widget.locator(".vw-node.edited")).to_have_count(0)
    widget.get_by_role("button", name="Redo").click()
    assert model_state(page, "interventions") == [OUT]
    bar_of(widget).get_by_role("button", name="Take back: L23 · head 4 knocked out").click()
    assert model_state(page, "interventions") == []


def test_factors_and_places(what_if):
    page, widget = what_if()
    select_head(widget)
    part(widget, "edit-where").select_option("all")
    part(widget, "halve").click()
    everywhere = {"id": HEAD, "action": 0.5, "positions": "all"}
    assert model_state(page, "interventions") == [everywhere]
    expect(bar_of(widget)).to_contain_text("head 4 halved everywhere")
    part(widget, "edit-factor").fill("-1.5")
    part(widget, "edit-factor").press("Enter")
    assert model_state(page, "interventions") == [{**everywhere, "action": -1.5}]
    part(widget, "edit-where").select_option("focus")
    assert model_state(page, "interventions") == [{**OUT, "action": -1.5}]
    node(widget, f"L{LAYER}.mlp").click()
    part(widget, "knock-out").click()
    assert [each["id"] for each in model_state(page, "interventions")] == [HEAD, f"L{LAYER}.mlp"]
    part(widget, "take-back").click()
    assert [each["id"] for each in model_state(page, "interventions")] == [HEAD]
    part(widget, "remove-all").click()
    assert model_state(page, "interventions") == []


def test_a_part_is_patched_from_another_prompt(what_if, screenshot):
    page, widget = what_if()
    select_head(widget)
    part(widget, "patch").click()
    field = part(widget, "patch-prompt")
    assert field.input_value() == GRAPH["prompt"], "a prompt to change, all of it selected"
    expect(field).to_be_focused()
    settle(widget)
    screenshot(page, "patch-prompt")
    assert violations(page) == []
    page.keyboard.type("The capital of France is the city of")
    page.keyboard.press("Enter")
    france = {**OUT, "action": "patch", "prompt": "The capital of France is the city of"}
    assert model_state(page, "interventions") == [france]
    words = "head 4 patched from “… of France is the city of” at ␣of"
    expect(bar_of(widget)).to_contain_text(words)
    expect(part(widget, "patch")).to_have_attribute("aria-pressed", "true")
    part(widget, "edit-where").select_option("all")
    assert model_state(page, "interventions") == [{**france, "positions": "all"}]
    part(widget, "patch").click()
    assert field.input_value() == france["prompt"]
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    part(widget, "knock-out").click()
    assert model_state(page, "interventions") == [{**OUT, "positions": "all"}]


def test_what_only_python_makes_is_shown_and_can_be_taken_back(what_if):
    page, widget = what_if()
    patch = {"id": "L5.post", "action": "patch", "label": "patch 0", "positions": "focus"}
    set_model(page, interventions=[patch, OUT])
    expect(bar_of(widget)).to_contain_text("L5 · the stream after it patch 0 at ␣of")
    bar_of(widget).get_by_role("button", name="Take back: L23").click()
    assert model_state(page, "interventions") == [patch]


def test_what_the_kernel_cannot_do_is_put_back(what_if):
    page, widget = what_if()
    select_head(widget)
    page.evaluate("model.silent.add('graph')")
    part(widget, "halve").click()
    status = {**model_state(page, "status"), "state": "error", "message": "That cannot be halved."}
    set_model(page, interventions=[], status=status)
    expect(bar_of(widget)).to_be_hidden()
    expect(widget).to_contain_text("That cannot be halved.")
    expect(part(widget, "halve")).to_have_attribute("aria-pressed", "false")


def test_interventions_by_keyboard_alone(what_if):
    page, widget = what_if()
    open_layer(widget)
    node(widget, HEAD).focus()
    page.keyboard.press("Enter")
    expect(part(widget, "knock-out")).to_be_visible()
    page.keyboard.press("Tab")
    for _ in range(20):
        if part(widget, "knock-out").evaluate("(e) => e === document.activeElement"):
            break
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert model_state(page, "interventions") == [OUT]
    page.wait_for_function("model.get('graph').revision === 2")
    settle(widget)
    expect(part(widget, "knock-out")).to_be_focused()
    for key in ("ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(part(widget, "edit-factor")).to_be_focused()
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    assert model_state(page, "interventions") == [{**OUT, "action": 3}]
    part(widget, "take-back-0").focus()
    page.keyboard.press("Enter")
    assert model_state(page, "interventions") == []
    assert widget.evaluate("(e) => e.contains(document.activeElement)")


@pytest.mark.parametrize("theme", THEMES)
def test_before_and_after(what_if, screenshot, theme):
    page, widget = what_if(theme=theme, page_options={"viewport": {"width": 1440, "height": 900}})
    set_model(page, interventions=[OUT, {"id": "L20.mlp", "action": 0.5, "positions": "all"}])
    expect(part(widget, "outcome")).to_contain_text("was 85.4%")
    settle(widget)
    first = widget.locator("g.vw-token-row").first
    expect(first.locator("text.was")).to_have_text("85%")
    expect(first.locator("text.number")).to_have_text("20%")
    bars = first.locator("rect").evaluate_all("(all) => all.map((e) => +e.getAttribute('width'))")
    assert bars[2] > 3 * bars[1]
    assert "20% 85% probable now, and before" in first.get_attribute("aria-label")
    expect(widget.locator("path.vw-rank-before")).to_have_count(1)
    struck = widget.locator(".vw-river-text text.was")
    assert struck.count() > 0
    assert "line-through" in struck.first.evaluate("(e) => getComputedStyle(e).textDecorationLine")
    screenshot(page, f"before-and-after-{theme}")
    assert violations(page) == []
    open_layer(widget)
    set_model(page, selection=["L22.post"])
    expect(panel_of(widget)).to_contain_text("was ")
    settle(widget)
    screenshot(page, f"before-and-after-open-{theme}")
    assert violations(page) == []
    assert overlapping_labels(widget) == []


@pytest.mark.parametrize("width", [480, 760, 1280])
def test_the_bar_fits(what_if, screenshot, width):
    page, widget = what_if(page_options={"viewport": {"width": width, "height": 900}})
    many = [{**OUT, "id": f"L{layer}.H{layer % N_HEADS}.V3"} for layer in range(9)]
    set_model(page, interventions=many)
    expect(bar_of(widget).locator(".vw-edit")).to_have_count(len(many))
    settle(widget)
    screenshot(page, f"bar-{width}")
    assert sticks_out(page) <= 0
    assert overlapping_labels(bar_of(widget)) == []


# The map.


def open_map(widget: Locator) -> Locator:
    part(widget, "open-map").click()
    found = part(widget, "map")
    expect(found.locator("td[data-id]")).to_have_count(N_LAYERS * N_HEADS)
    return found


@pytest.mark.parametrize("theme", THEMES)
def test_the_map_shows_every_head(what_if, screenshot, theme):
    page, widget = what_if(theme=theme, page_options={"viewport": {"width": 1440, "height": 900}})
    found = open_map(widget)
    last = N_LAYERS - 1
    expect(found).to_contain_text(f"L{last} · head 0: foretold +1.50, measured +3.00")
    assert found.locator("td.negative").count() == N_LAYERS * (N_HEADS // 2)
    screenshot(page, f"map-{theme}")
    assert violations(page) == []
    assert sticks_out(page) <= 0
    found.get_by_role("button", name="foretold").click()
    expect(found.get_by_role("button", name="foretold")).to_be_focused()
    page.evaluate("(map) => { model.replies.effects_map = map; }", a_map(["attn", "mlp"]))
    found.get_by_role("button", name="sublayers").click()
    expect(found.locator("td[data-id]")).to_have_count(2 * N_LAYERS)
    asked = [each["params"]["over"] for each in requests_for(page, "effects_map")]
    assert asked == ["heads", "sublayers"]


def test_the_map_of_streams_goes_to_a_token(what_if, screenshot):
    page, widget = what_if()
    open_map(widget)
    position = GRAPH["position"]
    streams = a_map([f"P{p}.post" for p in range(position + 1)])
    names = [f"P{p}" for p in range(position + 1)]
    ids = [[f"P{p}.L{n}.post" for p in range(position + 1)] for n in range(N_LAYERS)]
    page.evaluate(
        "(map) => { model.replies.effects_map = map; }",
        {**streams, "over": "streams", "columns": names, "ids": ids},
    )
    found = part(widget, "map")
    found.get_by_role("button", name="streams").click()
    cell = found.locator('td[data-id="P3.L23.post"]')
    cell.hover()
    expect(found).to_contain_text("L23 · the stream after it at ␣Japan: foretold")
    rows = found.locator("th[scope=row]").all_text_contents()
    assert rows == [t["text"] for t in GRAPH["tokens"][: position + 1]]
    screenshot(page, "map-streams")
    assert violations(page) == []
    cell.click()
    assert model_state(page, "focus") == 3
    assert model_state(page, "selection") == ["L23.post"]
    assert model_state(page, "expanded") == [LAYER]


# Why a head looks there.

WHY = {
    "head": HEAD,
    "position": GRAPH["position"],
    "source": 3,
    "score": 5.4,
    "weight": 0.92,
    "query": [{"id": "L19.H1", "sum": 3.4}, {"id": None, "sum": 2.0, "count": 61}],
    "key": [
        {"id": "embed", "sum": 5.0},
        {"id": "L0.mlp", "sum": 0.9},
        {"id": None, "sum": -0.5, "count": 9},
    ],
    "matrix": [[3.0, 0.7, -0.3], [2.0, 0.2, -0.2]],
}


@pytest.mark.parametrize(
    ("theme", "width", "height"), [("light", 1440, 900), ("dark", 1032, 720), ("light", 480, 800)]
)
def test_why_a_head_looks_there(what_if, screenshot, theme, width, height):
    page, widget = what_if(
        theme=theme, page_options={"viewport": {"width": width, "height": height}}
    )
    page.evaluate("(why) => { model.replies.score_parts = why; }", WHY)
    select_head(widget)
    panel_of(widget).locator('button.vw-read[data-source="0"]').click()
    window = part(widget, "why-window")
    expect(window).to_contain_text("Why L23 · head 4 looks at The")
    page.keyboard.press("Escape")
    expect(window).to_have_count(0)
    part(widget, "why").click()
    expect(window).to_contain_text("Why L23 · head 4 looks at ␣Japan")
    expect(window).to_contain_text("score +5.40 · 92.0% of its attention")
    asked = [each["params"] for each in requests_for(page, "score_parts")]
    assert asked == [{"head": HEAD, "source": source, "revision": 1} for source in (0, 3)]
    table = window.locator("table")
    told = table.locator("tr").evaluate_all("(all) => all.map((row) => row.innerText.split('\\t'))")
    assert told[0][1:] == ["embed", "L0 MLP", "9 more", "all"]
    assert told[1] == ["L19 H1", "+3.00", "+0.70", "−0.30", "+3.40"]
    assert told[-1] == ["all", "+5.00", "+0.90", "−0.50", "+5.40"]
    settle(widget)
    screenshot(page, f"why-{theme}-{width}")
    assert violations(page) == []
    box, frame = window.bounding_box(), widget.bounding_box()
    assert box["x"] >= frame["x"]
    assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
    window.get_by_role("button", name="L19 H1").click()
    expect(window).to_have_count(0)
    assert model_state(page, "selection") == ["L19.H1"]
    assert model_state(page, "focus") == GRAPH["position"]


def test_what_a_key_read_is_where_it_was_left(what_if):
    page, widget = what_if()
    page.evaluate("(why) => { model.replies.score_parts = why; }", WHY)
    select_head(widget)
    part(widget, "why").click()
    part(widget, "why-window").get_by_role("button", name="L0 MLP").click()
    assert model_state(page, "focus") == 3
    assert model_state(page, "selection") == ["L0.mlp"]


def test_why_that_cannot_be_said_says_so(what_if):
    page, widget = what_if()
    page.evaluate("model.failing.score_parts = 'Its keys are not split.'")
    select_head(widget)
    part(widget, "why").click()
    expect(part(widget, "why-window")).to_contain_text("Its keys are not split.")


def test_the_map_by_keyboard(what_if):
    page, widget = what_if()
    found = open_map(widget)
    found.locator("td[tabindex='0']").focus()
    last = N_LAYERS - 1
    here = "document.activeElement.dataset.id"
    walk = [
        ("ArrowDown", f"L{last}.H1"),
        ("ArrowLeft", f"L{last - 1}.H1"),
        ("Home", "L0.H1"),
        ("ArrowLeft", "L0.H1"),
        ("End", f"L{last}.H1"),
        ("ArrowUp", f"L{last}.H0"),
        ("ArrowUp", f"L{last}.H0"),
        ("Home", "L0.H0"),
    ]
    for key, wanted in walk:
        page.keyboard.press(key)
        assert page.evaluate(here) == wanted, key
    page.keyboard.press("Escape")
    expect(found).to_have_count(0)
    expect(part(widget, "open-map")).to_be_focused()
    page.keyboard.press("Enter")
    cell = part(widget, "map").locator(f'td[data-id="{HEAD}"]')
    cell.focus()
    page.keyboard.press("Enter")
    expect(part(widget, "map")).to_have_count(0)
    assert model_state(page, "selection") == [HEAD]
    assert model_state(page, "expanded") == [LAYER]


def test_a_map_that_is_closed_is_called_off_and_a_failing_one_says_why(what_if):
    page, widget = what_if()
    page.evaluate("model.silent.add('effects_map')")
    part(widget, "open-map").click()
    expect(part(widget, "map")).to_contain_text("Measuring every part…")
    [asked] = requests_for(page, "effects_map")
    page.keyboard.press("Escape")
    page.wait_for_function(
        "(id) => model.sent.some((m) => m.kind === 'visit-cancel' && m.id === id)", arg=asked["id"]
    )
    page.evaluate("model.silent.clear(); model.failing.effects_map = 'The model is gone.'")
    part(widget, "open-map").click()
    expect(part(widget, "map")).to_contain_text("The model is gone.")


@pytest.mark.parametrize("theme", THEMES)
def test_nothing_is_wrong_with_measured_effects(what_if, theme):
    page, widget = what_if(theme=theme)
    follow_effects(page, widget)
    select_head(widget)
    expect(widget.locator(".vw-headings")).to_contain_text("ρ 0.97")
    settle(widget)
    assert violations(page) == []
    assert overlapping_labels(widget) == []
