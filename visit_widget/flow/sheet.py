"""A sheet on which a flow graph is drawn up: vectors first, then numbers and labels for all of them
at once (`labels.py`), then plain nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..lens import Lens, Projection, Site
from ..model import UnsupportedModelError
from ..trace import Trace, bounds
from ..trace.audit import tolerance_of
from ..trace.logit import LogitDirection
from ..trace.rounding import Where, rounding
from ..trace.summands import Summands
from ..trace.tape import At
from ..trace.target import Followed
from .begun import words_begun
from .elements import Edge, Node
from .keep import Keep
from .measures import Along, measure
from .reckoning import Parts, Whole, of_vectors, of_wholes
from .sites import site_of
from .target import numbers

# An error this many times what rounding may cause is no rounding.
NOT_ROUNDING = 10
# So is a part this many times what rounding may leave in its place.
NO_ROUNDING = 3


class Sheet:
    """Where the nodes and edges of one graph, or of one more layer of it, are gathered.

    Args:
        trace: the traced pass.
        lens: labels the vectors.
        position: the focus, from 0.
        target, foil: what is followed, and what it is compared against.
        read: how the target's logit (minus the foil's) reads the stream at the focus.
        keep: what pruning keeps.
        measure: what it ranks by.
        at_focus: whether everything on it is of that position.
        effect: as `read`, but that everything later reacts; None where no effects are asked for.
        also: ids of parts that are drawn whatever pruning keeps.

    Attributes:
        vectors: {node id: (d_model,)} what each node's label is read from.
        edges: those with the wholes' parts, once the sheet has been reckoned.
        max_error: the largest relative error between a whole and the sum of its parts.
    """

    def __init__(
        self,
        trace: Trace,
        lens: Lens,
        position: int,
        target: Followed,
        foil: Followed | None,
        read: LogitDirection,
        keep: Keep,
        measure: str,
        at_focus: bool = True,
        effect: LogitDirection | None = None,
        also: Collection[str] = (),
    ) -> None:
        self.at_focus, self.effect, self.also = at_focus, effect, also
        self.trace, self.lens, self.position = trace, lens, position
        self.target, self.foil, self.read = target, foil, read
        self.keep, self.measure = keep, measure
        self.vectors: dict[str, Tensor] = {}
        self.edges: list[Edge] = []
        self.max_error = 0.0
        self._nodes: dict[str, Node] = {}
        self._along: dict[str, Along | None] = {}
        # In the order of the edges; wholes become edges when the sheet is finished.
        self._drawn: list[Edge | Whole] = []

    def along(self, layer: int, at: At) -> Along:
        """How the followed logit hangs on one of a layer's streams."""
        effect = None if self.effect is None else getattr(self.effect.layers[layer], at)
        return Along(getattr(self.read.layers[layer], at), effect)

    @property
    def along_last(self) -> Along:
        """How it hangs on the last stream."""
        effect = None if self.effect is None else self.effect.direction
        return Along(self.read.direction, effect)

    def node(
        self, node_id: str, kind: str, vector: Tensor, along: Along | None, **more: Any
    ) -> str:
        """Add a node; `along` is how the followed logit hangs on the stream that its vector is a
        summand of, None for a vector that is no summand.
        """
        self.vectors[node_id], self._along[node_id] = vector, along
        more.setdefault("position", self.position)
        self._nodes[node_id] = Node(node_id, kind, **more)
        return node_id

    def ends(self, last: Tensor, along: Along) -> dict[str, float]:
        """What all that flows into the logits makes: the last stream, and what adds to it after."""
        found = {"logit": float(last @ along.logit) + self.read.constant}
        if along.effect is not None:
            found["effect"] = float(last @ along.effect) + self.read.constant
        return found

    def constant(
        self, node_id: str, target: str, logit: float, influence: float | None = None
    ) -> None:
        """Add a node that is no vector of the stream but adds to the logit: a bias after the last
        stream, or rounding there. Nothing comes later, so its effect is the same.
        """
        kind = "rounding" if node_id.endswith(".rounding") else "bias"
        own: dict[str, Any] = {"logit": logit, "influence": influence}
        own["effect"] = logit if self._nodes[target].effect is not None else None
        self._nodes[node_id] = Node(node_id, kind, self.position, **own)
        self._drawn.append(Edge(node_id, target, "part", **own))

    def edge(self, source: str, target: str, kind: str, value: float | None = None) -> None:
        """Add an edge that carries no summand."""
        self._drawn.append(Edge(source, target, kind, value=value))

    def rounding(self, layer: int, at: Where, along: Along) -> Parts:
        """What rounding added to a whole, as one part of it; nothing where it is nil."""
        vector = rounding(self.trace, layer, at, self.position)
        if vector is None:
            return []
        most = bounds.of_stream(self.trace, layer, at, self.position)
        if float(vector.norm()) > NO_ROUNDING * most:
            raise UnsupportedModelError(
                f"What flows into L{layer}.{at} leaves {float(vector.norm()):.1e} of it open, "
                f"where rounding may leave {most:.1e}, so no graph is drawn: the model does "
                "something in this layer that was not understood. trace.audit() says more; an "
                "Anatomy can be passed by hand."
            )
        node = self.node(f"L{layer}.{at}.rounding", "rounding", vector, along, layer=layer)
        return [(node, vector, "part")]

    def flow(
        self,
        target: str,
        whole: Tensor,
        parts: Sequence[tuple[str, Tensor, str]],
        along: Along,
        influences: Sequence[float] | None = None,
    ) -> None:
        """Add the edges of a whole's parts: (source id, part, edge kind) each; `along` is how the
        followed logit hangs on the stream that they are summands of; `influences` theirs, in a
        routes graph.
        """
        every = [*parts, *self._edit(target, whole, parts, along)]
        own: Sequence[float | None] = influences or [None] * len(every)
        self._drawn.append(Whole(target, whole, every, along, own))

    def _edit(
        self, target: str, whole: Tensor, parts: Sequence[tuple[str, Tensor, str]], along: Along
    ) -> Parts:
        """What an intervention left between a whole and its parts, as one part of it."""
        named = re.match(r"L(\d+)\.", target)
        edits, layer = self.trace.edits, None if named is None else int(named[1])
        if edits is None or layer not in edits.layers:
            return []
        left = whole - torch.stack([p for _, p, _ in parts]).sum(0)
        size = max(float(whole.norm()), *(float(p.norm()) for _, p, _ in parts))
        if float(left.norm()) <= NOT_ROUNDING * tolerance_of(self.trace) * size:
            return []
        return [(self.node(f"{target}.edit", "edit", left, along, layer=layer), left, "part")]

    def choose(
        self,
        kind: str,
        parts: Summands,
        whole: Tensor,
        along: Along,
        name: Callable[[int], str],
        rest: str = "",
        published: Tensor | None = None,
    ) -> list[int]:
        """Which parts of a whole are drawn, largest first; then those that are drawn anyway.

        Args:
            kind: heads, memories, neurons or rows.
            parts: n of them.
            whole: (d_model,).
            along: how the followed logit hangs on them.
            name: the node id of each part.
            rest: id of the rest node that the others go to.
            published: (n,) what the published tool ranks them by; their length with their factor's
                sign by default.
        """
        if self.keep.by == "measure":
            values = measure(self.measure, parts, whole, along)
        else:
            values = parts.signed_lengths() if published is None else published
        kept = self.keep.limit(kind).select(values, self.keep.more.get(rest, 0))
        if self.also:
            kept += [n for n in range(len(parts)) if name(n) in self.also and n not in kept]
        return kept

    def reckon(self) -> dict[str, dict[str, Any]]:
        """Make the edges, and return the numbers of each node with a vector.

        Raises:
            UnsupportedModelError: the parts of a whole do not sum to it.
        """
        self.edges = self._added_up()
        return self._numbers()

    def tell(self, more: dict[str, dict[str, Any]]) -> None:
        """Give nodes these fields."""
        for node_id, found in more.items():
            self._nodes[node_id] = Node(**{**vars(self._nodes[node_id]), **found})

    def _numbers(self) -> dict[str, dict[str, Any]]:
        """Of each node with a vector its length, and what it adds to the followed logit unless that
        was given.
        """
        names = list(self.vectors)
        found = of_vectors([self.vectors[i] for i in names], [self._along[i] for i in names])
        return {
            name: {k: v for k, v in own.items() if getattr(self._nodes[name], k) is None}
            for name, own in zip(names, found, strict=True)
        }

    def _added_up(self) -> list[Edge]:
        """The edges, those of wholes' parts with what these are of them."""
        edges: list[Edge] = []
        wholes = [drawn for drawn in self._drawn if isinstance(drawn, Whole)]
        found = of_wholes(wholes, self.trace.edits is not None)
        for drawn in self._drawn:
            if isinstance(drawn, Edge):
                edges.append(drawn)
                continue
            of = next(found)
            self.max_error = max(self.max_error, of.off)
            if of.off > NOT_ROUNDING * tolerance_of(self.trace):
                raise UnsupportedModelError(
                    f"What flows into {drawn.target} does not sum to it (off by {of.off:.1e}), so "
                    "no graph is drawn: the model does something in this layer that was not "
                    "understood. trace.audit() says more; an Anatomy can be passed by hand."
                )
            for n, ((source, _, kind), own) in enumerate(
                zip(drawn.parts, drawn.influences, strict=True)
            ):
                row = {name: column[n] for name, column in of.columns.items()}
                edges.append(Edge(source, drawn.target, kind, **row, influence=own))
        return edges

    @property
    def nodes(self) -> dict[str, Node]:
        """The nodes so far, by id; their numbers and labels once the sheet is finished."""
        return self._nodes

    def edge_out_of(self, node_id: str) -> Edge | None:
        """The edge by which a node flows into its whole, if it has one."""
        return next(
            (
                e
                for e in self.edges
                if e.source == node_id and e.share is not None and e.kind != "split"
            ),
            None,
        )

    def share(self, node_id: str) -> tuple[float, str] | None:
        """A node's share of the whole it flows into, what was split off included; and the whole."""
        edge = self.edge_out_of(node_id)
        if edge is None or edge.share is None:
            return None
        split = [e.target for e in self.edges if e.source == node_id and e.kind == "split"]
        rows = (self.edge_out_of(row) for row in split)
        return edge.share + sum(row.share or 0.0 for row in rows if row is not None), edge.target

    def site(self, node_id: str) -> Site:
        """Where a node's vector stands, as lenses know it."""
        return site_of(self._nodes[node_id], self.trace)

    def tokens(
        self, projection: Projection
    ) -> tuple[list[list[dict[str, Any]]], list[list[dict[str, Any]]]]:
        """The top and the bottom tokens of each vector, as lists of {id, text, score,
        probability}, and the word that it begins where the prompt makes that sure.
        """
        top = _columns(projection.top_ids, projection.top_logits, projection.top_probabilities)
        low = _columns(
            projection.bottom_ids, projection.bottom_logits, projection.bottom_probabilities
        )
        known = sorted({i for rows in (top, low) for row in rows for i, _, _ in row})
        told = {
            i: {"text": text, **({"word": self._words[i]} if i in self._words else {})}
            for i, text in zip(known, self.trace.texts(known), strict=True)
        }
        found = [
            [
                [{"id": i, **told[i], "score": s, "probability": p} for i, s, p in row]
                for row in rows
            ]
            for rows in (top, low)
        ]
        return found[0], found[1]

    @cached_property
    def _words(self) -> dict[int, str]:
        return words_begun(self.trace)


def _columns(ids: Tensor, scores: Tensor, chances: Tensor) -> list[list[tuple[int, float, Any]]]:
    """(id, score, probability) of each token of each vector, as far as there are tokens."""
    return [
        [(i, s, p) for i, s, p in zip(*row, strict=True) if i >= 0]
        for row in zip(ids.tolist(), numbers(scores), numbers(chances), strict=True)
    ]
