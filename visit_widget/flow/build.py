"""From a trace to its flow graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Any, Literal

from ..lens import Lens, lens_of
from ..lens.local import LocalLensAt
from ..model import VisitError
from ..trace import Trace
from ..trace.effect import Everywhere, effect_direction, effects_everywhere
from ..trace.logit import LogitDirection, logit_direction
from ..trace.target import Followed, TargetLike, followed
from .block import draw_block
from .effects import EffectWalk
from .elements import MEASURES, ROUTE_MEASURES, Edge, Node
from .graph import FlowGraph, View
from .keep import KINDS, Keep
from .labels import Drawn, finish
from .overview import draw_overview
from .routes import attribution_of, draw_routes
from .sheet import Sheet
from .target import told
from .uncollected import uncollected
from .walk import Walk

N_PREDICTION = 10
# The kinds of nodes that pruning chooses among.
_CHOSEN = ("head", "value", "row", "neuron")


def flow_graph(
    trace: Trace,
    position: int = -1,
    target: TargetLike | None = None,
    foil: TargetLike | None = None,
    layers: Sequence[int] = (),
    keep: Keep | dict[str, Any] | None = None,
    measure: str = "share",
    lens: Lens | str | None = None,
) -> FlowGraph:
    """The pruned flow graph of a trace: every layer's overview, and the block graph of each layer
    in `layers`.

    Args:
        trace: the traced pass.
        position: the focus, whose computation the graph shows.
        target: token id or text whose logit is followed, or several, or a direction (`Target`); the
            model's own first choice by default.
        foil: likewise, to compare it against.
        layers: layers to open.
        keep: what pruning keeps; `Keep.visit()` is the published tool's choice.
        measure: what ranks the parts: "share", "logit", "norm", "proximity" or "effect". Edges
            carry all of them, effects only where this asks for them: they take a pass back through
            the model.
        lens: reads the nodes' vectors as tokens: a `Lens`, or the name of one ("local", "logit",
            "calibrated", "jacobian", "tuned"); "local" by default (docs/lenses.md).

    Raises:
        VisitError: an argument is out of range; the message says which and what there is.
    """
    painter = Painter(trace, position, target, foil, keep, measure, lens)
    return painter.graph(layers)


def routes_graph(
    trace: Trace,
    position: int = -1,
    target: TargetLike | None = None,
    foil: TargetLike | None = None,
    measure: str = "share",
    keep: Keep | dict[str, Any] | None = None,
    lens: Lens | str | None = None,
) -> FlowGraph:
    """The routes by which a prediction comes from the tokens: positions × layers, every edge a
    head's (head, source) part, an MLP or the residual, pruned by influence.

    Args:
        trace: the traced pass.
        position: the focus, whose prediction is followed back.
        target: as `flow_graph`.
        foil: as `flow_graph`.
        measure: what an edge's influence is made of: as `flow_graph`, or "linear", by which MLPs
            are read by a direction too and every token's share of the logit is exact;
            `docs/measures.md` has the formulas.
        keep: `Keep.routes` and `Keep.routes_by` say what is followed.
        lens: as `flow_graph`. What a local lens says of the focus alone is left to the one beside
            it.

    Raises:
        VisitError: an argument is out of range; the message says which and what there is.
    """
    if trace.edits is not None:
        raise VisitError(
            "Routes are of a pass as it is, and this trace is a rerun with interventions: draw the "
            "flow graph of it, or the routes of the trace that it was made of."
        )
    return Painter(trace, position, target, foil, keep, measure, lens).routes()


class Painter:
    """Draws graphs of one trace, focus and target: the overview, layers one by one, and routes.

    Args:
        before: an earlier painter; what it drew that would come out the same is taken over.
        Else as `flow_graph`.

    Attributes:
        sheets: the sheet of each drawn piece, "overview", "routes" or a layer's number; they hold
            the nodes' vectors.
    """

    def __init__(
        self,
        trace: Trace,
        position: int = -1,
        target: TargetLike | Followed | None = None,
        foil: TargetLike | Followed | None = None,
        keep: Keep | dict[str, Any] | None = None,
        measure: str = "share",
        lens: Lens | str | None = None,
        before: Painter | None = None,
    ) -> None:
        if measure not in ROUTE_MEASURES:
            raise VisitError(
                f"measure={measure!r} is not known: use {', '.join(map(repr, MEASURES))}, or "
                "'linear' for routes."
            )
        trace.needs_model("A flow graph")
        self.trace, self.measure, self.keep = trace, measure, Keep.of(keep)
        self.position = trace.position(position)
        self.lens = lens_of(lens, trace)
        self._said = self.lens.readout.said(trace, self.position)
        self.target = followed(trace, self._natural() if target is None else target)
        self.foil = None if foil is None else followed(trace, foil)
        self.read = logit_direction(trace, self.target, self.foil, self.position)
        self.sheets: dict[str | int, Sheet] = {}
        self._drawn: dict[str | int, tuple[Any, Sheet, Any]] = {}
        self._also: dict[int, frozenset[str]] = {}
        self._known_effect: LogitDirection | None = None
        if before is not None and before._about == self._about:
            self._also = before._also
            self._drawn = {
                name: known
                for name, known in before._drawn.items()
                if known[0] == self._asked(name)
            }
            self._also = {}
            self._known_effect = before._known_effect
            vars(self).update({k: v for k, v in vars(before).items() if k == "_effects"})
        alike = before is not None and before._about[:2] == self._about[:2]
        if alike and before is not None and before.lens is self.lens:
            # What a lens makes of this prompt and position does not hang on the target.
            vars(self).update({k: v for k, v in vars(before).items() if k == "_lens_here"})

    def _natural(self) -> int:
        """What is followed where nothing was asked for: the token that came, where the pass is a
        step of a generation, else the likeliest.
        """
        came = self.trace.next_token
        last = self.position == len(self.trace) - 1
        return int(self._said.argmax()) if came is None or not last else came

    def overview(self) -> Drawn:
        """The nodes and edges of the all-layer overview."""
        return self._pieces(["overview"])

    def block(self, layer: int) -> Drawn:
        """The nodes and edges that a layer adds when it is opened."""
        return self._pieces([self.trace.layer(layer)])

    def chosen(self, layer: int, also: Collection[str] = ()) -> set[str]:
        """The ids of the parts of a layer that pruning keeps, with these drawn as well."""
        sheet = self._sheet("chosen", also)
        draw_block(sheet, self.trace.layer(layer), looks=False)
        return {i for i, node in sheet.nodes.items() if node.kind in _CHOSEN}

    def also(self, layer: int, parts: Iterable[str]) -> None:
        """Draw these parts of a layer as well, whatever pruning keeps; none by default."""
        self._also[self.trace.layer(layer)] = frozenset(parts)

    def graph(self, layers: Sequence[int] = ()) -> FlowGraph:
        """The overview with these layers open."""
        if self.measure not in MEASURES:
            raise VisitError(
                f"measure={self.measure!r} is for routes alone. Use "
                f"{', '.join(map(repr, MEASURES))}."
            )
        layers = sorted({self.trace.layer(layer) for layer in layers})
        nodes, edges = self._pieces(["overview", *layers])
        return self._graph("block", layers, nodes, edges, None)

    def routes(self) -> FlowGraph:
        """The routes by which the prediction comes from the tokens."""
        if not self._is_drawn("routes"):
            sheet = self._sheet("routes")
            with uncollected():
                self._remember("routes", sheet, draw_routes(sheet, self._walk(self.measure)))
        nodes, edges, attribution = self._taken("routes")
        return self._graph("routes", [], list(nodes), list(edges), attribution)

    def attribution(self) -> dict[str, Any]:
        """Where the target's logit comes from, token by token, along the kept routes."""
        if self.measure == "logit":
            return self.routes().attribution or {}
        return attribution_of(self._walk("logit"))

    @property
    def effect(self) -> LogitDirection | None:
        """As `read`, but that everything later reacts; None until it has been asked for: once a
        target is ranked by effect, all that is drawn for it carries effects.
        """
        if self._known_effect is None and self.measure == "effect":
            lens = self._lens_here
            known = lens.of(self.target, self.foil) if isinstance(lens, LocalLensAt) else None
            self._known_effect = effect_direction(
                self.trace, self.read, self.target, self.foil, self.position, known
            )
        return self._known_effect

    @cached_property
    def _lens_here(self) -> Lens:
        return self.lens.at(self.trace, self.position)

    @cached_property
    def _effects(self) -> Everywhere:
        return effects_everywhere(self.trace, self.target, self.foil, self.position)

    def _walk(self, measure: str) -> Walk:
        if measure == "effect":
            return EffectWalk(self.trace, self.read, self.position, self.keep, self._effects)
        return Walk(self.trace, self.read, self.position, self.keep, measure)

    @property
    def _about(self) -> tuple[int, int, Followed, Followed | None, int]:
        return id(self.trace), self.position, self.target, self.foil, id(self.lens)

    def _asked(self, name: str | int) -> Any:
        """What else the drawing of a piece depends on."""
        keep, data = self.keep, self.keep.to_dict()
        if name == "routes":
            return self.measure, data["routes"], keep.routes_by
        effects = self.measure == "effect" or self._known_effect is not None
        if name == "overview":
            return (effects,)
        more = {rest: n for rest, n in keep.more.items() if rest.startswith(f"L{name}.")}
        measure = self.measure if keep.by == "measure" else None
        kept = {k: data[k] for k in (*KINDS, "mass", "threshold", "by")}
        also = self._also.get(int(name), frozenset())
        return measure, effects, more, kept, also

    def _pieces(self, names: Sequence[Literal["overview"] | int]) -> Drawn:
        """The nodes and edges of the overview and of layers, one after the other: as they were
        drawn before, or drawn now.
        """
        with uncollected():
            sheets = {name: self._sheet(name) for name in names if not self._is_drawn(name)}
            for name, sheet in sheets.items():
                if name == "overview":
                    draw_overview(sheet)
                else:
                    draw_block(sheet, name)
            drawn = finish(list(sheets.values())) if sheets else []
            for (name, sheet), one in zip(sheets.items(), drawn, strict=True):
                self._remember(name, sheet, one)
        pieces = [self._taken(name) for name in names]
        return [n for nodes, _ in pieces for n in nodes], [e for _, edges in pieces for e in edges]

    def _is_drawn(self, name: str | int) -> bool:
        """Whether a piece was drawn before as it would come out now."""
        return name in self._drawn and self._drawn[name][0] == self._asked(name)

    def _remember(self, name: str | int, sheet: Sheet, drawn: Any) -> None:
        self._drawn[name] = self._asked(name), sheet, drawn

    def _taken(self, name: str | int) -> Any:
        """A piece that was drawn."""
        _, self.sheets[name], drawn = self._drawn[name]
        return drawn

    def _sheet(self, name: str | int, also: Collection[str] = ()) -> Sheet:
        routes = name == "routes"
        return Sheet(
            self.trace,
            self.lens.anywhere if routes else self._lens_here,
            self.position,
            self.target,
            self.foil,
            self.read,
            self.keep,
            self.measure,
            not routes,
            None if routes else self.effect,
            self._also.get(name, ()) if isinstance(name, int) else also,
        )

    def _graph(
        self,
        view: View,
        layers: list[int],
        nodes: list[Node],
        edges: list[Edge],
        attribution: dict[str, Any] | None,
    ) -> FlowGraph:
        trace, config = self.trace, self.trace.model.config
        name = str(getattr(config, "_name_or_path", "") or type(trace.model).__name__)
        ids = trace.input_ids.tolist()
        return FlowGraph(
            model={
                "name": name.rstrip("/").replace("\\", "/").split("/")[-1],
                "type": str(config.model_type),
                "n_layers": trace.n_layers,
                "n_heads": trace.n_heads,
                "d_model": trace.d_model,
                "d_mlp": trace.d_mlp,
                "n_vocab": trace.n_vocab,
            },
            prompt=trace.prompt,
            tokens=[
                {"position": p, "id": i, "text": t}
                for p, (i, t) in enumerate(zip(ids, trace.tokens, strict=True))
            ],
            position=self.position,
            target=self._followed(self.target),
            foil=None if self.foil is None else self._followed(self.foil),
            measure=self.measure,
            keep=self.keep.to_dict(),
            layers=layers,
            prediction=self._prediction(),
            nodes=nodes,
            edges=edges,
            view=view,
            attribution=attribution,
            lens=(self.lens.anywhere if view == "routes" else self._lens_here).name,
            turns=None if trace.turns is None else [turn.to_dict() for turn in trace.turns],
        )

    def _followed(self, target: Followed) -> dict[str, Any]:
        if target.kind == "token":
            (token,) = self._spoken(list(target.ids))
            rank = int((self._said > self._said[token["id"]]).sum()) + 1
            return {**token, "rank": rank}
        return told(self.trace, target, self._said, self.position)

    def _prediction(self) -> list[dict[str, Any]]:
        return self._spoken(self._said.topk(min(N_PREDICTION, self.trace.n_vocab)).indices.tolist())

    def _spoken(self, ids: list[int]) -> list[dict[str, Any]]:
        """Tokens with what the model itself says of them at the focus."""
        logits = self._said[ids]
        probabilities = (logits - self._said.logsumexp(-1)).exp()
        texts = self.trace.texts(ids)
        columns = zip(ids, texts, logits.tolist(), probabilities.tolist(), strict=True)
        return [{"id": i, "text": t, "logit": x, "probability": p} for i, t, x, p in columns]
