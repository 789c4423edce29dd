"""Finding out which weights of an MLP write, and numbering their neurons."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from .errors import UnsupportedModelError
from .exclusive import MODEL_LOCK
from .gates import find_gate
from .weight_calls import Run
from .weights import Weights, template
from .writer_rows import (
    HINT,
    Use,
    WriterGroup,
    WriterLayout,
    as_found,
    live_rows,
    rows_of,
    run_once,
    unnumbered,
    uses_of,
)


@torch.inference_mode(False)
def find_layout(module: nn.Module, x: Tensor) -> WriterLayout:
    """Find out which weights of an MLP write, on x and on random inputs of its size.

    Args:
        module: the MLP.
        x: (d_model,) something it may read.

    Raises:
        UnsupportedModelError: its output is not a sum of rows of its weights and a constant.
    """
    with MODEL_LOCK, as_found(module):
        weights = Weights(module)
        x = x.detach().reshape(-1).to(weights.dtype).clone()
        probes = _probes(x)
        flat = _takes_rows_only(module, weights, x)
        runs = [run_once(module, weights, probe, flat) for probe in probes]
        scans = [uses_of(module, run) for run in runs]
        groups = _groups(module, weights, scans, x.numel())
        names = {name for group in groups for name in group.names}
        rests = [run_once(module, weights, p, flat, silent=names).output.detach() for p in probes]
        if not all(torch.equal(rest, rests[0]) for rest in rests):
            raise UnsupportedModelError(
                f"The output of {type(module).__name__} holds more than what its down projections "
                f"write: without them it still depends on the input (by a skip connection, or a "
                f"second path). {HINT}"
            )
        groups = tuple(_with_gate(group, runs, scans) for group in groups)
        experts = sum(g.size // g.width for g in groups if g.first_expert is not None)
        layout = WriterLayout(
            groups,
            d_mlp=sum(group.size for group in groups),
            n_experts=experts,
            constant=rests[0].clone() if bool(rests[0].any()) else None,
            flat=flat,
        )
        for run in runs:
            rows_of(module, layout, weights, run)
        return layout


def _takes_rows_only(module: nn.Module, weights: Weights, x: Tensor) -> bool:
    try:
        run_once(module, weights, x, flat=False)
    except UnsupportedModelError as error:
        try:
            run_once(module, weights, x, flat=True)
        except UnsupportedModelError:
            raise error from None
        return True
    return False


def _probes(x: Tensor) -> list[Tensor]:
    """x, and random vectors of its size."""
    generator = torch.Generator().manual_seed(11)
    size = float(x.float().square().mean().sqrt())
    noise = torch.randn(2, x.numel(), generator=generator, device="cpu")
    noise *= size if 0 < size < math.inf else 1
    return [x, *noise.to(x.dtype).to(x.device)]


def _groups(
    module: nn.Module, weights: Weights, scans: list[list[Use]], d_model: int
) -> tuple[WriterGroup, ...]:
    """The writing weights in groups, from what was seen on each probe."""
    shares: list[dict[tuple[str, int], float]] = []
    others: set[str] = set()
    widths: dict[str, int] = {}
    for uses in scans:
        shares.append({})
        for product, c in uses:
            if c is None:
                others.add(product.name)
                continue
            for batch, row in live_rows(product, c):
                matrix = product.matrix(batch)
                place = weights.neurons(matrix)
                if place is None or widths.setdefault(product.name, len(matrix)) != len(matrix):
                    raise unnumbered(module, product.name)
                shares[-1][place] = float(c[batch, row])
    groups: list[WriterGroup] = []
    for name, width in widths.items():
        if name in others:
            raise UnsupportedModelError(
                f"The output of {type(module).__name__} is not linear in what its {name} writes, "
                f"or not always. {HINT}"
            )
        if any(name in g.names for g in groups):
            continue
        names = _siblings(name, weights, others)
        per_weight = weights.tensors[name].numel() // d_model
        n = len(names) * per_weight // width
        mine = [{place: c for place, c in one.items() if place[0] in names} for one in shares]
        every_token = n == 1 or (len(mine[0]) == n and all(m == mine[0] for m in mine))
        groups.append(WriterGroup(names, width, per_weight, 0, None if every_token else 0))
    if not groups:
        raise UnsupportedModelError(
            f"No down projection was found in {type(module).__name__}: its output is not linear in "
            f"any product with its weights. {HINT}"
        )
    return _numbered(groups, list(weights.tensors))


def _siblings(name: str, weights: Weights, others: set[str]) -> tuple[str, ...]:
    """The weights whose names differ from this one in numbers only, in the numbers' order."""
    shape, pattern = weights.tensors[name].shape, template(name)
    names = [
        other
        for other, tensor in weights.tensors.items()
        if tensor.shape == shape and template(other) == pattern and other not in others
    ]
    return tuple(sorted(names, key=lambda n: [int(p) for p in n.split(".") if p.isdigit()]))


def _numbered(groups: list[WriterGroup], order: list[str]) -> tuple[WriterGroup, ...]:
    """Neurons and experts counted through: experts first, each kind in the module's order."""
    groups = sorted(groups, key=lambda g: (g.first_expert is None, order.index(g.names[0])))
    numbered, offset, expert = [], 0, 0
    for group in groups:
        first = None if group.first_expert is None else expert
        numbered.append(replace(group, offset=offset, first_expert=first))
        offset += group.size
        expert += 0 if first is None else group.size // group.width
    return tuple(numbered)


def _with_gate(group: WriterGroup, runs: list[Run], scans: list[list[Use]]) -> WriterGroup:
    for run, uses in zip(runs, scans, strict=True):
        for product, shares in uses:
            if product.name in group.names and shares is not None:
                for batch, row in live_rows(product, shares):
                    try:
                        return replace(group, gate=find_gate(run, product, batch, row))
                    except RuntimeError:  # the module wrote over what a gradient needs
                        return group
    return group
