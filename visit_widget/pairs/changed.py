"""Which parts write something else in one pass than in the other, and by how much.

    change = ‖b − a‖        relative = change / max(‖a‖, ‖b‖)        cosine = ⟨a, b⟩ / (‖a‖ ‖b‖)

with a and b what a part adds to the stream in each pass: d_model numbers, at the focus, or those of
several positions one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..flow import Painter
from ..model import VisitError
from ..model.precision import careful
from ..trace import Trace
from ..trace.effect import effect_direction
from ..trace.stream import Reading, added
from .tables import table

if TYPE_CHECKING:
    import pandas as pd

    from .pair import PairPainter

KINDS = ("heads", "neurons", "attention", "mlps", "sublayers")
BY = ("change", "relative", "cosine", "logit", "effect")


@dataclass(frozen=True)
class Change:
    """One part in both passes.

    Attributes:
        id: of the part.
        layer, number: where it is; the head or neuron, None of a sublayer.
        norm_a, norm_b: the lengths of what it writes.
        change: the length of the difference.
        relative: that over the longer of the two: 0 where nothing changed, 1 where one of them
            writes nothing, 2 where they are opposite.
        cosine: of the angle between the two; None where one is 0.
        logit_a, logit_b: what it adds to the followed logit (target − foil), at the focus.
        effect_a, effect_b: its effect on that logit, to first order; None where none was asked for.
    """

    id: str
    layer: int
    number: int | None
    norm_a: float
    norm_b: float
    change: float
    relative: float
    cosine: float | None
    logit_a: float
    logit_b: float
    effect_a: float | None = None
    effect_b: float | None = None

    @property
    def logit(self) -> float:
        """The difference of the logits, a − b."""
        return self.logit_a - self.logit_b

    @property
    def effect(self) -> float | None:
        """The difference of the effects, a − b."""
        if self.effect_a is None or self.effect_b is None:
            return None
        return self.effect_a - self.effect_b


class Changed(Sequence[Change]):
    """Parts in both passes, those that changed most first."""

    def __init__(self, changes: Sequence[Change], kind: str, by: str) -> None:
        self._changes, self.kind, self.by = list(changes), kind, by

    def __getitem__(self, index: Any) -> Any:
        return self._changes[index]

    def __len__(self) -> int:
        return len(self._changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self._changes)

    def __repr__(self) -> str:
        head = f"What {len(self)} {self.kind} write, by {self.by}"
        rows = [f"  {'part':<12} {'‖a‖':>9} {'‖b‖':>9} {'relative':>9} {'cosine':>7} {'logit':>9}"]
        for c in self._changes[:10]:
            cosine = "–" if c.cosine is None else f"{c.cosine:.3f}"
            rows.append(
                f"  {c.id:<12} {c.norm_a:>9.3f} {c.norm_b:>9.3f} {c.relative:>9.3f} {cosine:>7} "
                f"{c.logit:>+9.3f}"
            )
        more = [] if len(self) <= 10 else [f"  … {len(self) - 10} more"]
        return "\n".join([head, *rows, *more])

    def to_pandas(self) -> pd.DataFrame:
        """A table with a row for each part.

        Raises:
            VisitError: pandas is not installed.
        """
        names = [f.name for f in fields(Change)]
        rows = [{**asdict(c), "logit": c.logit, "effect": c.effect} for c in self._changes]
        return table(rows or [dict.fromkeys(names)])[: len(rows)].set_index("id")


def changed(
    painter: PairPainter,
    kind: str = "heads",
    layer: int | None = None,
    by: str = "change",
    positions: str | Sequence[int] = "focus",
    effects: bool = False,
) -> Changed:
    """How much what each part writes differs between two passes.

    Args:
        painter: of both, for one focus and target.
        kind: "heads", "neurons", "attention", "mlps" or "sublayers".
        layer: the parts of this layer alone.
        by: what sorts them, most changed first: "change", "relative", "cosine" (least alike),
            "logit" or "effect" (|a − b|).
        positions: where what is written is compared: "focus", "all" (wherever both prompts have a
            token, up to the focus), or positions of a. Logits and effects are of the focus always.
        effects: whether to take effects as well, a pass back through each model.

    Raises:
        VisitError: an argument means nothing here; the message says what does.
    """
    if kind not in KINDS:
        raise VisitError(f"kind={kind!r} is not known: use {', '.join(map(repr, KINDS))}.")
    if by not in BY:
        raise VisitError(f"by={by!r} is not known: use {', '.join(map(repr, BY))}.")
    places = _places(painter, positions)
    a, b = painter.a, painter.b
    reads = [_reading(p, effects or by == "effect") for p in (a, b)]
    layers = range(a.trace.n_layers) if layer is None else [a.trace.layer(layer)]
    found: list[Change] = []
    for one in layers:
        for half, name, written in _writers(kind, a.trace, one):
            columns = _sums((written(a.trace, i), written(b.trace, j)) for i, j in places)
            for one_side, read in zip((a, b), reads, strict=True):
                vectors = written(one_side.trace, one_side.position)
                columns += [_along(vectors, reading, one, half) for reading in read]
            rows = enumerate(zip(*columns, strict=True))
            found += [_change(name, one, number, row) for number, row in rows]
    return Changed(sorted(found, key=_key(by)), kind, by)


def _places(painter: PairPainter, positions: str | Sequence[int]) -> list[tuple[int, int]]:
    a, b, partners = painter.a, painter.b, painter.pair.alignment.b_of
    if isinstance(positions, str):
        if positions == "focus":
            return [(a.position, b.position)]
        if positions == "all":
            pairs = partners.items()
            found = [(i, j) for i, j in pairs if i <= a.position and j <= b.position]
            if found:
                return found
        raise VisitError(
            f"positions={positions!r} says nowhere that both prompts have: use 'focus', 'all' or a "
            "list of positions of the first."
        )
    every = [a.trace.position(p) for p in positions]
    alone = [p for p in every if p not in partners]
    if alone or not every:
        raise VisitError(
            f"positions={list(positions)!r}: give positions of the first prompt that have a "
            "partner in the other."
        )
    return [(p, partners[p]) for p in sorted(set(every))]


def _reading(painter: Painter, effects: bool) -> tuple[Sequence[Reading], Sequence[Reading] | None]:
    """How the followed logit, and its derivative, read the streams of each layer."""
    found = painter.effect
    if found is None and effects:
        found = effect_direction(
            painter.trace, painter.read, painter.target, painter.foil, painter.position
        )
    return painter.read.layers, None if found is None else found.layers


Written = Callable[[Trace, int], Tensor]


def _writers(kind: str, trace: Trace, layer: int) -> Iterator[tuple[str, str, Written]]:
    """What writes in a layer: the stream that it is added to, the name of a part by its number, and
    what gives the (parts, d_model) vectors of a trace at a position.
    """
    part, name = trace.anatomy.blocks[layer], f"L{layer}"
    if part.attention is not None:
        if kind == "heads":
            yield "mid", f"{name}.H{{}}", lambda t, at: t.head_outputs(layer, at)
        if kind in ("attention", "sublayers"):
            yield "mid", f"{name}.attn", lambda t, at: added(t, layer, at, "attention")[None]
    if part.mlp is not None:
        if kind == "neurons":
            yield "post", f"{name}.N{{}}", lambda t, at: _neurons(t, layer, at)
        if kind in ("mlps", "sublayers"):
            yield "post", f"{name}.mlp", lambda t, at: added(t, layer, at, "mlp")[None]


def _neurons(trace: Trace, layer: int, position: int) -> Tensor:
    """(d_mlp, d_model) what each writes, zeros for those of experts that were not chosen."""
    row = trace.mlp_row(layer, position)
    if row.index is None:
        return row.parts()
    every = row.matrix.new_zeros(trace.anatomy.blocks[layer].d_mlp, trace.d_model)
    every[row.index] = row.parts()
    return every


def _along(
    vectors: Tensor, layers: Sequence[Reading] | None, layer: int, half: str
) -> list[float] | list[None]:
    """What each adds to what is read; None where nothing is."""
    if layers is None:
        return [None] * len(vectors)
    found: list[float] = (vectors @ getattr(layers[layer], half).to(vectors)).tolist()
    return found


def _sums(places: Iterable[tuple[Tensor, Tensor]]) -> list[list[Any]]:
    """Sums over positions, by part: ‖a‖², ‖b‖², ‖b − a‖², ⟨a, b⟩."""
    found: list[Tensor] | None = None
    for a, b in places:
        a, b = careful(a).cpu(), careful(b).cpu()
        rows = [r.sum(-1) for r in (a.square(), b.square(), (b - a).square(), a * b)]
        found = rows if found is None else [f + r for f, r in zip(found, rows, strict=True)]
    assert found is not None
    return [f.tolist() for f in found]


def _change(name: str, layer: int, number: int, row: Sequence[Any]) -> Change:
    square_a, square_b, square, product, logit_a, effect_a, logit_b, effect_b = row
    a, b, change = math.sqrt(square_a), math.sqrt(square_b), math.sqrt(square)
    relative = change / max(a, b) if change else 0.0
    cosine = max(-1.0, min(1.0, product / (a * b))) if a and b else None
    many = name.endswith("{}")
    return Change(
        name.format(number), layer, number if many else None, a, b, change, relative, cosine,
        logit_a, logit_b, effect_a, effect_b,
    )  # fmt: skip


def _key(by: str) -> Callable[[Change], float]:
    if by == "cosine":
        return lambda c: 2.0 if c.cosine is None else c.cosine
    return lambda c: -abs(getattr(c, by) or 0.0)
