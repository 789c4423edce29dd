"""Graphs that tests make of the recorded ones."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import Page

from tests.browser.steps import GRAPH, LAYER

SCRIPTS = ["שלום", "␣مرحبا!", "日本", "👩‍🔬", "\\xe6", "⏎", "10␣שלום", "e\u0301"]


def renamed(block: dict, layer: int) -> dict:
    """A block as if it were another layer's."""
    moved = json.loads(re.sub(rf"\bL{LAYER}\b", f"L{layer}", json.dumps(block)))
    nodes = [{**each, "layer": layer} for each in moved["nodes"]]
    return {**moved, "layer": layer, "nodes": nodes}


def in_scripts(said: Any, scripts: list[str] = SCRIPTS) -> Any:
    """A graph, or a reply, as if the prompt's tokens were written in these ways."""
    text = json.dumps(said, ensure_ascii=False)
    for at, token in enumerate(GRAPH["tokens"]):
        new = json.dumps(scripts[at % len(scripts)])
        text = text.replace(json.dumps(token["text"], ensure_ascii=False), new)
    return json.loads(text)


def deep(graph: dict, n_layers: int) -> dict:
    """The graph with more layers, which are the first ones again."""
    had = graph["model"]["n_layers"]

    def at(node_id: str, moved: int) -> str:
        return re.sub(r"^L(\d+)", lambda m: f"L{int(m[1]) + moved}", node_id)

    nodes = [each for each in graph["nodes"] if each["layer"] is not None]
    rest = [each for each in graph["nodes"] if each["layer"] is None]
    edges = []
    for edge in graph["edges"]:
        ends = (edge["source"], edge["target"])
        last = any(end in ("norm", "logits") for end in ends)
        moved = n_layers - had if last else 0
        edges.append({**edge, "source": at(ends[0], moved), "target": at(ends[1], moved)})
    for layer in range(had, n_layers):
        model = 1 + (layer - had) % (had - 1)
        moved = layer - model
        nodes += [
            {**each, "id": at(each["id"], moved), "layer": layer}
            for each in graph["nodes"]
            if each["layer"] == model
        ]
        edges += [
            {
                **edge,
                "source": at(edge["source"], moved),
                "target": at(edge["target"], moved),
            }
            for edge in graph["edges"]
            if edge["target"].startswith(f"L{model}.")
        ]
    model = {**graph["model"], "n_layers": n_layers}
    return {**graph, "model": model, "nodes": rest + nodes, "edges": edges}


def give(page: Page, graph: dict | None = None, blocks: dict[int, dict] | None = None) -> None:
    page.evaluate("(blocks) => Object.assign(model.blocks, blocks)", blocks or {})
    if graph:
        page.evaluate(
            "(graph) => model.set('graph', graph)",
            {**graph, "revision": GRAPH["revision"] + 1},
        )
