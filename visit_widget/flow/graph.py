"""The flow graph as plain data. `docs/protocol.md` says what every field means, `docs/measures.md`
what the numbers do and do not say; `schema.json` (the same as in docs/) is its schema.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..model import VisitError
from .elements import Edge, Measure, Node
from .explain import explain
from .reading import strongest_path, to_networkx, to_pandas, top_nodes

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

VERSION = 1
View = Literal["block", "routes"]
_SCHEMA = Path(__file__).with_name("schema.json")


@dataclass(frozen=True)
class FlowGraph:
    """A pruned flow graph: nodes, edges and what they are about.

    Attributes:
        model: name, type and sizes.
        prompt: the prompt's text.
        tokens: position, id and text of each token.
        position: the focus.
        target, foil: id, text, logit, probability and rank in the model's own prediction; foil may
            be None.
        measure: what pruned the graph.
        keep: the pruning counts.
        layers: layers whose block graph is included.
        prediction: the model's likeliest next tokens at the focus.
        nodes, edges: the graph.
        view: "block", or "routes" for the graph of positions × layers.
        attribution: of a routes graph, where its influence comes from: {"tokens": [{"position",
            "value", "direct"}], "bias", "opaque", "rest", "total"}, and "rounding" in half
            precision; docs/measures.md says what each is.
        lens: the name of the lens that its labels were read with.
        turns: of a chat, whose words the tokens are: {"role", "start", "end", "said"}, as `Turn`;
            None where the prompt is no chat.
    """

    model: dict[str, Any]
    prompt: str
    tokens: list[dict[str, Any]]
    position: int
    target: dict[str, Any]
    foil: dict[str, Any] | None
    measure: str
    keep: dict[str, Any]
    layers: list[int]
    prediction: list[dict[str, Any]]
    nodes: list[Node]
    edges: list[Edge]
    version: int = VERSION
    view: View = "block"
    attribution: dict[str, Any] | None = None
    lens: str = "logit"
    turns: list[dict[str, Any]] | None = None

    @cached_property
    def _by_id(self) -> dict[str, Node]:
        return {n.id: n for n in self.nodes}

    def node(self, node_id: str) -> Node:
        """The node of this id.

        Raises:
            VisitError: it is not in the graph.
        """
        try:
            return self._by_id[node_id]
        except KeyError:
            raise VisitError(
                f"Node {node_id!r} is not in this graph: open its layer with layers=[…], or keep "
                "more with vw.Keep."
            ) from None

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._by_id

    def into(self, node_id: str) -> list[Edge]:
        """The edges that flow into a node."""
        return [e for e in self.edges if e.target == node_id]

    def out_of(self, node_id: str) -> list[Edge]:
        """The edges that flow out of a node."""
        return [e for e in self.edges if e.source == node_id]

    def path(self, start: str, end: str, measure: Measure = "share") -> list[Edge]:
        """The strongest path of flow edges (residual, write, part, split, through) between two
        nodes.

        Strongest is the path with the largest product of what its edges carry of the whole that
        each flows into: |share| and proximity as they are; |logit|, |effect| and norm over the
        sum of the same over all edges into that whole. Edges that carry 0 are no way. Of paths that
        are as strong, the one with fewer edges, then the one whose node ids come first in the
        alphabet.

        Args:
            start: id of the node that the path leaves.
            end: id of the node that it arrives at.
            measure: "share", "logit", "norm", "proximity" or "effect".

        Returns:
            the edges in order; none from a node to itself.

        Raises:
            VisitError: a node is not in the graph, or nothing flows from the one to the other.
        """
        return strongest_path(self, start, end, measure)

    def top(
        self,
        n: int,
        kind: str | Sequence[str] | None = None,
        measure: Measure = "logit",
        sign: Literal[1, -1] | None = None,
    ) -> list[tuple[Node, float]]:
        """The n nodes that carry most into their whole, largest |measure| first.

        Parts and wholes are ranked side by side: a head, and the attention that it is part of. W_O
        rows shown apart count towards their head too (in share, logit and effect; the head's norm
        is its full length, its proximity that of what is left of it).

        Args:
            n: how many nodes at most.
            kind: a kind of node, or several. By default all but the stream itself (residual, norm),
                which carries all that was written before, and rest nodes, which are sums of many
                parts; ask for these by name.
            measure: "share", "logit", "norm", "proximity" or "effect", of the node's edge into
                its whole.
            sign: 1 for positive values only, -1 for negative ones.

        Returns:
            (node, value) each; where values are as large, in the graph's order.

        Raises:
            VisitError: an argument means nothing here; the message says what does.
        """
        return top_nodes(self, n, kind, measure, sign)

    def explain(self, node_id: str) -> str:
        """One or two sentences with numbers: what a node is, what it reads and writes, and what it
        adds to the target's logit (target − foil with a foil).

        Raises:
            VisitError: it is not in the graph.
        """
        return explain(self, node_id)

    def to_networkx(self) -> nx.DiGraph:
        """The graph for networkx, with every field of nodes and edges as attributes, and what the
        graph is about (model, prompt, target, …) as the graph's.

        A DiGraph, since no two edges join the same two nodes, and more of networkx takes one than
        takes a MultiDiGraph.

        Raises:
            VisitError: networkx is not installed.
        """
        return to_networkx(self)

    def to_pandas(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Nodes and edges as two tables, a row each, columns as in the schema.

        Whole numbers are nullable (Int64), other numbers NaN where there is none; `top`, `bottom`
        and `rest` stay lists and dicts.

        Raises:
            VisitError: pandas is not installed.
        """
        return to_pandas(self)

    @staticmethod
    def schema() -> dict[str, Any]:
        """The JSON schema of what `to_json` writes."""
        schema: dict[str, Any] = json.loads(_SCHEMA.read_text(encoding="utf-8"))
        return schema

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `schema` describes it."""
        data = asdict(self)
        if self.turns is None:
            del data["turns"]
        return data

    def to_json(self, indent: int | None = None) -> str:
        """The graph as JSON text; `from_json` gives it back."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent, allow_nan=False)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> FlowGraph:
        """From plain data.

        Raises:
            VisitError: it is no flow graph, or one of another version.
        """
        version = data.get("version") if isinstance(data, dict) else None
        if version != VERSION:
            raise VisitError(
                f"This is a flow graph of version {version!r}; this package reads version "
                f"{VERSION}."
            )
        known = {f.name for f in fields(cls)}
        missing = sorted(known - {"view", "attribution", "turns"} - set(data))
        if missing:
            raise VisitError(
                f"This flow graph has no {missing[0]!r}: it was cut, or made by something else."
            )
        values = {k: v for k, v in data.items() if k in known}
        try:
            values["nodes"] = [Node(**n) for n in data["nodes"]]
            values["edges"] = [Edge(**e) for e in data["edges"]]
        except TypeError as error:
            raise VisitError(
                f"The nodes and edges of this flow graph are others: {error}."
            ) from None
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> FlowGraph:
        """From JSON text that `to_json` wrote."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise VisitError(f"This is no JSON: {error}.") from None
        return cls.from_dict(data)
