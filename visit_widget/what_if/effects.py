"""What the prediction loses by each part: foretold by one backward pass, and measured.

    predicted(p) = ⟨∂m / ∂s, p − p'⟩               m = the target's logit (minus the foil's)
    measured(p)  = m(as it is) − m(with p' in its place)

with p' what the action makes of a part, nothing when it is taken away. A positive effect supports
the prediction: m would be lower without the part. The prediction is attribution patching (Nanda
2023; Kramár et al. 2024, arXiv 2403.00745), the measurement an ablation of every part, one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..model import VisitError
from ..trace import Trace
from ..trace.logit import logit_value
from ..trace.target import Followed, TargetLike, followed
from .actions import ActionLike, action_of
from .foretold import foretold
from .parts import part_of
from .rerun import positions_of
from .table import Effect, Effects
from .variants import MEMORY, Progress, Variants

KINDS = ("heads", "attention", "mlps", "sublayers", "neurons", "streams")


def effects(
    trace: Trace,
    parts: str | Sequence[str] = "heads",
    target: TargetLike | Followed | None = None,
    foil: TargetLike | Followed | None = None,
    action: ActionLike = "zero",
    positions: str | int | Sequence[int] = "focus",
    position: int = -1,
    layer: int | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Effects:
    """What the prediction at a position loses by each part, foretold and measured.

    Args:
        trace: the traced pass.
        parts: node ids, or "heads", "attention", "mlps", "sublayers", "neurons" (of one layer) or
            "streams".
        target: whose logit is followed; the model's first choice there by default.
        foil: what it is compared against.
        action: what is done to each part, one at a time: "zero", "mean", a factor, a vector, or a
            trace to take it from.
        positions: where it is done: "focus" (the position itself), "all" up to it, or some.
        position: whose prediction is followed.
        layer: the parts of this layer alone.
        memory: bytes that one batch may take beside the model.
        progress: called with how many parts are done, and of how many; what it raises ends the
            work.

    Raises:
        VisitError: an argument means nothing here; the message says what does.
    """
    trace.needs_model("What a part does")
    if trace.edits is not None:
        raise VisitError("Effects are of a pass as it is: ask the trace that was run again.")
    at = trace.position(position)
    done = action_of(trace, action)
    every = [part_of(trace, name) for name in names_of(trace, parts, layer)]
    where = [at] if positions == "focus" else positions_of(trace, positions)
    where = [p for p in where if p <= at]
    if not where:
        raise VisitError(f"What happens after position {at} has no effect on what is said there.")
    if target is None:
        target = int(trace.logits(at).argmax())
    told = [followed(trace, target), *([] if foil is None else [followed(trace, foil)])]
    signs = torch.tensor([1.0, -1.0][: len(told)], dtype=torch.float64)
    # First, for it sees in passing whether the position can be run alone.
    before = foretold(trace, every, done, where, told, at)
    losses = Variants(trace, done, at, memory, progress).losses(every, where, told)
    found = {
        part.id: Effect(p, m)
        for part, p, m in zip(every, before, (losses @ signs).tolist(), strict=True)
    }
    names = [_name(trace, t) for t in told]
    value = sum(s * logit_value(trace, t, at) for s, t in zip(signs.tolist(), told, strict=True))
    foil_name = names[1] if len(names) > 1 else None
    return Effects(names[0], foil_name, str(done), tuple(where), float(value), found)


def names_of(trace: Trace, parts: str | Sequence[str], layer: int | None) -> list[str]:
    """The ids of a kind of part, or those given."""
    if not isinstance(parts, str):
        return list(parts)
    if parts not in KINDS:
        return [parts]
    layers = range(trace.n_layers) if layer is None else [trace.layer(layer)]
    blocks = trace.anatomy.blocks
    if parts == "neurons":
        if layer is None:
            raise VisitError("Neurons are asked for a layer at a time: add layer=….")
        row = trace.mlp_row(layer, -1)
        return [f"L{layer}.N{row.number(n)}" for n in range(len(row.activations))]
    found: list[str] = []
    for n in layers:
        if parts == "heads" and blocks[n].attention is not None:
            count = trace.attention_record(n).query.shape[0]
            found += [f"L{n}.H{head}" for head in range(count)]
        if parts in ("attention", "sublayers") and blocks[n].attention is not None:
            found.append(f"L{n}.attn")
        if parts == "sublayers" and blocks[n].mixer is not None:
            found.append(f"L{n}.mix")
        if parts in ("mlps", "sublayers") and blocks[n].mlp is not None:
            found.append(f"L{n}.mlp")
        if parts == "streams":
            found.append(f"L{n}.post")
    return found


def _name(trace: Trace, target: Followed) -> str:
    return target.name or ", ".join(trace.texts(list(target.ids)))
