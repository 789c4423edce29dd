"""The committed bundle in Chromium, on a model that answers from recorded messages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.labels import overlapping_labels

FIXTURES = Path(__file__).parents[1] / "fixtures"
GRAPH = json.loads((FIXTURES / "graph.json").read_text(encoding="utf-8"))
BLOCK = json.loads((FIXTURES / "expand.json").read_text(encoding="utf-8"))
PROJECT = json.loads((FIXTURES / "project.json").read_text(encoding="utf-8"))["nodes"]

AUDIT = json.loads((FIXTURES / "audit.json").read_text(encoding="utf-8"))

LAYER = BLOCK["layer"]
HEAD = "L23.H4"


@pytest.fixture
def open_widget(new_page, site) -> Callable[..., Page]:
    """Opens the harness in a mode, and waits until every view is drawn."""

    def open_page(mode: str = "kernel", views: int = 1, page_options=None, **options) -> Page:
        page = new_page(**(page_options or {}))
        query = "&".join(f"{k}={v}" for k, v in {"mode": mode, "views": views, **options}.items())
        page.goto(f"{site}/tests/browser/harness.html?{query}")
        page.locator("html[data-ready]").wait_for()
        for view in range(views):
            layer_area(widget_of(page, view), 0).wait_for()
        return page

    return open_page


def widget_of(page: Page, view: int = 0) -> Locator:
    return page.locator(".visit-widget").nth(view)


def layer_area(widget: Locator, layer: int) -> Locator:
    return widget.locator(f'[data-role="layer"][data-layer="{layer}"]')


def node(widget: Locator, node_id: str) -> Locator:
    return widget.locator(f'[data-node="{node_id}"]').first


def panel_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="panel"]')


def open_layer(widget: Locator, layer: int = LAYER) -> None:
    layer_area(widget, layer).click()
    expect(node(widget, f"L{layer}.H4")).to_be_visible()
    settle(widget)


def settle(widget: Locator) -> None:
    """Waits until whatever moves has arrived."""
    widget.evaluate(
        """async (root) => {
            const still = () => JSON.stringify([...root.querySelectorAll('[data-node], text')]
                .map((e) => { const b = e.getBoundingClientRect(); return [b.x | 0, b.y | 0]; }));
            let before = "";
            for (let i = 0; i < 60; i++) {
                const now = still();
                if (now === before) return;
                before = now;
                await new Promise((done) => setTimeout(done, 100));
            }
        }"""
    )


def model_state(page: Page, trait: str):
    return page.evaluate("(trait) => model.get(trait)", trait)


def requests_for(page: Page, method: str) -> list[dict]:
    return page.evaluate(
        "(method) => model.sent.filter((m) => m.kind === 'visit-request' && m.method === method)",
        method,
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


# Layers that do not attend, or have no MLP.


def hybrid(graph: dict, opaque: set[int], mlp_only: set[int], attention_only: set[int]) -> dict:
    """The recorded graph as if some of its layers were of other kinds."""
    nodes, edges = [], []
    gone = {f"L{layer}.attn" for layer in mlp_only} | {f"L{layer}.mlp" for layer in attention_only}
    gone |= {f"L{layer}.mid" for layer in mlp_only | attention_only}

    def renamed(node_id: str) -> str:
        layer, _, part = node_id.partition(".")
        if part == "attn" and int(layer[1:]) in opaque:
            return f"{layer}.mix"
        return node_id.replace(".mid", ".post") if node_id in gone else node_id

    for each in graph["nodes"]:
        name = renamed(each["id"])
        if each["id"] not in gone:
            kind = "opaque" if name.endswith(".mix") else each["kind"]
            nodes.append({**each, "id": name, "kind": kind})
    for each in graph["edges"]:
        source, target = renamed(each["source"]), renamed(each["target"])
        if each["source"] not in gone and source != target:
            edges.append({**each, "source": source, "target": target})
    return {**graph, "nodes": nodes, "edges": edges}


def without(block: dict, parts: re.Pattern[str]) -> dict:
    nodes = [each for each in block["nodes"] if not parts.match(each["id"])]
    ends = ("source", "target")
    edges = [e for e in block["edges"] if not any(parts.match(e[end]) for end in ends)]
    return {**block, "nodes": nodes, "edges": edges}


OTHER_KINDS = {
    "opaque": {"opaque": {*range(30)} - {3, 7, 11, 15, 19, 27}},
    "mlp-only": {"mlp_only": {LAYER}},
    "attention-only": {"attention_only": {LAYER}},
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_layers_of_other_kinds_are_drawn_and_open(open_widget, screenshot, kind, theme):
    layers = {"opaque": set(), "mlp_only": set(), "attention_only": set()} | OTHER_KINDS[kind]
    graph = hybrid(GRAPH, **layers) | {"revision": GRAPH["revision"] + 1}
    attends = re.compile(rf"L{LAYER}\.(H|O|attn|ln1)")
    writes_neurons = re.compile(rf"L{LAYER}\.(N|mlp|ln2)")
    block = without(BLOCK, writes_neurons if kind == "attention-only" else attends)
    page = open_widget(theme=theme)
    widget = widget_of(page)
    page.evaluate(
        "([graph, layer, block]) => { model.blocks[layer] = block; model.set('graph', graph) }",
        [graph, LAYER, block],
    )
    settle(widget)
    screenshot(page, f"{kind}-closed-{theme}")
    assert overlapping_labels(widget) == []
    layer_area(widget, LAYER).click()
    expect(widget.locator('[data-role="close-layer"]')).to_be_visible()
    settle(widget)
    if kind == "opaque":
        part = node(widget, f"L{LAYER}.mix")
        expect(widget).to_contain_text("a layer that does not attend, shown as one part")
        part.hover()
        expect(widget.locator('[role="tooltip"]')).to_contain_text("opaque part")
        part.click()
        expect(panel_of(widget)).to_contain_text(f"Layer {LAYER} · opaque part")
        page.mouse.move(2, 2)
    else:
        expect(widget).to_contain_text(f"no {'attention' if kind == 'mlp-only' else 'MLP'} in this")
    settle(widget)
    screenshot(page, f"{kind}-open-{theme}")
    assert overlapping_labels(widget) == []


def test_a_neuron_of_an_expert_says_so(open_widget):
    page = open_widget()
    widget = widget_of(page)
    block = {**BLOCK, "nodes": [{**n, "expert": 2} if n["neuron"] else n for n in BLOCK["nodes"]]}
    page.evaluate("([layer, block]) => { model.blocks[layer] = block }", [LAYER, block])
    open_layer(widget)
    neuron = next(n for n in block["nodes"] if n["kind"] == "neuron")
    node(widget, neuron["id"]).hover()
    tooltip = widget.locator('[role="tooltip"]')
    expect(tooltip).to_contain_text(f"neuron {neuron['neuron']} of expert 2")


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


# The audit.


def mark_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="exact"]')


def audit_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="audit"]')


def open_audit(widget: Locator) -> None:
    settle(widget)
    mark_of(widget).click()
    expect(audit_of(widget).locator("tbody tr")).to_have_count(len(AUDIT["rows"]))


BAD_AUDIT = {
    **AUDIT,
    "rows": [
        {**row, "error": {1: 3.4e-2, 4: None, 6: 2.0e-3}.get(at, row["error"])}
        for at, row in enumerate(AUDIT["rows"])
    ],
    "exact": False,
    "max_error": 3.4e-2,
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [480, 700, 1280])
def test_the_mark_opens_a_table_of_errors(open_widget, screenshot, width, theme):
    page = open_widget(theme=theme, page_options={"viewport": {"width": width, "height": 900}})
    widget = widget_of(page)
    open_audit(widget)
    shown = audit_of(widget)
    for row in AUDIT["rows"]:
        expect(shown).to_contain_text(row["identity"])
    expect(shown).to_contain_text("Exact to rounding")
    expect(shown.locator("tbody td").first).to_have_text(re.compile(r"^\d\.\d × 10⁻[⁰¹²³⁴⁵⁶⁷⁸⁹]+$"))
    screenshot(page, f"audit-{width}-{theme}")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert shown.evaluate("(e) => e.scrollWidth - e.clientWidth") <= 0
    assert overlapping_labels(shown) == []
    assert len(requests_for(page, "audit")) == 1


def test_bars_are_as_long_as_errors_are_large(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_audit(widget)
    widths = (
        audit_of(widget)
        .locator(".vw-audit-bar")
        .evaluate_all("(bars) => bars.map((bar) => bar.getBoundingClientRect().width)")
    )
    errors = [row["error"] for row in AUDIT["rows"]]
    assert sorted(range(len(errors)), key=lambda at: errors[at]) == sorted(
        range(len(widths)), key=lambda at: widths[at]
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_audit_that_fails_is_seen_without_colour(open_widget, screenshot, theme):
    page = open_widget(theme=theme)
    widget = widget_of(page)
    page.evaluate("(audit) => { model.audit = audit }", BAD_AUDIT)
    open_audit(widget)
    shown = audit_of(widget)
    expect(shown).to_contain_text("Not exact: 2 of 9 identities are off")
    expect(shown.locator("tr.over .vw-icon")).to_have_count(2)
    expect(shown).to_contain_text("not asked")
    expect(mark_of(widget)).to_contain_text("off by 3e−2")
    screenshot(page, f"audit-off-{theme}")
    assert overlapping_labels(shown) == []


def test_the_audit_by_keyboard_alone(open_widget):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    widget.get_by_role("button", name="What is kept").focus()
    page.keyboard.press("Tab")
    expect(mark_of(widget)).to_be_focused()
    page.keyboard.press("Enter")
    expect(audit_of(widget)).to_be_focused()
    expect(audit_of(widget).locator("tbody tr")).to_have_count(len(AUDIT["rows"]))
    for _ in range(7):
        page.keyboard.press("Tab")
        assert audit_of(widget).evaluate("(e) => e.contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(audit_of(widget)).to_have_count(0)
    expect(mark_of(widget)).to_be_focused()
    page.keyboard.press("Enter")
    expect(audit_of(widget).locator("tbody tr")).to_have_count(len(AUDIT["rows"]))
    assert len(requests_for(page, "audit")) == 1, "kept"


def test_an_audit_under_way_says_so_and_is_called_off_by_closing(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    page.evaluate("model.silent.add('audit')")
    mark_of(widget).click()
    expect(audit_of(widget)).to_contain_text("two fresh passes")
    screenshot(page, "audit-waiting")
    page.keyboard.press("Escape")
    (request,) = requests_for(page, "audit")
    assert page.evaluate("model.sent.at(-1)") == {"kind": "visit-cancel", "id": request["id"]}


def test_an_audit_that_cannot_be_made_is_a_sentence_and_can_be_tried_again(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    sentence = "The kernel could not do this (OutOfMemoryError: the GPU is full)."
    page.evaluate("(sentence) => { model.failing.audit = sentence }", sentence)
    mark_of(widget).click()
    expect(audit_of(widget)).to_contain_text(sentence)
    screenshot(page, "audit-error")
    page.evaluate("delete model.failing.audit")
    audit_of(widget).get_by_text("try again").click()
    expect(audit_of(widget).locator("tbody tr")).to_have_count(len(AUDIT["rows"]))


def test_an_audit_of_a_kernel_that_is_gone_says_so(open_widget):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    page.evaluate("model.gone = true")
    mark_of(widget).click()
    expect(audit_of(widget)).to_contain_text("The kernel cannot be reached")
    open_again = widget.locator('[data-role="measure"]')
    open_again.focus()
    expect(audit_of(widget)).to_have_count(0)


def test_two_views_share_an_audit(open_widget):
    page = open_widget(views=2, page_options={"viewport": {"width": 1280, "height": 1800}})
    first, second = widget_of(page, 0), widget_of(page, 1)
    open_audit(first)
    assert mark_of(first).inner_text() == mark_of(second).inner_text()
    open_audit(second)
    assert len(requests_for(page, "audit")) == 1


def test_the_audit_is_copied_as_text(open_widget):
    page = open_widget()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    widget = widget_of(page)
    open_audit(widget)
    audit_of(widget).get_by_text("copy as Markdown").click()
    expect(audit_of(widget)).to_contain_text("copied")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("| identity | largest relative error |")
    assert all(row["identity"] in text for row in AUDIT["rows"])


# The saved page.


def test_a_saved_page_shows_the_audit_that_it_carries(open_widget):
    page = open_widget(mode="standalone")
    open_audit(widget_of(page))
    expect(audit_of(widget_of(page))).to_contain_text("Exact to rounding")


def test_a_saved_page_without_an_audit_says_how_to_get_one(open_widget, screenshot):
    page = open_widget(mode="standalone", include="nothing")
    widget = widget_of(page)
    settle(widget)
    mark_of(widget).click()
    expect(audit_of(widget)).to_contain_text("save_html(path, audit=True)")
    screenshot(page, "audit-not-saved")


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
