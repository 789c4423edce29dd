"""Batches of a study mapped over a Ray cluster: one model an actor.

Ray starts actors again that died, and hands them the batch that they were at: nothing else is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..model import VisitError
from .facts import Fact
from .store import Found

if TYPE_CHECKING:
    from .corpus import Worker

# How often an actor is started again, and a batch handed out again, before the study gives up.
ATTEMPTS = 3


class Actor:
    """What runs on a worker: a copy of the study's `Worker`."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def run(self, batch: Mapping[int, Fact | list[int]]) -> tuple[dict[int, Found], list[str]]:
        """What the findings give on a batch, and what there is to say of how it went."""
        return self.worker(batch), self.worker.notes


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
        VisitError: Ray is not installed.
    """
    try:
        import ray
        from ray.util import ActorPool
    except ImportError as error:
        raise VisitError(
            'engine="ray" needs Ray: pip install "visit-widget[ray]", or leave engine= out.'
        ) from error
    ours = not ray.is_initialized()
    if ours:  # the cluster that RAY_ADDRESS names, or this machine
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        device = next(worker.model.parameters()).device.type
        needs: dict[str, Any] = {"num_gpus": 1} if device == "cuda" else {"num_cpus": 1}
        remote = ray.remote(Actor).options(
            max_restarts=ATTEMPTS, max_task_retries=ATTEMPTS, **needs
        )
        shared = ray.put(worker)
        actors = [remote.remote(shared) for _ in range(max(1, min(n_workers, len(batches))))]
        given = ({n: facts[n] for n in batch} for batch in batches)
        pool = ActorPool(actors)
        for found, notes in pool.map_unordered(lambda a, batch: a.run.remote(batch), given):
            worker.notes += [note for note in notes if note not in worker.notes]
            yield found
        for actor in actors:
            ray.kill(actor)
    finally:
        if ours:
            ray.shutdown()
