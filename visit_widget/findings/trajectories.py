"""The way of each token's stream through the layers, in one shared plane."""

from __future__ import annotations

import torch
from torch import Tensor

from ..trace import Trace
from .results import Row


def trajectories(trace: Trace, n_dims: int = 2, unit: bool = True) -> list[Row]:
    """Every token's stream before the first block and after each, projected onto the first
    principal components of all of them together.

        (x[l, i] − mean) · (first right singular vectors of all of them, centred)

    One projection for all layers, so that a token's points make a way. Streams grow by much from
    layer to layer; at unit length their directions are compared.

    Source: van Aken, Winter, Löser & Gers (2020), "VisBERT: Hidden-State Visualizations for
    Transformers", arXiv 2011.04507, who project each layer on its own.

    Args:
        trace: of a prompt.
        n_dims: components.
        unit: whether streams are taken at unit length.

    Returns:
        A row for each place and token: `layer` (−1 before the first block), `position`, `token`,
        `x`, `y`, … (one for each component), `explained` (share of the variance in these
        components).
    """
    streams = [trace.residual(0, "pre"), *(trace.residual(n) for n in range(trace.n_layers))]
    points = torch.stack(streams).double()
    if unit:
        points = points / points.norm(dim=-1, keepdim=True).clamp_min(1e-30)
    projected, explained = principal(points.flatten(0, 1), n_dims)
    places = projected.view(len(streams), len(trace), -1).tolist()
    names = [*"xyz"[:n_dims], *(f"x{n}" for n in range(3, n_dims))]
    rows: list[Row] = []
    for layer, tokens in enumerate(places):
        for position, numbers in enumerate(tokens):
            row: Row = {"layer": layer - 1, "position": position, "token": trace.tokens[position]}
            rows.append({**row, **dict(zip(names, numbers, strict=True)), "explained": explained})
    return rows


def principal(points: Tensor, n_dims: int) -> tuple[Tensor, float]:
    """(n, n_dims) points on their first principal components, and the share of their variance that
    these have. Each component points to where the largest deviation is, so that it is the same
    again.
    """
    centred = points - points.mean(0)
    _, sizes, axes = torch.linalg.svd(centred, full_matrices=False)
    found = centred @ axes[:n_dims].T
    largest = found.abs().argmax(0)
    found = found * torch.where(found[largest, torch.arange(found.shape[1])] < 0, -1.0, 1.0)
    if found.shape[1] < n_dims:
        found = torch.cat([found, found.new_zeros(len(found), n_dims - found.shape[1])], 1)
    share = sizes[:n_dims].square().sum() / sizes.square().sum().clamp_min(1e-30)
    return found, float(share)
