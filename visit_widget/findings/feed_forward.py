"""What the MLP does to how tokens are mixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..model import UnsupportedModelError
from ..model.exclusive import exclusive
from ..model.loaded import eval_mode
from ..model.watch import first_tensor
from ..trace import Trace
from .mixing import mixed_parts, ratio_of, through
from .results import Row
from .slopes import neuron_integrals

# Points of the quadrature on the way from zero to the input.
N_POINTS = 24


def feed_forward_mixing(
    trace: Trace, positions: Sequence[int] | str = "all", n_points: int = N_POINTS
) -> list[Row]:
    """How the MLP changes which tokens a stream is made of, by integrated gradients.

        FF(x) − FF(0) = Σ_j ∫₀¹ J_FF(t x) x_j dt        x = Σ_j x_j + constants

    with x what the MLP reads, split by source token through its norm (the scale held), and the
    baseline zero. For an MLP without a gate, W_2 φ(W_1 x), this is φ(z) shared out in proportion to
    z_j, where there are no biases. For a gated one, W_2 (φ(g) ⊙ u), it is

        u_j A + u (g_j / g) (φ(g) − A)        A = ∫₀¹ φ(t g) dt

    so that what gate and branch each bring is told apart. The ratio of context and preserved input
    is then compared before the MLP, in what it writes, and after it.

    Source: Kobayashi, Kuribayashi, Yokoi & Inui (2023), "Analyzing Feed-Forward Blocks in
    Transformers through the Lens of Attention Maps", arXiv 2302.00456; integrated gradients are
    Sundararajan, Taly & Yan's (2017), arXiv 1703.01365. They treat ungated MLPs.

    Args:
        trace: of a prompt.
        positions: which, or "all".
        n_points: of the Gauss–Legendre quadrature.

    Returns:
        A row for each layer with attention and an MLP, and each position: `layer`, `position`,
        `before` (the mixing ratio of the stream that the MLP is added to), `written` (of what the
        MLP writes), `after` (of their sum), `same_order` (rank correlation of the sources' lengths
        before and after; None for fewer than three), `off` (how far the parts are from the whole,
        relatively: what the quadrature is short of).

    Raises:
        UnsupportedModelError: derivatives of the MLP cannot be taken.
    """
    rows: list[Row] = []
    where = range(len(trace)) if isinstance(positions, str) else map(trace.position, positions)
    for at in where:
        for layer in filter(trace.attends, range(trace.n_layers)):
            if trace.anatomy.blocks[layer].mlp is None:
                continue
            before = mixed_parts(trace, layer, at)
            written, off = feed_forward_parts(trace, layer, at, n_points)
            outlet = trace.mlp_row(layer, at).outlet
            after = outlet.carry.forward(before) + written
            row: Row = {"layer": layer, "position": at}
            for name, parts in (("before", before), ("written", written), ("after", after)):
                row[name] = ratio_of(parts.sum(0) - parts[at], parts[at])
            row["same_order"] = _rank_correlation(before[: at + 1], after[: at + 1])
            row["off"] = off
            rows.append(row)
    return rows


def feed_forward_parts(
    trace: Trace, layer: int, position: int = -1, n_points: int = N_POINTS
) -> tuple[Tensor, float]:
    """What the MLP writes, by source token: (T, d_model), and how far their sum with the constants'
    part is from FF(x) − FF(0), relatively.

    Constants (biases of the projection, of the norm, of the attention) have a part of their own,
    which is left out. Arguments as above.
    """
    at, part = trace.position(position), trace.anatomy.blocks[layer]
    whole = trace.residual(layer, "pre")[at] if part.parallel else trace.mid(layer, at)
    if part.parallel:  # it reads the stream before attention: the token's own alone
        parts = torch.zeros(len(trace), trace.d_model, dtype=trace.dtype, device=trace.device)
        parts[at] = whole
    else:
        parts = mixed_parts(trace, layer, at)
    norm = trace.norm(part.mlp_norm)
    summands = parts if norm is None else through(norm, whole, parts)
    x = whole if norm is None else norm.forward_frozen(whole, norm.scale(whole))
    constant = x - summands.sum(0)
    every = torch.cat([summands, constant[None]])
    shares = _integrated(trace, layer, x, every, n_points)
    ends = _run(trace, layer, torch.stack([x, torch.zeros_like(x)]))
    change = ends[0] - ends[1]
    off = (shares.sum(0) - change).norm() / change.norm().clamp_min(1e-30)
    outlet = trace.mlp_row(layer, at).outlet
    return outlet.to_stream(shares[:-1]), float(off)


def _run(trace: Trace, layer: int, x: Tensor) -> Tensor:
    """The MLP's own output for rows (n, d_model), before any norm or factor on the way to the
    stream.
    """
    part = trace.anatomy.blocks[layer]
    assert part.mlp is not None
    with torch.no_grad(), exclusive(trace.model), eval_mode(part.mlp):
        written = first_tensor(part.mlp(_own(trace, layer, x)))
    assert written is not None
    return trace.work(written).reshape(len(x), -1)


def _own(trace: Trace, layer: int, x: Tensor) -> Tensor:
    """Rows as the MLP takes them: (1, n, d_model) in its dtype, where it is."""
    part = trace.anatomy.blocks[layer]
    return trace.into(part.mlp, x)[None].to(trace.record.final.dtype)


@torch.inference_mode(False)
def _integrated(trace: Trace, layer: int, x: Tensor, parts: Tensor, n_points: int) -> Tensor:
    """∫₀¹ J(t x) part dt of each part: (n, d_model).

    Neuron by neuron where the MLP allows it (`slopes.py`). Else the derivative along a part is
    taken by two passes back (of J^T v in v), which every module that has a gradient allows.
    """
    part = trace.anatomy.blocks[layer]
    assert part.mlp is not None
    nodes, weights = np.polynomial.legendre.leggauss(n_points)
    times = torch.tensor((nodes + 1) / 2, dtype=x.dtype, device=x.device)
    shares = torch.tensor(weights / 2, dtype=x.dtype, device=x.device)
    way = _own(trace, layer, times[:, None] * x)
    by_neuron = neuron_integrals(trace, layer, way, shares, parts)
    if by_neuron is not None:
        return by_neuron
    found = torch.zeros_like(parts)
    with torch.enable_grad(), exclusive(trace.model), eval_mode(part.mlp):
        try:
            for n, part_n in enumerate(parts):
                points = way.clone().requires_grad_()
                written = first_tensor(part.mlp(points))
                assert written is not None
                v = torch.zeros_like(written, requires_grad=True)
                (back,) = torch.autograd.grad(written, points, v, create_graph=True)
                along = _own(trace, layer, part_n.expand(n_points, -1))
                (slope,) = torch.autograd.grad((back * along).sum(), v)
                slope = trace.work(slope).reshape(n_points, -1)
                found[n] = (shares[:, None] * slope).sum(0)
        except RuntimeError as error:
            raise UnsupportedModelError(
                f"No derivative can be taken of the MLP of layer {layer} ({error}), so what it "
                "does to the mix of tokens cannot be told."
            ) from error
    return found


def _rank_correlation(before: Tensor, after: Tensor) -> float | None:
    """Spearman's ρ of the lengths of (n, d_model) parts; None for fewer than three."""
    if len(before) < 3:
        return None
    ranks = [p.norm(dim=-1).argsort().argsort().double() for p in (before, after)]
    centred = [r - r.mean() for r in ranks]
    return float((centred[0] @ centred[1]) / (centred[0].norm() * centred[1].norm()))
