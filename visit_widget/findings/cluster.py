"""Batches of a study mapped over a Ray cluster by Ray Data: one model an actor, one batch a block.

A worker that dies is started again and handed the batch that it was at: nothing else is lost.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..model import VisitError
from .facts import Fact
from .store import Found

if TYPE_CHECKING:
    from .corpus import Worker

# How often a batch is handed out again, whose worker died, before the study gives up.
ATTEMPTS = 3


class Actor:
    """What runs on a worker: a copy of the study's `Worker`.

    Args:
        shared: where Ray keeps the worker that is copied, in a list: Ray would fetch it otherwise.
    """

    def __init__(self, shared: list[Any]) -> None:
        import ray

        self.worker: Worker = ray.get(shared[0])

    def __call__(self, block: Mapping[str, Any]) -> dict[str, list[bytes]]:
        """What the findings give on the batches of a block, and what there is to say of it.

        What goes wrong with a prompt goes back as it is, for Ray Data would wrap it.
        """
        said = []
        for packed in block["batch"]:
            batch: Mapping[int, Fact | list[int]] = pickle.loads(packed)
            try:
                answer: Any = self.worker(batch), self.worker.notes
            except VisitError as error:
                answer = error
            said.append(pickle.dumps(answer))
        return {"said": said}


def over_ray(
    worker: Worker,
    facts: Sequence[Fact | list[int]],
    batches: Sequence[Sequence[int]],
    n_workers: int,
) -> Iterator[dict[int, Found]]:
    """What each batch gives, as soon as it is there.

    Args:
        worker: what runs a batch; copied to each actor once, model and all.
        facts: all prompts.
        batches: their numbers, by batch.
        n_workers: actors. Each gets a GPU where the model is on one, else a CPU.

    Raises:
        VisitError: Ray Data is not installed; or a prompt cannot be used.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise VisitError(
            'engine="ray" needs Ray Data: pip install "visit-widget[ray]", or leave engine= out.'
        ) from error
    if not batches:
        return
    device = next(worker.model.parameters()).device.type
    needs: dict[str, Any] = {"num_gpus": 1} if device == "cuda" else {"num_cpus": 1}
    with _running(ray), _quiet(ray.data.DataContext.get_current()):
        shared = ray.put(worker)
        rows = [{"batch": pickle.dumps({n: facts[n] for n in batch})} for batch in batches]
        # A block is what is handed out, and handed out again.
        found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Actor,
            fn_constructor_args=([shared],),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(
                size=max(1, min(n_workers, len(rows))), max_tasks_in_flight_per_actor=1
            ),
            max_restarts=ATTEMPTS,
            max_task_retries=ATTEMPTS,
            **needs,
        )
        for row in found.iter_rows():
            answer = pickle.loads(row["said"])
            if isinstance(answer, VisitError):
                raise answer
            results, notes = answer
            worker.notes += [note for note in notes if note not in worker.notes]
            yield results


@contextmanager
def _running(ray: Any) -> Iterator[None]:
    """The cluster that the script is in, or that RAY_ADDRESS names; else one on this machine."""
    ours = not ray.is_initialized()
    if ours:
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _quiet(context: Any) -> Iterator[None]:
    """Without bars of Ray Data's own, and no batch waits until all are there."""
    before = context.enable_progress_bars, context.execution_options.preserve_order
    context.enable_progress_bars, context.execution_options.preserve_order = False, False
    try:
        yield
    finally:
        context.enable_progress_bars, context.execution_options.preserve_order = before
