"""What a node is and does, in one or two sentences of plain English with its numbers.

A sentence says what the graph's numbers carry and no more: that a part opposes its whole, that
there are others that are not shown, that a direction is compared and adds nothing by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from .elements import Edge, Node
from .explain_routes import explain_route
from .reading import Flows
from .words import (
    followed_logit,
    listed,
    number,
    percent,
    quoted,
    rounding_of,
    says,
    sentence,
    signed,
    without,
)

if TYPE_CHECKING:
    from .graph import FlowGraph

N_READS, N_SOURCES = 3, 2
_LOOKED_AT = "it is compared, not added, so it adds to no logit itself."


def explain(graph: FlowGraph, node_id: str) -> str:
    """See `FlowGraph.explain`."""
    node = graph.node(node_id)
    if graph.view == "routes":
        return explain_route(graph, node)
    teller = _Teller(graph)
    tell: dict[str, Callable[[Node], str]] = {
        "residual": teller.stream,
        "norm": teller.norm,
        "query": teller.query,
        "key": teller.key,
        "neuron_key": teller.neuron_key,
        "logits": teller.logits,
    }
    return tell.get(node.kind, teller.part)(node)


class _Teller:
    """Tells of the nodes of one graph."""

    def __init__(self, graph: FlowGraph) -> None:
        self.graph, self.flows = graph, Flows(graph)
        self.followed = followed_logit(graph)

    def part(self, node: Node) -> str:
        """A summand: what it writes, what it adds, and its share of its whole."""
        subject = self._subject(node)
        plural = node.kind == "rest" and (node.rest or {}).get("count") != 1
        clauses = []
        if node.label is not None:
            clauses.append(says(node, self.graph.lens, plural))
        if node.logit is not None:
            adds = f"add{'' if plural else 's'} {self._amount(node)}"
            clauses.append(f"{'they' if plural else 'it'} {adds}" if clauses else adds)
        if node.kind == "head":
            attends = self._attends(node)
            subject += f" {attends} and" if attends else ""
        first = f"{subject} {'; '.join(clauses)}" if clauses else f"{subject} has a part in this"
        rest = "; ".join(filter(None, (self._share(node, plural), self._largest(node))))
        told = f"{first}." + (f" {rest[0].upper()}{rest[1:]}." if rest else "")
        if node.effect is None:
            return told
        return f"{told} {without(self.graph, node.effect, 'them' if plural else 'it')}"

    def stream(self, node: Node) -> str:
        """The stream at one place: what it reads, how the target stands, what came together."""
        where, _, place = node.id.partition(".")
        name = {
            "pre": f"The stream before layer {node.layer}",
            "mid": f"The stream inside layer {node.layer}, before its MLP,",
            "post": f"The stream after layer {node.layer}",
        }.get(place, f"The stream at {where}")
        text = f"{name} reads {self._reads(node, 1)}"
        if node.target_rank is not None and node.target_probability is not None:
            total = self.graph.model["n_vocab"]
            text += (
                f", with {quoted(self.graph.target['text'])} at rank {node.target_rank:,} of "
                f"{total:,} (probability {percent(node.target_probability)})"
            )
        if node.logit is not None:
            text += f"; what it holds adds {self._plain(node.logit)}"
        came = [self._inflow(edge) for edge in self.graph.into(node.id) if edge.kind != "read"]
        return f"{text}." + (f" It is the sum of {listed(came)}." if len(came) > 1 else "")

    def norm(self, node: Node) -> str:
        """The normed input of a sublayer, or of the unembedding."""
        if node.layer is None:
            text = f"The last stream, as the unembedding gets it, reads {self._reads(node, 1)}"
            added = "" if node.logit is None else f"; it adds {self._amount(node)}"
            return f"{text}{added}."
        half = "attention" if node.id.endswith("ln1") else "MLP"
        return (
            f"What the {half} of layer {node.layer} takes in (the stream, through a norm where the "
            f"model has one there) reads {self._reads(node, 1)}; it is looked at, not added, so it "
            "adds to no logit itself."
        )

    def query(self, node: Node) -> str:
        """What a head looks for."""
        scores = [e.value for e in self.graph.out_of(node.id) if e.kind == "score"]
        sources = [
            self.graph.node(e.target) for e in self.graph.out_of(node.id) if e.kind == "score"
        ]
        here = [s for s, n in zip(scores, sources, strict=True) if n.source == node.source]
        score = f", with score {number(here[0])}" if here and here[0] is not None else ""
        strongest = f", which it scores highest{score}," if node.source is not None else ""
        return (
            f"What head {node.head} of layer {node.layer} looks for at {self._token(node.source)}"
            f"{strongest} reads {self._reads(node, N_READS)}; {_LOOKED_AT}"
        )

    def key(self, node: Node) -> str:
        """What a memory answers to."""
        text = (
            f"What the memory that {self._token(node.source)} left for head {node.head} of layer "
            f"{node.layer} answers to reads {self._reads(node, N_READS)}; {_LOOKED_AT}"
        )
        facts = []
        if node.score is not None:
            facts.append(f"the head's query scores it {number(node.score)}")
        if node.weight is not None:
            facts.append(f"it gets {percent(node.weight)} of the head's attention")
        return f"{text} {sentence(listed(facts))}" if facts else text

    def neuron_key(self, node: Node) -> str:
        """What a neuron looks for."""
        text = (
            f"What {self._neuron(node)} looks for reads {self._reads(node, N_READS)}; {_LOOKED_AT}"
        )
        if node.activation is None:
            return text
        return f"{text} The neuron's activation here is {number(node.activation)}."

    def logits(self, node: Node) -> str:
        """What the model says."""
        graph = self.graph
        said = [self._said(graph.target)]
        if graph.foil is not None:
            said.append(self._said(graph.foil))
        text = f"The model's logits after {self._token(graph.position)} put {listed(said)}."
        if node.logit is None:
            return text
        own = graph.target["logit"] - (graph.foil["logit"] if graph.foil is not None else 0.0)
        what = "difference" if graph.foil is not None else "logit"
        if math.isclose(node.logit, own, rel_tol=1e-3, abs_tol=1e-3):
            return f"{text} All parts together add up to that {what}, {signed(node.logit)}."
        return (
            f"{text} All parts together add up to {signed(node.logit)}, the {what} before the "
            "model caps or rounds it."
        )

    # Pieces of sentences.

    def _subject(self, node: Node) -> str:
        layer = f"layer {node.layer}"
        if node.kind == "rest":
            return self._rest(node)
        if node.kind == "value":
            weight = "" if node.weight is None else f", at {percent(node.weight)} of its attention,"
            return (
                f"The memory that {self._token(node.source)} left for head {node.head} of {layer}"
                f"{weight}"
            )
        if node.kind == "row":
            at = "" if node.activation is None else f", times its input {number(node.activation)},"
            return f"Row {node.neuron} of the W_O of {layer}, of head {node.head}{at}"
        if node.kind == "neuron":
            key = f"{node.id}.key"
            facts = []
            if key in self.graph:
                facts.append(f"looks for {self._reads(self.graph.node(key), 1)}")
            if node.activation is not None:
                facts.append(f"is active at {number(node.activation)}")
            name = self._neuron(node)
            name = name[0].upper() + name[1:]
            return f"{name}, which {listed(facts)}," if facts else name
        if node.kind == "rounding":
            return rounding_of(node.id)
        if node.kind == "edit":
            return f"What interventions changed in {node.id.removesuffix('.edit')}, by itself,"
        if node.kind == "bias":
            return {
                "norm.bias": "The bias of the final norm, whatever the stream holds,",
                "logits.bias": "The bias of the unembedding, whatever the stream holds,",
                "logits.entropy": (
                    "That several tokens are followed as one (the entropy of their softmax among "
                    "themselves)"
                ),
            }.get(node.id) or (
                f"What the {'MLP' if '.mlp.' in node.id else 'attention'} of {layer} adds besides "
                "its parts (biases, with norms frozen)"
            )
        return {
            "embed": f"The embedding of {self._token(node.position)}, where the stream starts,",
            "attention": f"The attention of {layer}",
            "mlp": f"The MLP of {layer}",
            "opaque": f"What {layer} mixes in by other means than attention, shown whole,",
            "head": f"Head {node.head} of {layer}",
            "expert": f"Expert {node.expert} of {layer}",
        }.get(node.kind, f"Node {node.id}")

    def _rest(self, node: Node) -> str:
        rest = node.rest or {}
        count, of = rest.get("count", 0), rest.get("of", "part")
        one = {"value": "memory", "head": "head", "neuron": "neuron"}.get(of, of)
        many = {"memory": "memories"}.get(one, f"{one}s")
        where = f"layer {node.layer}" if node.head is None else (
            f"head {node.head} of layer {node.layer}"
        )  # fmt: skip
        if count == 1:
            return f"The one {one} of {where} that is not shown by itself"
        return f"The {count:,} {many} of {where} that are not shown one by one, taken together,"

    def _neuron(self, node: Node) -> str:
        expert = "" if node.expert is None else f" (of expert {node.expert})"
        return f"neuron {node.neuron} of layer {node.layer}{expert}"

    def _attends(self, head: Node) -> str:
        """Whom a head attends to, of the memories that are drawn."""
        shown = [
            (node.weight, node)
            for edge in self.graph.into(head.id)
            if (node := self.graph.node(edge.source)).kind == "value" and node.weight is not None
        ]
        shown.sort(key=lambda pair: -pair[0])
        if not shown:
            return ""
        named = shown[:1] if shown[0][0] >= 0.5 else shown[:N_SOURCES]
        sources = listed([f"{self._token(n.source)} ({percent(w)})" for w, n in named])
        more = len(shown) > len(named) or f"{head.id}.rest" in self.graph
        others = ", among others," if more and named[0][0] < 0.5 else ""
        return f"attends{others} to {sources}" + ("," if len(named) > 1 else "")

    def _flow(self, node: Node, measure: str) -> tuple[float, Node] | None:
        """What a node carries into its whole, and the whole; None where it flows into none."""
        value = self.flows.value(node, measure)
        return None if value is None else (value, self.graph.node(self.flows.out[node.id].target))

    def _amount(self, node: Node) -> str:
        """What a node adds to the followed logit, and beside what its whole adds."""
        value = node.logit or 0.0
        text = self._plain(value)
        flow = self._flow(node, "logit")
        if flow is None or value == 0 or not flow[1].logit:
            return text
        whole, total = flow[1], flow[1].logit
        if whole.kind in ("residual", "norm"):
            return text
        adds = f"the {signed(total)} that {_whole(whole)} {_verb(whole)}"
        in_all = "" if whole.kind == "logits" else " in all"
        if value / total < 0:
            return f"{text}, against {adds}{in_all}"
        if value / total > 1.005 and signed(value) != signed(total):
            return f"{text}, more than {adds}{in_all}: other parts oppose it"
        return f"{text}, {percent(value / total)} of {adds}"

    def _plain(self, value: float) -> str:
        return f"{'nothing' if value == 0 else signed(value)} to {self.followed}"

    def _share(self, node: Node, plural: bool) -> str:
        flow = self._flow(node, "share")
        if flow is None or node.kind == "embed":
            return ""
        share, whole = flow
        of = _output(whole)
        its = "their" if plural else "its"
        if share < 0:
            they = "they point" if plural else "it points"
            return f"{they} against {of}: {its} share of it is {percent(share)}"
        if share > 1.005:
            return f"{its} share of {of} is {percent(share)}, for other parts point against it"
        return f"{its} share of {of} is {percent(share)}"

    def _largest(self, node: Node) -> str:
        """The part of an opened attention or MLP that adds most."""
        wanted = {"attention": ("head", "heads"), "mlp": ("neuron", "neurons")}.get(node.kind)
        if wanted is None:
            return ""
        kind, kinds = wanted
        parts = [
            (abs(part.logit), part)
            for edge in self.graph.into(node.id)
            if (part := self.graph.node(edge.source)).kind == kind and part.logit is not None
        ]
        if not parts:
            return ""
        part = max(parts, key=lambda pair: pair[0])[1]
        number_ = part.head if kind == "head" else part.neuron
        return (
            f"of the {kinds} shown, {kind} {number_} moves that logit most, by "
            f"{signed(part.logit or 0.0)}"
        )

    def _inflow(self, edge: Edge) -> str:
        """One of what comes together in a stream."""
        source = self.graph.node(edge.source)
        # Some models norm or scale the stream on its way past a sublayer.
        as_is = None in (edge.norm, source.norm) or math.isclose(
            edge.norm or 0.0, source.norm or 0.0, rel_tol=1e-2
        )
        name = {
            "residual": "the stream before" if as_is else "what comes of the stream before",
            "attention": "attention",
            "mlp": "the MLP",
            "opaque": "what the layer mixes in otherwise",
        }.get(source.kind, source.id)
        facts = []
        if edge.logit is not None:
            facts.append(signed(edge.logit))
        if edge.share is not None:
            against = ", against it" if edge.share < 0 else ""
            facts.append(f"share {percent(edge.share)}{against}")
        return f"{name} ({', '.join(facts)})" if facts else name

    def _reads(self, node: Node, count: int) -> str:
        texts = [token["text"] for token in node.top[:count]]
        if not texts:
            texts = [] if node.label is None else [node.label]
        return ", ".join(map(quoted, texts)) or "as no token"

    def _said(self, token: dict[str, object]) -> str:
        logit, chance = token["logit"], token["probability"]
        assert isinstance(logit, (int, float))
        if not isinstance(chance, (int, float)):
            return f"{quoted(str(token['text']))} at {number(logit)}"
        return (
            f"{quoted(str(token['text']))} at {number(logit)} (probability {percent(chance)}, rank "
            f"{token['rank']:,})"
        )

    def _token(self, position: int | None) -> str:
        """A token of the prompt, with its position where its text stands there twice."""
        texts = [token["text"] for token in self.graph.tokens]
        if position is None or position >= len(texts):
            return "a token"
        text = texts[position]
        twice = texts.count(text) > 1
        return f"{quoted(text)} at position {position}" if twice else quoted(text)


def _whole(node: Node) -> str:
    return {
        "attention": "the layer's attention",
        "mlp": "the layer's MLP",
        "head": "the head",
        "logits": "all parts",
    }.get(node.kind, node.id)


def _verb(whole: Node) -> str:
    return "add" if whole.kind == "logits" else "adds"


def _output(node: Node) -> str:
    return {
        "attention": "the attention's output",
        "mlp": "the MLP's output",
        "head": "the head's output",
        "residual": "the stream that it flows into",
    }.get(node.kind, node.id)
