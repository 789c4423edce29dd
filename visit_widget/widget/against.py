"""What a widget's pass is compared with: another prompt, or a trace of another model.

`docs/protocol.md`, Against, has the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from ..flow import Edge, Node, Painter
from ..flow.detail import details
from ..lens import Lens, lens_of
from ..model import Anatomy, VisitError
from ..model.exclusive import MODEL_LOCK
from ..model.loaded import check_traceable, unwrapped
from ..pairs import Pair, PairPainter, patching
from ..pairs.comparison import parting_of
from ..trace.inputs import Prepared, checked, edited
from ..trace.trace import Trace
from ..trace.tracing import trace as trace_of
from ..trace.tracing import trace_prepared
from ..what_if.variants import Progress
from .intervening import before_of
from .plain import compact, present

if TYPE_CHECKING:
    from .session import Session

_LAYER = re.compile(r"L(\d+)\.")


class Against:
    """The pass beside a widget's own.

    Attributes:
        trace: of it; None where nothing is compared.
        drawn: what drew both, for the graph that is shown.
    """

    def __init__(self) -> None:
        self.trace: Trace | None = None
        self.drawn: PairPainter | None = None
        self._pair: Pair | None = None

    @property
    def text(self) -> str | None:
        """Of the other prompt; None where there is none."""
        return None if self.trace is None else self.trace.prompt

    def read(self, value: Any, session: Session) -> None:
        """Trace what the trait was set to.

        Args:
            value: a prompt, as `visit` takes; a trace; or None to compare with nothing.
            session: whose pass it is compared with.

        Raises:
            VisitError: it is no prompt, or cannot be compared.
        """
        known = self.trace
        with MODEL_LOCK:
            if value is None or isinstance(value, Trace):
                found = value
            elif known is not None and isinstance(value, str):
                if value == known.prompt:
                    return
                anatomy = known.anatomy if known.anatomy_given else None
                found = retraced(known.model, known, value, anatomy, session.keep_on)
            else:
                found = trace_of(
                    session.model, session.tokenizer, value, anatomy=session.anatomy,
                    keep_on=session.keep_on,
                )  # fmt: skip
            if found is not None:
                self._pair = Pair(session.trace, found)
            self.trace = found

    def take(self, prompt: Prepared | None, session: Session) -> None:
        """Trace a prompt that was traced before, unless it is the one that is there."""
        now = self.trace
        if prompt is None or now is None or now.input_ids.tolist() != prompt.ids.tolist():
            made = None
            if prompt is not None:
                model = unwrapped(session.model if now is None else now.model)
                with MODEL_LOCK:
                    made = trace_prepared(
                        model, session.tokenizer, checked(model, prompt), session.anatomy,
                        session.keep_on,
                    )  # fmt: skip
            self.trace = made

    def keep_drawn(self) -> None:
        """Go back to what was drawn last."""
        self.trace = None if self.drawn is None else self.drawn.pair.b

    def pair(self, trace: Trace) -> Pair | None:
        """The widget's pass and the other; None where there is no other."""
        if self.trace is None:
            return None
        if self._pair is None or (self._pair.a, self._pair.b) != (trace, self.trace):
            self._pair = Pair(trace, self.trace)
        return self._pair

    def painters(self, pair: Pair, shown: Painter, lens: Lens) -> PairPainter:
        """What draws both.

        Args:
            pair: of the passes as they are.
            shown: draws the widget's, edited or not.
            lens: that it reads with.
        """
        foci = pair.foci(shown.position)
        if pair.b.model is not pair.a.model:
            try:
                lens = lens_of(lens.name, pair.b)
            except VisitError:
                lens = lens_of("local", pair.b)
        known = self.drawn.b if self.drawn is not None else None
        other = Painter(
            pair.b, foci[1], shown.target, shown.foil, shown.keep, shown.measure, lens, known
        )
        if shown.trace is not pair.a:
            pair = Pair(shown.trace, pair.b, pair.alignment.pairs)
        return PairPainter(pair, shown, other)

    def side(self, layer: int) -> dict[str, Any]:
        """The other side of an open layer; {} where there is none. The same parts are then drawn in
        both.
        """
        if self.drawn is None:
            return {}
        if layer not in self.drawn.b.sheets:
            self.drawn.agree(layer)
        return {"against": _side(self.drawn, *self.drawn.b.block(layer))}

    def details(self, nodes: Sequence[str], others: Sequence[Lens]) -> dict[str, Any]:
        """What a panel shows of the same nodes on the other side, as far as they are there."""
        if self.drawn is None:
            return {}
        both = self.drawn
        ids = {}
        for name in nodes:
            layer = _LAYER.match(name)
            if layer is not None and int(layer[1]) < both.b.trace.n_layers:
                self.side(int(layer[1]))
            own = both.pair.in_b(name)
            if own is not None and any(own in s.nodes for s in both.b.sheets.values()):
                ids[name] = own
        found = details(both.b, list(ids.values()), others)
        return {"against": compact({n: {**found[own], "id": n} for n, own in ids.items()})}

    @staticmethod
    def shared(node: str, painter: Painter) -> bool:
        """Whether a node of the other side is one of this side too: of no token, and of no expert,
        that the other alone has.
        """
        return not Pair.of_b(node) and any(node in sheet.nodes for sheet in painter.sheets.values())

    def patched(
        self, _painter: Painter, over: str = "streams", progress: Progress | None = None
    ) -> dict[str, Any]:
        """The picture of the widget's pass with parts of the other: 0 is as it is, 1 the other."""
        if self.drawn is None:
            raise VisitError(
                "Patching takes a second prompt: type one under the first, or pass against= to "
                "vw.visit."
            )
        both = self.drawn
        pairs = [(j, i) for i, j in both.pair.alignment.pairs]
        found = patching(
            both.pair.b, both.pair.a, over, both.a.target, both.a.foil,
            (both.b.position, both.a.position), pairs=pairs, progress=progress,
        )  # fmt: skip
        return found.to_dict()


def retraced(
    model: Any,
    before: Trace,
    text: str,
    anatomy: Anatomy | None,
    keep_on: torch.device | str | None,
) -> Trace:
    """The trace of a prompt whose text was changed, its special tokens as they were."""
    model = unwrapped(model)
    check_traceable(model)
    known = Prepared(before.input_ids, before._text, before.special)
    prompt = checked(model, edited(before.tokenizer, known, text))
    return trace_prepared(model, before.tokenizer, prompt, anatomy, keep_on)


def against_of(both: PairPainter) -> dict[str, Any]:
    """The other side of a first frame: (docs/protocol.md)."""
    graph, pair = both.b.graph(), both.pair
    return {
        **compact(before_of(both.b, both.b.position)),
        "prompt": graph.prompt,
        "model": graph.model["name"],
        "tokens": graph.tokens,
        "pairs": [list(p) for p in pair.alignment.pairs],
        "parting": parting_of(both.a.graph(), graph),
        **_side(both, graph.nodes, graph.edges),
    }


def _side(both: PairPainter, nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[str, Any]:
    """Nodes and edges of the other side, by their ids in the graph of both."""
    name = both.pair.in_a
    return {
        "nodes": [present(replace(n, id=name(n.id), top=[], bottom=[])) for n in nodes],
        "edges": [present(replace(e, source=name(e.source), target=name(e.target))) for e in edges],
    }
