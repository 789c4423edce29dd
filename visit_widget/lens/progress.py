"""How far a fit is, for a person or for a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with (done, total).
Told = Callable[[int, int], None]
Progress = bool | Told


@contextmanager
def told(progress: Progress, total: int, what: str, unit: str = "passage") -> Iterator[Told]:
    """What to call with how many are done.

    Args:
        progress: True for a bar, False for silence, or what is told instead.
        total: how many there are.
        what: in words.
        unit: what is counted.
    """
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda _done, _total: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=what, unit=unit) as bar:

        def move(done: int, _total: int) -> None:
            bar.update(done - bar.n)

        yield move
