"""Which blocks of a model are of one kind, so that one of them tells how all are built."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Sequence
from types import MethodType
from typing import Any

from torch import nn

# A block's modules by name: their classes, the shapes of what they hold, their settings, and
# whoever's hooks on them, which may change what they compute.
Kind = tuple[Hashable, ...]


def kinds_of(blocks: Sequence[nn.Module]) -> list[Kind]:
    """The kind of each block. A setting that counts the blocks, as a layer's number does, is
    none.
    """
    settings = [_settings(block) for block in blocks]
    counting = _counting(settings)
    return [
        (
            tuple((k, v) for k, v in own.items() if k not in counting),
            tuple(_structure(block)),
        )
        for own, block in zip(settings, blocks, strict=True)
    ]


def _settings(block: nn.Module) -> dict[tuple[str, str], Any]:
    """The plain values that the block's modules keep, by module and name."""
    return {
        (name, key): value
        for name, module in block.named_modules()
        for key, value in sorted(vars(module).items())
        if isinstance(value, (bool, int, float, str, type(None))) and key != "training"
    }


def _counting(settings: list[dict[tuple[str, str], Any]]) -> set[tuple[str, str]]:
    """The settings that go up by one from block to block."""
    if len(settings) < 2:
        return set()

    def counts(key: tuple[str, str]) -> bool:
        starts = {
            own[key] - n if type(own.get(key)) is int else None for n, own in enumerate(settings)
        }
        return len(starts) == 1 and None not in starts

    return {key for key in settings[0] if counts(key)}


def _structure(block: nn.Module) -> list[Hashable]:
    found: list[Hashable] = []
    for name, module in block.named_modules():
        stores = (*module._parameters.items(), *module._buffers.items())
        held = tuple((key, None if t is None else tuple(t.shape)) for key, t in stores)
        hooks = (*module._forward_pre_hooks.values(), None, *module._forward_hooks.values())
        found.append((name, type(module), held, tuple(map(_itself, hooks))))
    return found


def _itself(hook: Any) -> Hashable:
    """What stands for a hook, and for no other, without keeping it."""
    if hook is None:
        return None
    try:
        found = weakref.ref(hook)
        hash(found)
    except TypeError:
        return object()
    return object() if isinstance(hook, MethodType) else found
