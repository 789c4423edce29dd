"""What a neuron looks for: the way back from what enters a down projection to the MLP's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .weight_calls import Product, Run
from .weights import template

_ENOUGH = 6  # neurons that must agree on where their gate's column is
_AT_MOST = 48


@dataclass(frozen=True)
class Gate:
    """Which product holds what enters the activation function of a group's neurons.

    Attributes:
        template: its weight's name, numbers left out.
        width: how wide its output is.
        start: the column of the output that is neuron 0's.
        step: how far the next neuron's column is.
    """

    template: str
    width: int
    start: int
    step: int


def find_gate(run: Run, product: Product, batch: int, row: int) -> Gate | None:
    """Where the gate of a writing product's row is, on a run where that row is alive.

    An activation function counts if neuron n of the row depends on one number that entered it, and
    that number on one column of one product: then the column is neuron n's gate. Without such a
    function, neurons that depend on one column each have found theirs as well.
    """
    hidden = product.x[batch, row]
    if not hidden.requires_grad:
        return None
    before = _before(run, product)
    if not before:
        return None
    for entered in run.entered:
        if entered.requires_grad and entered.numel() >= hidden.numel():
            found = _fit(hidden, [entered], before, batch, row)
            if found is not None:
                break
    else:
        found = _fit(hidden, [], before, batch, row)
    if found is None:
        return None
    gate, source = found
    return gate if _source(run, product, gate) is source else None


def look_for(
    run: Run, product: Product, batch: int, row: int, neuron: int, gate: Gate | None
) -> Tensor:
    """The direction in the module's input that a neuron reads: (d_model,).

    Args:
        run: the run.
        product: the writing product.
        batch: which of its batches the neuron is in.
        row: which row of the batch.
        neuron: the neuron's number in the row.
        gate: where what enters its activation function is; without it, the gradient of what enters
            the down projection is taken.
    """
    before = _before(run, product)
    source = None if gate is None else _source(run, product, gate)
    if gate is None or source is None:
        weight = torch.zeros_like(product.x)
        weight[batch, row, neuron] = 1
        return _pull(run, before, product.x, weight)
    weight = torch.zeros_like(source.x)
    column = gate.start + gate.step * neuron
    weight[batch, row] = source.matrix(batch)[:, column].detach()
    return _pull(run, before, source.x, weight)


def _before(run: Run, product: Product) -> list[Product]:
    at = next(i for i, p in enumerate(run.products) if p is product)
    return run.products[:at]


def _source(run: Run, product: Product, gate: Gate) -> Product | None:
    """The product that holds the gate of a writing product's neurons.

    Experts take their turns in one order: the third writes what the third gate lets through,
    whether each expert runs at a stretch or all their gates run first.
    """

    def alike(name: str, width: int) -> list[Product]:
        rows = product.x.shape[:2]
        return [
            p
            for p in run.products
            if template(p.name) == name and p.width == width and p.x.shape[:2] == rows
        ]

    writers = alike(template(product.name), product.width)
    sources = alike(gate.template, gate.width)
    turn = next(i for i, p in enumerate(writers) if p is product)
    return sources[turn] if len(sources) == len(writers) else None


def _pull(run: Run, products: Sequence[Product], value: Tensor, weight: Tensor) -> Tensor:
    """The gradient of Σ weight · value with respect to the input: (d_model,).

    What reads the input itself is not followed further: a router's share that scales an expert's
    input comes from a product of its own, and stays as it is.
    """
    total = torch.zeros_like(run.x)
    wanted = [run.x, *(p.leaf for p in products)]
    pending = [(value, weight)]
    while pending:
        value, weight = pending.pop()
        if not value.requires_grad:
            continue
        direct, *grads = torch.autograd.grad(
            value, wanted, weight, allow_unused=True, retain_graph=True
        )
        if direct is not None and bool(direct.any()):
            total = total + direct
            continue
        for product, grad in zip(products, grads, strict=True):
            if grad is not None and bool(grad.any()):
                pending.append((product.x, _through(product, product.rows(grad))))
    return total


def _through(product: Product, grad: Tensor) -> Tensor:
    """From a gradient of a product's rows (B, T, O) to one of what was multiplied (B, T, I)."""
    back = torch.zeros_like(product.x)
    columns = grad.any(0).any(0).nonzero()[:, 0]
    for batch in grad.any(2).any(1).nonzero()[:, 0].tolist():
        matrix = product.matrix(batch)[:, columns].detach()
        back[batch] = grad[batch][:, columns].to(back.dtype) @ matrix.mT.to(back.dtype)
    return back


def _fit(
    hidden: Tensor, between: list[Tensor], products: list[Product], batch: int, row: int
) -> tuple[Gate, Product] | None:
    """Neuron by neuron, which column of which product it depends on by way of `between`."""
    found: dict[int, int] = {}
    source: Product | None = None
    leaves = [p.leaf for p in products]
    n = hidden.numel()
    for neuron in _spread(n):
        value: Tensor = hidden[neuron]
        for tensor in between:
            (grad,) = torch.autograd.grad(value, [tensor], allow_unused=True, retain_graph=True)
            if grad is None or not bool(grad.any()):
                break
            touched = grad.reshape(-1).nonzero()
            if len(touched) != 1:
                return None
            value = tensor.reshape(-1)[int(touched)]
        else:
            grads = torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True)
            reached = [
                (p, g) for p, g in zip(products, grads, strict=True) if g is not None and g.any()
            ]
            if not reached:
                continue
            (product, grad), *more = reached
            places = product.rows(grad).nonzero().tolist()
            if more or len(places) != 1 or places[0][:2] != [batch, row]:
                return None
            if source is not None and product is not source:
                return None
            source, found[neuron] = product, places[0][2]
            if len(found) >= min(_ENOUGH, n):
                break
    if source is None or len(found) < 2:
        return None
    (first, start), *_, (last, end) = found.items()
    step, odd = divmod(end - start, last - first)
    start -= first * step
    fits = all(column == start + step * neuron for neuron, column in found.items())
    if odd or step < 1 or start < 0 or not fits or start + step * (n - 1) >= source.width:
        return None
    return Gate(template(source.name), source.width, start, step), source


def _spread(n: int) -> list[int]:
    """Some of n neurons, far from one another, the outermost among the first."""
    count = min(n, _AT_MOST)
    some = [i * (n - 1) // max(count - 1, 1) for i in range(count)]
    return list(dict.fromkeys([some[0], some[-1], *some[::7], *some]))
