"""The standard pictures of activation patching: which part, taken from the clean prompt, brings the
corrupted one's answer back.

    patched = (m(corrupted, with the part of clean) − m(corrupted)) / (m(clean) − m(corrupted))

with m the target's logit minus the foil's: 0 is the corrupted prompt as it is, 1 the clean one.
Predicted is the same to first order, by one backward pass of the corrupted prompt: ⟨∂m / ∂s, clean
part − corrupted part⟩ in the place of the difference above. After Vig et al. (2020), Meng et al.
(2022); the prediction is attribution patching (Nanda 2023; Kramár et al. 2024, arXiv 2403.00745).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..model import VisitError
from ..trace import Trace
from ..trace.audit import tolerance_of
from ..trace.logit import logit_value
from ..trace.target import Followed, TargetLike
from ..what_if import Effect, effects
from ..what_if.actions import Action
from ..what_if.effects import _name
from ..what_if.variants import MEMORY, Progress
from .pair import Foci, Pair
from .pictures import Patching

# What is patched, and the node that it is.
BY_POSITION = {"streams": "pre", "attention": "attn", "mlps": "mlp"}
# Of what is followed, what is taken for the same.
NOTHING = 1e-6
OVER = (*BY_POSITION, "heads", "parts")


def patching(
    clean: Trace,
    corrupted: Trace,
    over: str = "streams",
    target: TargetLike | Followed | None = None,
    foil: TargetLike | Followed | None = None,
    position: Foci = -1,
    positions: str | Sequence[int] = "all",
    layers: Sequence[int] | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Patching:
    """Run the corrupted prompt with one part after the other taken from the clean one.

    Args:
        clean: the pass that parts are taken from.
        corrupted: the pass that is run again with each of them.
        over: what is patched: "streams" (before each block), "attention" or "mlps" (what the
            sublayer adds), a position at a time: layers × positions; "heads", at all positions at
            once: layers × heads; or "parts", what a head takes from a token, at the focus: layers
            × heads × sources.
        target: what is followed; clean's first choice by default.
        foil: what it is compared against; by default corrupted's first choice, where target is left
            to default too and the two differ.
        position: whose prediction is looked at: the last of each by default, a position of clean
            and its partner's, or one of each, (3, 4).
        positions: of the corrupted prompt: which are patched, one at a time or, of heads, at once;
            "all" up to the focus, "focus", or a list. Those without a partner are left as they
            are.
        layers: these alone.
        pairs: as `compare`: (position in clean, position in corrupted) each.
        memory: bytes that one batch may take beside the model.
        progress: called with how many parts are done, and of how many; what it raises ends the
            work.

    Raises:
        VisitError: an argument means nothing here, or both passes say the same; the message says
            what to do.
    """
    if over not in OVER:
        raise VisitError(f"over={over!r} is not known: use {', '.join(map(repr, OVER))}.")
    pair = Pair(clean, corrupted, pairs)
    foci = pair.foci(position)
    told = pair.followed(foci, target, foil)
    values = [_value(trace, told, at) for trace, at in zip((clean, corrupted), foci, strict=True)]
    scale = values[0] - values[1]
    if abs(scale) <= NOTHING * max(1.0, *map(abs, values)):
        raise VisitError(
            "Both passes give what is followed the same logit, so there is nothing to bring back: "
            "follow what they differ in, with target= and foil=."
        )
    plan = _plan(pair, foci, over, positions, layers)
    measured = np.full(plan.ids.shape, np.nan)
    predicted = measured.copy()
    wanted = [(place, name) for place, name in np.ndenumerate(plan.ids) if name is not None]
    asked = [name for place, name in wanted if place[-1] not in plan.unchanged]
    found: Mapping[str, Effect] = {}
    if asked:
        action = Action("patch", source=clean, partners=pair.alignment.a_of)
        found = effects(
            corrupted, asked, told[0], told[1], action, plan.changed or plan.where, foci[1],
            memory=memory, progress=progress,
        )  # fmt: skip
    for place, name in wanted:
        if name not in found:
            measured[place] = predicted[place] = 0.0
            continue
        measured[place] = -found[name].measured / scale
        before = found[name].predicted
        predicted[place] = np.nan if before is None else -before / scale
    return Patching(
        over=over,
        target=_name(clean, told[0]),
        foil=None if told[1] is None else _name(clean, told[1]),
        clean=values[0],
        corrupted=values[1],
        axes=plan.axes,
        layers=tuple(plan.layers),
        columns=tuple(plan.columns),
        sources=tuple(plan.sources),
        positions=tuple(plan.where),
        ids=plan.ids,
        measured=measured,
        predicted=predicted,
        tokens=(tuple(clean.tokens), tuple(corrupted.tokens)),
        alignment=pair.alignment,
    )


class _Plan(NamedTuple):
    """What is to be patched: ids by place, None where there is nothing to patch or to take."""

    ids: np.ndarray
    axes: tuple[str, ...]
    layers: Sequence[int]
    columns: Sequence[int]
    sources: Sequence[int]
    where: list[int]
    # Columns that are the same in both passes, so that nothing comes of them.
    unchanged: frozenset[int]
    # Of `where`, those that are not.
    changed: tuple[int, ...] = ()


def _plan(
    pair: Pair,
    foci: tuple[int, int],
    over: str,
    positions: str | Sequence[int],
    layers: Sequence[int] | None,
) -> _Plan:
    trace, at = pair.b, foci[1]
    partners = {j for j, i in pair.alignment.a_of.items() if j <= at and i <= foci[0]}
    chosen = range(trace.n_layers) if layers is None else sorted({trace.layer(n) for n in layers})
    told = _positions(trace, at, positions)
    where = [p for p in told if p in partners]
    if over in BY_POSITION:
        name = BY_POSITION[over]
        rows = [
            [f"P{p}.L{n}.{name}" if p in partners and _has(trace, n, over) else None for p in told]
            for n in chosen
        ]
        same = _unchanged(pair)
        unchanged = frozenset(c for c, p in enumerate(told) if p in same)
        return _Plan(_array(rows), ("layer", "position"), chosen, told, (), [at], unchanged)
    if not where:
        raise VisitError(
            "None of these positions has a partner in the clean prompt: give others, or say which "
            "tokens are partners with pairs=."
        )
    heads = range(trace.n_heads)
    counts = [trace.attention_record(n).query.shape[0] if trace.attends(n) else 0 for n in chosen]
    grid = [
        [f"L{n}.H{h}" if h < count else None for h in heads]
        for n, count in zip(chosen, counts, strict=True)
    ]
    if over == "heads":
        same = _unchanged(pair)
        changed = tuple(p for p in where if p not in same)
        return _Plan(
            _array(grid), ("layer", "head"), chosen, heads, (), where, frozenset(), changed
        )
    sources = range(at + 1)
    cube = [
        [[f"{i}.V{s}" if i and s in partners else None for s in sources] for i in row]
        for row in grid
    ]
    axes = ("layer", "head", "source")
    return _Plan(_array(cube), axes, chosen, heads, sources, [at], frozenset())


def _array(rows: list[list[str | None]] | list[list[list[str | None]]]) -> np.ndarray:
    return np.array(rows, dtype=object)


def _has(trace: Trace, layer: int, over: str) -> bool:
    part = trace.anatomy.blocks[layer]
    if over == "streams":
        return True
    return (part.attention if over == "attention" else part.mlp) is not None


def _positions(trace: Trace, at: int, positions: str | Sequence[int]) -> list[int]:
    if positions == "all":
        return list(range(at + 1))
    if positions == "focus":
        return [at]
    found = [] if isinstance(positions, str) else [trace.position(int(p)) for p in positions]
    found = sorted({p for p in found if p <= at})
    if not found:
        raise VisitError(
            f"positions={positions!r} says nowhere up to the focus, {at}: use 'all', 'focus' or a "
            "list of positions of the corrupted prompt."
        )
    return found


def _unchanged(pair: Pair) -> set[int]:
    """The positions of the common beginning that are the same in both passes, in every layer."""
    a, b, start = pair.a, pair.b, pair.alignment.start
    if a.model is not b.model or not start:
        return set()
    within = tolerance_of(b)
    for layer in range(b.n_layers):
        here, there = a.residual(layer)[:start], b.residual(layer)[:start]
        off = (here - there).norm(dim=-1) / there.norm(dim=-1).clamp_min(1e-30)
        alike = (off <= within).tolist()
        start = next((n for n, same in enumerate(alike) if not same), start)
    return set(range(start))


def _value(trace: Trace, told: tuple[Followed, Followed | None], at: int) -> float:
    value = logit_value(trace, told[0], at)
    return float(value if told[1] is None else value - logit_value(trace, told[1], at))
