"""A model in one pair of hands at a time.

A widget's questions may be answered on a thread of their own while a cell runs the same model (in
JupyterLab they are). What is put on a model for a pass (hooks, eval mode, a listening attention)
would change the cell's pass, and the cell's pass would be heard as ours. So whoever runs a model
holds it: a pass that another thread begins waits at the model's door, and one that is on its way is
waited for.
"""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import accumulate, chain, repeat, starmap, takewhile
from time import monotonic, sleep
from types import FrameType
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from .errors import VisitError

# One model, one hook, one listener at a time. Held alone where nothing is put on a model.
MODEL_LOCK = threading.RLock()
# Seconds that a pass of somebody else's is waited for, and between two looks.
PATIENCE, LOOKS_EVERY = 120.0, 0.002

_held: list[nn.Module] = []
# Threads that wait at a door: their passes have begun, and go no further.
_waiting: set[int] = set()
_doors: weakref.WeakKeyDictionary[nn.Module, list[weakref.ref[nn.Module]]] = (
    weakref.WeakKeyDictionary()
)


@contextmanager
def exclusive(model: nn.Module | None) -> Iterator[None]:
    """Within the block no other thread runs the model; blocks may stand in each other.

    Args:
        model: None, of a trace without its model, is nothing that anybody could run.

    Raises:
        VisitError: another thread's pass does not end.
    """
    with MODEL_LOCK:
        if model is None or any(model is known for known in _held):
            yield
            return
        doors = _doors_of(model)
        with ExitStack() as stack:
            for door in doors:
                stack.callback(door.register_forward_pre_hook(_wait_here, prepend=True).remove)
            _held.append(model)
            stack.callback(_held.pop)
            _wait_for_others({id(door) for door in doors}, type(model).__name__)
            yield


def _doors_of(model: nn.Module) -> list[nn.Module]:
    """The modules that somebody may call to run the model, or nearly all of it."""
    known = _doors.get(model)
    found = [] if known is None else [door() for door in known]
    if known is None or None in found:
        found = [model, *(m for m in model.modules() if isinstance(m, PreTrainedModel))]
        found = list(dict.fromkeys(found))
        _doors[model] = [weakref.ref(door) for door in found if door is not None]
    return [door for door in found if door is not None]


def is_door(hook: object) -> bool:
    """Whether a hook is one of ours, which computes nothing."""
    return hook is _wait_here


def _wait_here(_module: nn.Module, _args: Any) -> None:
    me = threading.get_ident()
    if MODEL_LOCK.acquire(blocking=False):  # the holder's own pass
        MODEL_LOCK.release()
        return
    _waiting.add(me)
    try:
        with MODEL_LOCK:
            _waiting.discard(me)
    finally:
        _waiting.discard(me)


def _wait_for_others(doors: set[int], name: str) -> None:
    deadline = None
    while _in_use(doors):
        now = monotonic()
        deadline = deadline or now + PATIENCE
        if now > deadline:
            raise VisitError(
                f"Another thread has been running this {name} for {PATIENCE:.0f} seconds, a cell "
                "perhaps: ask again when it is done."
            )
        sleep(LOOKS_EVERY)


def _in_use(doors: set[int]) -> bool:
    me = threading.get_ident()
    return any(
        frame.f_code is _CALL and id(frame.f_locals.get("self")) in doors
        for thread in list(sys._current_frames())
        if thread != me and thread not in _waiting
        for frame in _stack_of(thread)
    )


def _stack_of(thread: int) -> list[FrameType]:
    """The frames of a thread, innermost first, as they stand at one moment.

    Within one call into C, and without collecting garbage on the way, which may run Python: between
    two lines of that the thread goes on, and where it has left a frame (a generator's, say), asking
    that for its caller may read memory that is there no more.
    """
    innermost = map(dict.get, starmap(sys._current_frames, [()]), [thread])
    step: Callable[[Any, Any], Any] = getattr
    outwards = accumulate(chain(innermost, repeat("f_back")), step)
    collects = gc.isenabled()
    gc.disable()
    try:
        return list(takewhile(bool, outwards))
    finally:
        if collects:
            gc.enable()


_CALL = nn.Module._call_impl.__code__
