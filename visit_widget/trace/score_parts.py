"""Why a head looks there: who wrote what its query and its key read.

With the scales of the norms on the way held at what was observed, a query is affine in the stream
that it is made of, and so is a key. Their product is then bilinear, rotary positions and all:

    score(i, j) = scale · ⟨q_i, k_j⟩ = Σ_a Σ_b scale · ⟨Q(a), K(b)⟩

over the parts a of the query's stream and b of the key's, constants (biases of the norm, of the
projections, of norms on queries and keys) being a part of their own on both sides. Elhage et al.
(2021) write the score as such a product of what earlier heads wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..model import VisitError
from .audit import tolerance_of
from .directions import scale_of
from .projection import Projection, gradients_of
from .record import AttentionRecord
from .rounding import beyond_ours, rounds
from .stream_parts import By, StreamParts, stream_parts

if TYPE_CHECKING:
    import pandas as pd

    from .attention import AttentionRow
    from .trace import Trace

# More than so many times what rounding may cause is a part that was overlooked.
NOT_ROUNDING = 10
# Weights below this, of the largest, say nothing of what entered the softmax.
TOO_SMALL = 1e-3


@dataclass(frozen=True, repr=False)
class ScoreParts:
    """One score, split by what wrote both streams that it compares. Made by `Trace.score_parts`.

    Attributes:
        layer, head: whose.
        position: where the query is, from 0.
        source: the token that it looks at, from 0.
        tokens: the tokens at both, as they are shown.
        query_parts: what the query's stream is made of: "embed", node ids ("L3.attn", "L3.H4"),
            "constant", and "rounding" in half precision.
        key_parts: likewise for the key's.
        matrix: (n_query_parts, n_key_parts) what each pair adds; it sums to the score.
        score: scaled product of query and key, before position biases, softcap and softmax.
        in_softmax: what became of it when it entered the softmax, position bias and softcap
            included; None where the attention function does more than these.
        weight: the attention weight that the softmax made of it.
    """

    layer: int
    head: int
    position: int
    source: int
    tokens: tuple[str, str]
    query_parts: tuple[str, ...]
    key_parts: tuple[str, ...]
    matrix: Tensor
    score: float
    in_softmax: float | None
    weight: float

    @property
    def by_query(self) -> dict[str, float]:
        """What each part of the query's stream adds, whatever it meets."""
        return dict(zip(self.query_parts, self.matrix.sum(1).tolist(), strict=True))

    @property
    def by_key(self) -> dict[str, float]:
        """What each part of the key's stream adds, whatever asks for it."""
        return dict(zip(self.key_parts, self.matrix.sum(0).tolist(), strict=True))

    def strongest(self, n: int = 10) -> list[tuple[str, str, float]]:
        """The n pairs that add or take most: (query part, key part, what it adds), by size."""
        order = self.matrix.abs().flatten().argsort(descending=True)[: max(n, 0)].tolist()
        width = len(self.key_parts)
        places = [divmod(place, width) for place in order]
        return [
            (self.query_parts[a], self.key_parts[b], float(self.matrix[a, b])) for a, b in places
        ]

    def to_pandas(self) -> pd.DataFrame:
        """The matrix as a table, a row for each part of the query's stream.

        Raises:
            VisitError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise VisitError(
                'pandas is not installed: pip install "visit-widget[data]".'
            ) from error
        table = pd.DataFrame(
            self.matrix.cpu().numpy(), index=list(self.query_parts), columns=list(self.key_parts)
        )
        return table.rename_axis(index="query", columns="key")

    def __repr__(self) -> str:
        pairs = ", ".join(f"{a} × {b} {value:+.2f}" for a, b, value in self.strongest(3))
        asks, answers = self.tokens
        return (
            f"ScoreParts(L{self.layer}.H{self.head}, “{asks}” ({self.position}) looks at "
            f"“{answers}” ({self.source}): score {self.score:.2f}, weight {self.weight:.1%}; "
            f"{len(self.query_parts)} × {len(self.key_parts)} parts, strongest {pairs})"
        )


def score_parts(
    trace: Trace, layer: int, head: int, source: int, position: int, by: By = "part"
) -> ScoreParts:
    """Split one score; see `Trace.score_parts`."""
    kept, row = trace.attention_record(layer), trace.attention_row(layer, position)
    score = float(row.scores[head, source])
    if score == float("-inf"):
        raise VisitError(
            f"The query at position {position} does not see position {source} in layer {layer}, so "
            "there is no score to split: choose a source that its mask lets through."
        )
    shared = kept.query.shape[0] // kept.key.shape[0]
    home = _home_of_keys(trace, layer)
    if home == layer:
        projection = Projection(trace, layer, [position, source])
        parts = stream_parts(trace, layer, [position, source], by)
        query_side, key_side = (projection, parts, 0), (projection, parts, 1)
    else:
        query_side, key_side = (
            (Projection(trace, at, [place]), stream_parts(trace, at, [place], by), 0)
            for at, place in ((layer, position), (home, source))
        )
    asks = _vectors(trace, *query_side, "query", head)
    answers = _vectors(trace, *key_side, "key", head // shared)
    scale = scale_of(kept.scaling, kept.query)
    seen = trace.texts(trace.input_ids[[position, source]].tolist())
    return ScoreParts(
        layer, head, position, source, (seen[0], seen[1]),
        tuple(asks), tuple(answers),
        scale * torch.stack(list(asks.values())) @ torch.stack(list(answers.values())).T,
        score, _in_softmax(trace, kept, row, head, position, source),
        float(row.weights[head, source]),
    )  # fmt: skip


def _home_of_keys(trace: Trace, layer: int) -> int:
    """The layer that makes this layer's keys: itself, or an earlier one that shares them."""
    key = trace.attention_record(layer).key
    for earlier in range(layer):
        if trace.attends(earlier):
            other = trace.attention_record(earlier).key
            same = other.shape == key.shape and other.device == key.device
            if same and torch.equal(other[:, -1], key[:, -1]) and torch.equal(other, key):
                return earlier
    return layer


