"""Layers that do not attend, or have no MLP; experts."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.labels import overlapping_labels
from tests.browser.steps import (
    BLOCK,
    GRAPH,
    LAYER,
    layer_area,
    node,
    open_layer,
    panel_of,
    settle,
    widget_of,
)


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
