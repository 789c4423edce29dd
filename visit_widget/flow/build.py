"""From a trace to its flow graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..lens import LogitLens
from ..model import VisitError
from ..model.tokens import token_texts
from ..trace import Trace
from ..trace.logit import logit_direction
from .block import draw_block
from .graph import MEASURES, Edge, FlowGraph, Node
from .keep import Keep
from .overview import draw_overview
from .sheet import Sheet

N_PREDICTION = 10


def flow_graph(
    trace: Trace,
    position: int = -1,
    target: int | str | None = None,
    foil: int | str | None = None,
    layers: Sequence[int] = (),
    keep: Keep | dict[str, Any] | None = None,
    measure: str = "share",
    lens: LogitLens | None = None,
) -> FlowGraph:
    """The pruned flow graph of a trace: every layer's overview, and the block graph of each layer
    in `layers`.

    Args:
        trace: the traced pass.
        position: the focus, whose computation the graph shows.
        target: token id or text whose logit is followed; the model's own first choice by default.
        foil: token to compare it against.
        layers: layers to open.
        keep: what pruning keeps; `Keep.visit()` is the published tool's choice.
        measure: what ranks the parts: "share", "logit", "norm" or "proximity". Edges carry all
            four.
        lens: labels the nodes; a LogitLens of the model by default.

    Raises:
        VisitError: an argument is out of range; the message says which and what there is.
    """
    painter = Painter(trace, position, target, foil, keep, measure, lens)
    return painter.graph(layers)


class Painter:
    """Draws graphs of one trace, focus and target: the overview, and layers one by one.

    Args: as `flow_graph`.

    Attributes:
        sheets: the sheet of each drawn piece, "overview" or a layer's number; they hold the nodes'
            vectors.
    """

    def __init__(
        self,
        trace: Trace,
        position: int = -1,
        target: int | str | None = None,
        foil: int | str | None = None,
        keep: Keep | dict[str, Any] | None = None,
        measure: str = "share",
        lens: LogitLens | None = None,
    ) -> None:
        if measure not in MEASURES:
            raise VisitError(
                f"measure={measure!r} is not known: use {', '.join(map(repr, MEASURES))}."
            )
        self.trace, self.measure, self.keep = trace, measure, Keep.of(keep)
        self.position = trace.position(position)
        self.lens = lens or LogitLens(trace.model, trace.anatomy)
        stream = trace.residual(trace.n_layers - 1)[self.position]
        self._said = self.lens.logits(stream)
        self.target = int(self._said.argmax()) if target is None else trace.token(target)
        self.foil = None if foil is None else trace.token(foil)
        self.read = logit_direction(trace, self.target, self.foil, self.position)
        self.sheets: dict[str | int, Sheet] = {}

    def overview(self) -> tuple[list[Node], list[Edge]]:
        """The nodes and edges of the all-layer overview."""
        sheet = self._sheet("overview")
        draw_overview(sheet)
        return sheet.finish()

    def block(self, layer: int) -> tuple[list[Node], list[Edge]]:
        """The nodes and edges that a layer adds when it is opened."""
        sheet = self._sheet(self.trace.layer(layer))
        draw_block(sheet, layer)
        return sheet.finish()

    def graph(self, layers: Sequence[int] = ()) -> FlowGraph:
        """The overview with these layers open."""
        layers = sorted({self.trace.layer(layer) for layer in layers})
        nodes, edges = self.overview()
        for layer in layers:
            more_nodes, more_edges = self.block(layer)
            nodes += more_nodes
            edges += more_edges
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
        )

    def _sheet(self, name: str | int) -> Sheet:
        sheet = Sheet(
            self.trace,
            self.lens,
            self.position,
            self.target,
            self.foil,
            self.read,
            self.keep,
            self.measure,
        )
        self.sheets[name] = sheet
        return sheet

    def _followed(self, token: int) -> dict[str, Any]:
        rank = int((self._said > self._said[token]).sum()) + 1
        return {**self._spoken([token])[0], "rank": rank}

    def _prediction(self) -> list[dict[str, Any]]:
        return self._spoken(self._said.topk(min(N_PREDICTION, self.trace.n_vocab)).indices.tolist())

    def _spoken(self, ids: list[int]) -> list[dict[str, Any]]:
        """Tokens with what the model itself says of them at the focus."""
        logits = self._said[ids]
        probabilities = (logits - self._said.logsumexp(-1)).exp()
        texts = token_texts(self.trace.tokenizer, ids)
        columns = zip(ids, texts, logits.tolist(), probabilities.tolist(), strict=True)
        return [{"id": i, "text": t, "logit": x, "probability": p} for i, t, x, p in columns]
