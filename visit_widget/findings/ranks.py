"""A study split over the processes of torchrun or `accelerate launch`.

Each process takes its share of the batches; processes that share one model (tensor parallelism) run
the same ones together. In the end all have all results, whether or not they share a disk.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from torch import distributed
from torch.nn import Module

from ..model import VisitError
from ..model.sharded import is_sharded

if TYPE_CHECKING:
    from .store import Store

T = TypeVar("T")

# How long the fastest process waits for the slowest.
PATIENCE = dt.timedelta(days=7)


@dataclass(frozen=True)
class Ranks:
    """Which of the processes this is.

    Attributes:
        share: which share of the batches is this process's.
        shares: how many there are.
        first: whether it is the first process that has this share.
        group: what the processes speak through; None for the one process that there is.
    """

    share: int = 0
    shares: int = 1
    first: bool = True
    group: Any = None

    def every(self, mine: Any) -> list[Any]:
        """What each process says, once all have: plain values."""
        if self.group is None:
            return [mine]
        said: list[Any] = [None] * distributed.get_world_size(self.group)
        distributed.all_gather_object(said, mine, group=self.group)
        return said

    def done(self, store: Store) -> set[int]:
        """The numbers of the prompts that any process has done."""
        return set().union(*self.every(store.done()))

    def agree(self, make: Callable[[], T]) -> T:
        """What this process makes, once each has made its own.

        Raises:
            Exception: what this process met with.
            VisitError: another could not make it.
        """
        made = error = None
        try:
            made = make()
        except Exception as reason:  # noqa: BLE001 - told to the others, then raised
            error = reason
        self._raise(error, self.every(None if error is None else str(error)))
        return cast("T", made)

    @contextmanager
    def sharing(self, store: Store, notes: list[str]) -> Iterator[None]:
        """After the block, once all are through it, each process is handed what it does not have.

        Args:
            store: where this process keeps what it finds.
            notes: of this process; those of the others are added.

        Raises:
            VisitError: another process failed.
        """
        error = None
        try:
            yield
        except Exception as reason:  # noqa: BLE001 - told to the others, then raised
            error = reason
        self._hand_round(store, notes, error)

    def _hand_round(self, store: Store, notes: list[str], error: Exception | None) -> None:
        words = self.every(None if error is None else f"{type(error).__name__}: {error}")
        here = store.done()
        told = self.every(here)
        common = set.intersection(*told)
        # A process says what not all have; on a disk that all share, that is nothing.
        mine = {n: found for n, found in store if n not in common} if here - common else {}
        for theirs, more in self.every((mine, notes)):
            new = {n: found for n, found in theirs.items() if n not in store.done()}
            if new:
                store.put(new)
            notes += [note for note in more if note not in notes]
        self._raise(error, words)

    def _raise(self, error: Exception | None, words: Sequence[str | None]) -> None:
        if error is not None:
            raise error
        for rank, said in enumerate(words):
            if said is not None:
                raise VisitError(
                    f"Process {rank} of {len(words)} could not do its share of the study ({said}): "
                    "mend that and ask again. With folder=, what the others found is kept."
                )


@contextmanager
def ranks_of(model: Module) -> Iterator[Ranks]:
    """The processes that a study is split over, for as long as it takes: those of the script's
    `torch.distributed`, or those that torchrun says there are.
    """
    told = {name: os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR")}
    ours = False
    if not distributed.is_available():
        yield Ranks()
        return
    if not distributed.is_initialized():
        if not all(told.values()) or int(told["WORLD_SIZE"]) < 2:
            yield Ranks()
            return
        distributed.init_process_group("gloo", timeout=PATIENCE)
        ours = True
    try:
        n_ranks, rank = distributed.get_world_size(), distributed.get_rank()
        if n_ranks == 1:
            yield Ranks()
            return
        together = _together(model)
        # Of its own: plain values travel by the processor, and shares take as long as they take.
        group = distributed.new_group(backend="gloo", timeout=PATIENCE)
        try:
            firsts = sorted(set(_said(group, min(together))))
            share = firsts.index(min(together))
            yield Ranks(share, len(firsts), rank == min(together), group)
        finally:
            distributed.destroy_process_group(group)
    finally:
        if ours:
            distributed.destroy_process_group()


def _said(group: Any, mine: int) -> list[int]:
    said = [0] * distributed.get_world_size(group)
    distributed.all_gather_object(said, mine, group=group)
    return said


def _together(model: Module) -> list[int]:
    """The processes that one copy of the model lies on, this one among them."""
    found = {distributed.get_rank()}
    for parameter in model.parameters():
        if is_sharded(parameter):
            mesh = parameter.device_mesh  # type: ignore[attr-defined]
            for dim in range(mesh.ndim):
                found.update(distributed.get_process_group_ranks(mesh.get_group(dim)))
    return sorted(found)
