"""Two passes as one graph: both values of every node and edge, and their difference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ..flow import FlowGraph, Keep
from ..flow.elements import MEASURES
from ..flow.reading import kinds_of
from ..lens import Lens
from ..model import VisitError
from ..trace import Trace
from ..trace.target import Followed, TargetLike
from .alignment import Alignment
from .changed import Changed, changed
from .pair import Foci, Pair, PairPainter
from .paired import EdgePair, NodePair, Values, paired_edges, paired_nodes
from .tables import to_pandas

if TYPE_CHECKING:
    import pandas as pd

    from ..what_if.actions import Action

VERSION = 1


def compare(
    a: Trace,
    b: Trace,
    position: Foci = -1,
    target: TargetLike | Followed | None = None,
    foil: TargetLike | Followed | None = None,
    layers: Sequence[int] = (),
    keep: Keep | dict[str, Any] | None = None,
    measure: str = "logit",
    lens: Lens | str | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> Comparison:
    """Compare two traced passes: of two prompts, or of two models, part by part.

    Args:
        a: a trace.
        b: another, of the same model, or of one of the same make with the same tokenizer.
        position: whose predictions are compared: a position of a, and of b its partner's; the last
            of each by default; or one of each, (3, 4).
        target: what is followed in both; a's first choice by default.
        foil: what it is compared against; by default b's first choice, where target is left to
            default too and the two differ.
        layers: layers to open.
        keep: what pruning keeps in each; what it keeps in one is drawn in both.
        measure: what ranks the parts: "logit", "share", "norm", "proximity" or "effect".
        lens: as `Trace.flow`.
        pairs: which tokens are partners, (position in a, position in b) each, where the rule of
            docs/compare.md should not decide.

    Raises:
        VisitError: the two cannot be compared, or an argument means nothing here; the message says
            why.
    """
    if measure not in MEASURES:
        raise VisitError(f"measure={measure!r} is not known: use {', '.join(map(repr, MEASURES))}.")
    pair = Pair(a, b, pairs)
    foci = pair.foci(position)
    told = pair.followed(foci, target, foil)
    painter = PairPainter.of(pair, foci, told, keep, measure, lens)
    return Comparison(*painter.graphs(layers), pair.alignment, painter)


class Comparison:
    """Two passes side by side, as plain data. Made by `compare`.

    Differences are a − b.

    Attributes:
        a, b: the graph of each, with the same parts and followed token; ids of b's are its own.
        alignment: which token of a stands against which of b.
    """

    def __init__(
        self,
        a: FlowGraph,
        b: FlowGraph,
        alignment: Alignment,
        painter: PairPainter | None = None,
    ) -> None:
        self.a, self.b, self.alignment, self._painter = a, b, alignment, painter

    @cached_property
    def nodes(self) -> dict[str, NodePair]:
        """The nodes of both, by id. Sources in ids are positions of a; ``L3.H7.Vb2`` is what a
        head takes from token 2 of b, which has no partner.
        """
        return paired_nodes(self.a, self.b, self.alignment)

    @cached_property
    def edges(self) -> dict[tuple[str, str], EdgePair]:
        """The edges of both, by the ids of source and target."""
        return paired_edges(self.a, self.b, self.alignment)

    @property
    def logit(self) -> Values:
        """The followed logit (target − foil)."""
        return self.nodes["logits"].values("logit")

    @property
    def parting(self) -> str | None:
        """The id of the stream from which on the two read as other tokens to the end; None where
        they read the same at the end. It is a reading by the lens: see docs/compare.md.
        """
        return parting_of(self.a, self.b)

    @property
    def parting_layer(self) -> int | None:
        """The layer of `parting`; 0 where the two read otherwise from the embedding on."""
        return None if self.parting is None else self.a.node(self.parting).layer or 0

    def strongest(
        self,
        n: int = 10,
        kind: str | Sequence[str] | None = None,
        measure: str | None = None,
        sign: Literal[1, -1] | None = None,
    ) -> list[tuple[NodePair, Values]]:
        """The n nodes in which the two differ most, largest |difference| first.

        Args:
            n: how many at most.
            kind: as `FlowGraph.top`.
            measure: as `NodePair.values`; what the graphs were ranked by by default.
            sign: 1 for what a has more of, -1 for what b has more of.

        Raises:
            VisitError: an argument means nothing here; the message says what does.
        """
        measure, kinds = measure or self.a.measure, kinds_of(kind)
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise VisitError(f"n={n!r} is not a number of nodes.")
        found = [(p, p.values(measure)) for p in self.nodes.values() if p.kind in kinds]
        ranked = [(p, v, v.difference) for p, v in found if v.difference is not None]
        if not ranked and measure == "effect":
            raise VisitError('These graphs carry no effects: compare with measure="effect".')
        if sign is not None:
            ranked = [row for row in ranked if row[2] * sign > 0]
        ranked.sort(key=lambda row: -abs(row[2]))
        return [(p, v) for p, v, _ in ranked[:n]]

    def changed(
        self,
        kind: str = "heads",
        layer: int | None = None,
        by: str = "change",
        positions: str | Sequence[int] = "focus",
        effects: bool = False,
    ) -> Changed:
        """How much what each part writes differs between the two, over all layers, sorted.

        See `visit_widget.pairs.changed`, which does the work.
        """
        return changed(self._drawn_by("What changed"), kind, layer, by, positions, effects)

    @property
    def patch(self) -> Action:
        """To take a part of a from b, token by token: an action for `Trace.rerun` and
        `Trace.effects` of the first trace.

            comparison = vw.compare(tokyo, paris)
            tokyo.rerun({"L12.post": comparison.patch}, positions=[3])
        """
        return self._drawn_by("A patch").pair.patch

    def open(self, layers: Sequence[int]) -> Comparison:
        """The same with these layers open."""
        painter = self._drawn_by("Another layer")
        return Comparison(*painter.graphs(layers), self.alignment, painter)

    def _drawn_by(self, what: str) -> PairPainter:
        if self._painter is None:
            raise VisitError(
                f"{what} takes the two traces, and this comparison was read from a file: make it "
                "again with vw.compare."
            )
        return self._painter

    def __repr__(self) -> str:
        rows = [self._line(name) for name in ("a", "b")]
        target, foil = self.a.target["text"], self.a.foil and self.a.foil["text"]
        about = f"{target}" if foil is None else f"{target} − {foil}"
        logit = self.logit
        if None not in logit:
            rows.append(f"  {about}: {logit.a:+.3f} and {logit.b:+.3f}")
        rows.append(f"  tokens: {self._tokens()}")
        part = "the predictions are the same" if self.parting is None else f"part at {self.parting}"
        rows.append(f"  {part}")
        most = self.strongest(5)
        if most:
            rows.append(f"  {self.a.measure:<12} {'a':>9} {'b':>9} {'a − b':>9}")
        rows += [f"  {pair.id:<12} {' '.join(map(_number, values))}" for pair, values in most]
        return "\n".join([f"Comparison of two passes ({self.a.model['name']})", *rows])

    def _line(self, name: str) -> str:
        graph: FlowGraph = getattr(self, name)
        said = graph.prediction[0]
        prompt = graph.prompt if len(graph.prompt) <= 50 else f"…{graph.prompt[-49:]}"
        model = f" ({graph.model['name']})" if graph.model["name"] != self.a.model["name"] else ""
        return f"  {name}  {prompt!r}{model} → {said['text']} ({said['probability']:.2f})"

    def _tokens(self) -> str:
        found = [f"{sum(self.alignment.same)} the same"]
        texts = [[t["text"] for t in graph.tokens] for graph in (self.a, self.b)]
        replaced = [f"{texts[0][i]}|{texts[1][j]}" for i, j in self.alignment.replaced]
        if replaced:
            found.append(f"{len(replaced)} replaced ({_few(replaced)})")
        for name, alone, own in zip(
            "ab", (self.alignment.alone_a, self.alignment.alone_b), texts, strict=True
        ):
            if alone:
                found.append(f"{len(alone)} of {name} alone ({_few([own[i] for i in alone])})")
        return ", ".join(found)

    def to_pandas(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Nodes and edges as two tables, a row each: of every measure a's value, b's, and the
        difference.

        Raises:
            VisitError: pandas is not installed.
        """
        return to_pandas(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `from_dict` gives it back."""
        return {
            "version": VERSION,
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
            "pairs": [list(pair) for pair in self.alignment.pairs],
        }

    def to_json(self, indent: int | None = None) -> str:
        """The comparison as JSON text; `from_json` gives it back, without the traces."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent, allow_nan=False)

    @classmethod
    def from_dict(cls, data: Any) -> Comparison:
        """From plain data.

        Raises:
            VisitError: it is no comparison, or one of another version.
        """
        version = data.get("version") if isinstance(data, dict) else None
        if version != VERSION or not {"a", "b", "pairs"} <= set(data):
            raise VisitError(
                f"This is no comparison of version {VERSION}, which Comparison.to_json writes."
            )
        a, b = (FlowGraph.from_dict(data[name]) for name in ("a", "b"))
        pairs = tuple((int(i), int(j)) for i, j in data["pairs"])
        same = tuple(a.tokens[i]["id"] == b.tokens[j]["id"] for i, j in pairs)
        return cls(a, b, Alignment(pairs, same, len(a.tokens), len(b.tokens)))

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """From JSON text that `to_json` wrote.

        Raises:
            VisitError: it is none.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise VisitError(f"This is no JSON: {error}.") from None
        return cls.from_dict(data)


def parting_of(a: FlowGraph, b: FlowGraph) -> str | None:
    """See `Comparison.parting`."""
    kinds = ("embed", "residual")
    found = None
    for node in a.nodes:
        if node.kind not in kinds or node.id.endswith(".pre") or node.id not in b:
            continue
        if _first(node.top) == _first(b.node(node.id).top):
            found = None
        elif found is None:
            found = node.id
    return found


def _first(top: list[dict[str, Any]]) -> int | None:
    return top[0]["id"] if top else None


def _few(texts: list[str]) -> str:
    return ", ".join(texts[:4]) + (", …" if len(texts) > 4 else "")


def _number(value: float | None) -> str:
    return f"{'–':>9}" if value is None else f"{value:>+9.3f}"
