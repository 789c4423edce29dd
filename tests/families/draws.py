"""One family, many draws of its weights: what is found must not depend on the draw."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn

import visit_widget as vw
from tests.families.configs import FLOAT32_ONLY, PROMPT, VARIANTS, Weights, build
from tests.families.sweep import quiet

SEEDS = (0, 1, 2)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
WEIGHTS: tuple[Weights, ...] = ("wild", "fresh")


class Draw(NamedTuple):
    """One draw of the weights of a family or variant."""

    name: str
    seed: int
    dtype: torch.dtype
    weights: Weights

    def __str__(self) -> str:
        return f"{self.name}, {str(self.dtype)[6:]}, {self.weights} weights of seed {self.seed}"


def every_draw(names: Iterable[str]) -> Iterator[Draw]:
    """All draws of the families and variants."""
    for drawn in itertools.product(names, SEEDS, DTYPES, WEIGHTS):
        yield Draw(*drawn)


def anatomy_in_words(name: str, seed: int, dtype: torch.dtype, weights: Weights) -> list[str]:
    """What is found in a model, by its modules' names: a line for each thing that a block has."""
    family, changes = VARIANTS.get(name, (name, {}))
    with quiet():
        model = build(family, dtype, seed, weights=weights, **changes)
        anatomy = vw.trace(model, None, PROMPT).anatomy
    names = {module: path for path, module in model.named_modules()}

    buffers = dict(model.named_buffers())
    numbers = {float(b): path.split(".")[-1] for path, b in buffers.items() if b.numel() == 1}

    def said(value: Any) -> str:
        if isinstance(value, float) and value != 1 and value in numbers:
            return numbers[value]
        if isinstance(value, nn.Module):
            return names.get(value) or "+".join(said(part) for part in value.children())
        if isinstance(value, torch.Tensor):
            return f"a tensor {tuple(value.shape)}"
        if isinstance(value, tuple):
            return "+".join(map(said, value))
        if isinstance(value, float):
            return f"{value:.4g}"
        if hasattr(value, "post_norm"):
            return " ".join(f"{f.name}={said(getattr(value, f.name))}" for f in fields(value))
        if hasattr(value, "groups"):
            return "+".join(f"{g.names} {g.size}" for g in value.groups)
        return str(value)

    lines = [
        f"block {n}: {f.name} = {said(getattr(part, f.name))}"
        for n, part in enumerate(anatomy.blocks)
        for f in fields(part)
    ]
    rest = ("final_norm", "unembedding", "head_scale", "logit_scale", "softcap")
    return lines + [f"{what} = {said(getattr(anatomy, what))}" for what in rest]


@cache
def _expected(name: str) -> list[str]:
    plain = torch.float32 if name in FLOAT32_ONLY else torch.float64
    return anatomy_in_words(name, 0, plain, "wild")


def problem(draw: Draw) -> str | None:
    """What is found otherwise in this draw than in the family's first one, in double precision."""
    expected = _expected(draw.name)
    try:
        found = anatomy_in_words(*draw)
    except Exception as error:  # noqa: BLE001 – any error is the finding
        return f"{draw}: {type(error).__name__}: {error}"
    apart = [f"{b} (not: {a})" for a, b in zip(expected, found, strict=True) if a != b]
    return f"{draw}: {'; '.join(apart)}" if apart else None
