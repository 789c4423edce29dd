"""Flow graphs that no model gave, of any size, as the data of a saved page."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from visit_widget.flow import Edge, FlowGraph, Keep, Node

from .setting import PROMPT

LABELS = (
    "␣Tokyo", "a", "␣", "⏎⏎", "東京都", "␣Internationalisierung", "\\xe3\\x81", "␣Kapital", "é",
    "||-", "MetaInformation", "\\u00a0", "␣city", "␣of", "␣Kyoto", "ing",
)  # fmt: skip
STOPS = ("pre", "attn", "mid", "mlp", "post")
VOCABULARY = 49_152
REVISION = 1


@dataclass(frozen=True)
class Size:
    """How large a graph is.

    Attributes:
        name: what the report calls it.
        opened: how many of its layers are open, from the last one back.
        layers: how many there are.
        heads, neurons: how many of each an open layer shows.
    """

    name: str
    opened: int
    layers: int = 30
    heads: int = 16
    neurons: int = 16


def saved_graph(size: Size, seed: int = 1) -> dict[str, Any]:
    """What a page saved with these layers open carries, and one closed layer more to open."""
    maker = _Maker(size, random.Random(seed))
    first_open = size.layers - size.opened
    opened = list(range(first_open, size.layers))
    graph = maker.graph()
    traits = {
        "prompt": PROMPT,
        "focus": maker.position,
        "target": {key: graph["target"][key] for key in ("id", "text")},
        "graph": graph,
        "expanded": opened,
        "keep": graph["keep"],
    }
    blocks = {str(layer): maker.block(layer) for layer in [max(0, first_open - 1), *opened]}
    return {"traits": traits, "expand": blocks, "project": {}, "audit": None}


@dataclass
class _Maker:
    size: Size
    random: random.Random
    words: list[str] = field(default_factory=PROMPT.split)

    @property
    def position(self) -> int:
        return len(self.words) - 1

    def token(self) -> dict[str, Any]:
        text = self.random.choice(LABELS)
        return {"id": self.random.randrange(VOCABULARY), "text": text}

    def tokens(self, count: int) -> list[dict[str, Any]]:
        return [self.token() | {"probability": 0.5 ** (n + 1)} for n in range(count)]

    def value(self) -> float:
        size = 10 ** self.random.uniform(-1.5, 0.5)
        return round(self.random.uniform(-0.4, 0.6) * size, 6)

    def node(self, name: str, kind: str, **more: Any) -> Node:
        top = self.tokens(5)
        rank = int(10 ** self.random.uniform(0, 4.6))
        said = {"label": top[0]["text"], "top": top, "bottom": self.tokens(3), "norm": 1.0}
        return Node(name, kind, self.position, **(said | {"target_rank": rank} | more))

    def edge(self, source: str, target: str, kind: str, logit: float | None = None) -> Edge:
        if logit is None:
            return Edge(source, target, kind)
        return Edge(source, target, kind, logit / 5, logit, abs(logit), abs(logit) / 9)

    def graph(self) -> dict[str, Any]:
        """The overview of all layers."""
        nodes, edges = [self.node("embed", "embed")], [self.edge("embed", "L0.pre", "residual", 0)]
        for layer in range(self.size.layers):
            pre, attn, mid, mlp, post = (f"L{layer}.{part}" for part in STOPS)
            kinds = {attn: "attention", mlp: "mlp"}
            for name in (pre, attn, mid, mlp, post):
                writes = {"logit": self.value()} if name in kinds else {}
                kind = kinds.get(name, "residual")
                nodes.append(self.node(name, kind, layer=layer, **writes))
            edges += [
                self.edge(pre, mid, "residual", 0),
                self.edge(attn, mid, "write", self.value()),
                self.edge(mid, post, "residual", 0),
                self.edge(mlp, post, "write", self.value()),
            ]
            after = f"L{layer + 1}.pre" if layer + 1 < self.size.layers else "final"
            edges.append(self.edge(post, after, "residual", 0))
        nodes += [self.node("final", "norm"), self.node("logits", "logits")]
        edges.append(self.edge("final", "logits", "residual", 0))
        likely = [t | {"logit": 20.0 - n, "rank": n + 1} for n, t in enumerate(self.tokens(10))]
        model = {
            "name": "Generated", "type": "generated", "n_layers": self.size.layers,
            "n_heads": self.size.heads, "d_model": 576, "d_mlp": 1536, "n_vocab": VOCABULARY,
        }  # fmt: skip
        tokens = [
            {"position": n, "id": n, "text": f"␣{word}" if n else word}
            for n, word in enumerate(self.words)
        ]
        keep = Keep.visit().to_dict()
        whole = FlowGraph(
            model, PROMPT, tokens, self.position, likely[0], None, "logit", keep, [], likely,
            nodes, edges,
        )  # fmt: skip
        return whole.to_dict() | {"revision": REVISION}

    def block(self, layer: int) -> dict[str, Any]:
        """An open layer, as the answer to a request for it."""
        nodes: list[Node] = []
        edges: list[Edge] = []
        for part in (*self.heads(layer), *self.neurons(layer)):
            if isinstance(part, Node):
                nodes.append(part)
            else:
                edges.append(part)
        parts = {"nodes": [asdict(n) for n in nodes], "edges": [asdict(e) for e in edges]}
        return {"layer": layer, "revision": REVISION, **parts}

    def heads(self, layer: int) -> Iterator[Node | Edge]:
        norm, whole = f"L{layer}.ln1", f"L{layer}.attn"
        yield self.node(norm, "norm", layer=layer, label=None)
        for head in range(self.size.heads):
            name, logit = f"L{layer}.H{head}", self.value()
            of = {"layer": layer, "head": head}
            yield self.node(name, "head", logit=logit, **of)
            yield self.edge(name, whole, "part", logit)
            yield self.node(f"{name}.Q", "query", **of)
            yield self.edge(norm, f"{name}.Q", "read")
            for source in self.random.sample(range(len(self.words)), 2):
                key, value = f"{name}.K{source}", f"{name}.V{source}"
                memory = {**of, "source": source, "weight": self.random.random() / 2}
                adds = logit * self.random.random()
                yield self.node(key, "key", **memory)
                yield self.node(value, "value", logit=adds, **memory)
                yield self.edge(f"{name}.Q", key, "score")
                yield self.edge(key, value, "weight")
                yield self.edge(value, name, "part", adds)
            yield from self.rest(f"{name}.rest", name, "value", 6, head=head, layer=layer)

    def neurons(self, layer: int) -> Iterator[Node | Edge]:
        norm, whole = f"L{layer}.ln2", f"L{layer}.mlp"
        yield self.node(norm, "norm", layer=layer, label=None)
        for neuron in self.random.sample(range(1536), self.size.neurons):
            name, logit = f"L{layer}.N{neuron}", self.value()
            of = {"layer": layer, "neuron": neuron}
            active = self.random.random() * 5
            yield self.node(name, "neuron", logit=logit, activation=active, **of)
            yield self.node(f"{name}.key", "neuron_key", **of)
            yield self.edge(norm, f"{name}.key", "read")
            yield self.edge(f"{name}.key", name, "activation")
            yield self.edge(name, whole, "part", logit)
        left = 1536 - self.size.neurons
        yield from self.rest(f"L{layer}.mlp.rest", whole, "neuron", left, layer=layer)

    def rest(self, name: str, whole: str, of: str, count: int, **where: Any) -> Iterator[Any]:
        yield self.node(name, "rest", label=None, rest={"of": of, "count": count}, **where)
        yield self.edge(name, whole, "part", self.value() / 10)