@torch.inference_mode(False)
def _vectors(
    trace: Trace, projection: Projection, parts: StreamParts, row: int, what: str, number: int
) -> dict[str, Tensor]:
    """What each part of a stream becomes in a head's query or key: {name: (d_head,)}.

    Args:
        trace: the traced pass.
        projection: the layer's own, at some positions.
        parts: of the streams there.
        row: which of these positions.
        what: "query" or "key".
        number: of the head, or of the key.
    """
    layer, part, which = projection.layer, projection.part, 0 if what == "query" else 1
    kept = trace.attention_record(layer)
    whole = trace.work((kept.query, kept.key)[which][number, projection.rows[row]])
    x = projection.input.clone().requires_grad_()
    with torch.enable_grad():
        made = projection(x)[which][number, row]
        slopes = gradients_of(made, x)
    others = [n for n in range(len(projection.rows)) if n != row]
    if not bool(slopes.any()) or bool(slopes[:, others].any()):
        raise VisitError(
            f"The {what} of layer {layer} at position {projection.rows[row]} is not made of the "
            "stream there alone, so its score is not split."
        )
    vectors, fixed = parts.vectors[:, row], torch.zeros_like(x)
    norm = trace.norm(part.attention_norm)
    if norm is not None:
        stream = trace.work(trace.record.layers[layer].pre[projection.rows[row]])
        vectors = norm.linear(vectors, norm.scale(stream))
        fixed = fixed + norm.bias.to(x) * part.attention_input_scale
    vectors = vectors * part.attention_input_scale @ trace.work(slopes[:, row]).T
    with torch.no_grad():
        constant = trace.work(projection(fixed)[which][number, row])
    found = dict(zip(parts.names, vectors, strict=True))
    if bool(constant.any()):
        found["constant"] = constant
    left = whole - vectors.sum(0) - constant
    size = vectors.square().sum().sqrt() + constant.norm()
    off = float(left.norm() / size.clamp_min(torch.finfo(size.dtype).tiny))
    if not off <= NOT_ROUNDING * tolerance_of(trace):
        raise VisitError(
            f"The {what} of layer {layer} is not the sum of what the stream's parts make of it "
            f"(off by {off:.1e}), so its score is not split."
        )
    if rounds(trace):
        rounding = beyond_ours(whole, left)
        return found if rounding is None else {**found, "rounding": rounding}
    return found


def _in_softmax(
    trace: Trace, kept: AttentionRecord, row: AttentionRow, head: int, position: int, source: int
) -> float | None:
    """What entered the softmax in the place of a score, if the weights bear it out."""
    scores, weights = row.scores[head], row.weights[head]
    mask = kept.mask.row(position, len(scores), trace.dtype, trace.device)[0, :, 0]
    bias, cap = mask[head if len(mask) > 1 else 0], _cap_of(kept.options)
    entered = (scores if cap is None else torch.tanh(scores / cap) * cap) + bias
    told = (weights > TOO_SMALL * weights.max()) & entered.isfinite()
    apart = weights[told].log() - entered[told]
    size = 1 + float(entered[told].abs().max()) if bool(told.any()) else 1.0
    if not bool(told.any()) or float(apart.max() - apart.min()) > tolerance_of(trace) * size:
        return None
    return float(entered[source])


def _cap_of(options: dict[str, Any]) -> float | None:
    cap = options.get("softcap")
    return float(cap) if cap else None
