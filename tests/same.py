"""Whether two traces hold the same."""

from __future__ import annotations

from torch import Tensor

import visit_widget as vw


def off_by(ours: vw.Trace, theirs: vw.Trace) -> float:
    """The largest relative difference between what two traces keep, and their attention rows."""
    assert ours.input_ids.tolist() == theirs.input_ids.tolist()
    found = [0.0]

    def compare(a: Tensor | None, b: Tensor | None) -> None:
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert a.shape == b.shape
            found.append(float((a - b).norm() / b.norm().clamp_min(1e-30)))

    for mine, other in zip(ours.record.layers, theirs.record.layers, strict=True):
        for name in ("pre", "mid", "mixed"):
            compare(getattr(mine, name), getattr(other, name))
        assert (mine.attention is None) == (other.attention is None)
        if mine.attention is not None and other.attention is not None:
            for name in ("query", "key", "value"):
                compare(getattr(mine.attention, name), getattr(other.attention, name))
        assert mine.added.keys() == other.added.keys()
        for half, added in mine.added.items():
            compare(added, other.added[half])
    compare(ours.record.final, theirs.record.final)
    compare(ours.record.logits, theirs.record.logits)
    for layer in filter(ours.attends, range(ours.n_layers)):
        for position in {0, len(ours) // 2, len(ours) - 1}:
            compare(ours.attention(layer, position), theirs.attention(layer, position))
    return max(found)
