"""Which heads read what which heads write: as their weights allow it, and as it happened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..model import VisitError
from ..trace import Trace
from ..trace.projection import Projection, gradients_of
from .results import Row

READS = ("query", "key", "value")


def composition(
    trace: Trace, n: int = 100, layers: tuple[int, int] | None = None, position: int = -1
) -> list[Row]:
    """The pairs of heads that compose most: what head A writes is what head B's query, key or value
    reads.

        score = ‖W_OV^A M‖_F / (‖W_OV^A‖_F ‖M‖_F)

    with M = W_QK^B for the query, its transpose for the key, W_OV^B for the value, in the
    convention x W. W_OV = W_V W_O and W_QK = W_Q W_Kᵀ are those of the streams that the
    layers' norms read: their gains are folded in. With rotary embedding W_QK depends on the
    distance; it is taken at distance 0, which is what queries and keys have in common without any
    position. Norms of queries and keys have their scales at `position`.

    By component: W_OV^A = Σ_r s_r a_r b_rᵀ is split into rank-one maps, and the score taken of
    each; one component that says much more than the whole is a channel for few numbers.

    The traced counterpart is how much of B's query (at `position`), and of the key and value that
    it looks at most there, comes from what A wrote at that place in this prompt:

        traced = ⟨W N(a), whole⟩ / ⟨whole, whole⟩        whole: the query, key or value

    Source: Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits" (the scores);
    Merullo, Eickhoff & Pavlick (2024), "Talking Heads", arXiv 2406.09519 (by component).

    Args:
        trace: of a prompt.
        n: how many pairs of each reading, by their score.
        layers: (first, last) layers that are looked at; all by default.
        position: of the query.

    Returns:
        A row for each pair and reading, the largest score first: `reads` ("query", "key", "value"),
        `writer_layer`, `writer`, `layer`, `head`, `score`, `component` (the one with the largest
        score), `component_score`, `source` (where the key and value stand; the position for
        queries), `traced`.
    """
    at = trace.position(position)
    first, last = (0, trace.n_layers - 1) if layers is None else map(trace.layer, layers)
    every = [_weights(trace, layer, at) for layer in range(first, last + 1) if trace.attends(layer)]
    rows: list[Row] = []
    for reads in READS:
        found = sorted(_scores(every, reads), key=lambda pair: -pair.score)[:n]
        rows += [_row(trace, pair, reads, at) for pair in found]
    return rows


@dataclass(frozen=True)
class Maps:
    """A layer's heads as maps of the stream, (…, d_model) each, the gain of the norm folded in.

    Attributes:
        layer: its number.
        query, key: (n_heads, d_head, d_model), rotary embedding as at one position; empty where
            they were not asked for.
        value: (n_heads, d_value, d_model).
        out: (n_heads, d_value, d_model) W_O.
    """

    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
    out: Tensor


@dataclass(frozen=True)
class _Weights(Maps):
    """The same, and W_OV = Σ_r sizes_r · left_r right_rᵀ.

    Attributes:
        left, sizes, right: (n_heads, r, d_model) what each component reads, (n_heads, r), and
            (n_heads, r, d_model) what it writes.
    """

    left: Tensor
    sizes: Tensor
    right: Tensor

    def reading(self, reads: str) -> tuple[Tensor, Tensor]:
        """M of each head as a product Lᵀ R of (n_heads, d, d_model): what it reads with, and with
        what it goes on.
        """
        if reads == "query":
            return self.query, self.key
        return (self.key, self.query) if reads == "key" else (self.value, self.out)


@dataclass(frozen=True)
class _Pair:
    writer: tuple[int, int]
    reader: tuple[int, int]
    score: float
    component: int
    component_score: float


@torch.inference_mode(False)
def maps_of(trace: Trace, layer: int, at: int, wanted: tuple[str, ...] = READS) -> Maps:
    """One layer's heads, by derivatives of the model's own projection at one position."""
    projection = Projection(trace, layer, [at])
    x = projection.input.clone().requires_grad_()
    row = trace.attention_row(layer, at)
    n_heads = len(row.weights)
    norm = trace.norm(trace.anatomy.blocks[layer].attention_norm)
    made: dict[str, Tensor] = {}
    with torch.enable_grad():
        if "query" in wanted:
            made["query"], made["key"] = projection(x)
        made["value"] = projection.values(x)
    found = dict.fromkeys(READS, row.matrix.new_zeros(n_heads, 0, trace.d_model))
    for name, t in made.items():
        m = trace.work(gradients_of(t[:, 0].flatten(), x))[:, 0].view(*t[:, 0].shape, -1)
        m = m if norm is None else norm.pull_back(m, m.new_ones(()))
        found[name] = m.repeat_interleave(n_heads // len(m), 0)
    return Maps(layer, out=row.outlet.to_stream(row.matrix), **found)


def _weights(trace: Trace, layer: int, at: int) -> _Weights:
    maps = maps_of(trace, layer, at)
    value, out = maps.value, maps.out
    # The thin factors of a product of rank d_value: no d_model × d_model matrix is made.
    q_left, r_left = torch.linalg.qr(value.mT)
    q_right, r_right = torch.linalg.qr(out.mT)
    u, sizes, vh = torch.linalg.svd(r_left @ r_right.mT)
    return _Weights(**vars(maps), left=(q_left @ u).mT, sizes=sizes, right=(q_right @ vh.mT).mT)


def _scores(every: list[_Weights], reads: str) -> Iterator[_Pair]:
    for n, later in enumerate(every):
        into, onward = later.reading(reads)
        gram = onward @ onward.mT  # (n_heads, d, d)
        lengths = torch.einsum("hdm,hem,hde->h", into, into, gram).clamp_min(0).sqrt()
        for earlier in every[:n]:
            read = torch.einsum("arm,bdm->abrd", earlier.right, into)
            # ‖right_rᵀ M‖² of each of A's components, for each B.
            squares = torch.einsum("abrd,abre,bde->abr", read, read, gram).clamp_min(0)
            weighted = (squares * earlier.sizes[:, None].square()).sum(-1).sqrt()
            whole = earlier.sizes.norm(dim=-1)[:, None] * lengths
            scores = (weighted / whole.clamp_min(1e-30)).tolist()
            alone = squares.sqrt() / lengths[:, None].clamp_min(1e-30)
            best, component = alone.max(-1)
            for a, row in enumerate(scores):
                for b, score in enumerate(row):
                    yield _Pair(
                        (earlier.layer, a), (later.layer, b), score,
                        int(component[a, b]), float(best[a, b]),
                    )  # fmt: skip


def _row(trace: Trace, pair: _Pair, reads: str, at: int) -> Row:
    (writer_layer, writer), (layer, head) = pair.writer, pair.reader
    source = at
    if reads != "query":
        source = int(trace.attention(layer, at)[head].argmax())
    return {
        "reads": reads, "writer_layer": writer_layer, "writer": writer, "layer": layer,
        "head": head, "score": pair.score, "component": pair.component,
        "component_score": pair.component_score, "source": source,
        "traced": traced_share(trace, pair.writer, pair.reader, reads, source),
    }  # fmt: skip


@torch.inference_mode(False)
def traced_share(
    trace: Trace, writer: tuple[int, int], reader: tuple[int, int], reads: str, position: int
) -> float | None:
    """How much of a head's query, key or value at a position comes from what an earlier head wrote
    there, of 1, signed; None where it cannot be told.

    Args:
        trace: of a prompt.
        writer: (layer, head).
        reader: (layer, head), of a later layer.
        reads: "query", "key" or "value".
        position: of what is read.
    """
    if reads not in READS:
        raise VisitError(f"reads={reads!r} is nothing that a head reads: use {', '.join(READS)}.")
    (earlier, a), (layer, b) = writer, reader
    part = trace.anatomy.blocks[layer]
    plain = all(
        block.attention_join.carries_as_is and block.mlp_join.carries_as_is
        for block in trace.anatomy.blocks[earlier:layer]
    )
    if not plain or earlier >= layer:
        return None
    written = trace.head_outputs(earlier, position)[a]
    norm = trace.norm(part.attention_norm)
    if norm is not None:
        scale = norm.scale(trace.residual(layer, "pre")[position])
        written = norm.linear(written, scale)
    projection = Projection(trace, layer, [position])
    x = projection.input.clone().requires_grad_()
    with torch.enable_grad():
        made = projection.values(x) if reads == "value" else projection(x)[reads == "key"]
        shared = trace.head_outputs(layer, position).shape[0] // made.shape[0]
        vector = made[b // shared, 0]
        # Along the whole itself: one derivative gives the share.
        (back,) = torch.autograd.grad(vector @ vector.detach(), x)
    share = trace.work(back)[0] @ (written * part.attention_input_scale)
    square = trace.work(vector).square().sum().clamp_min(1e-30)
    return float(share / square)
