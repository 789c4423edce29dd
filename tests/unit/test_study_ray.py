"""A study over a local Ray cluster of two workers is the study of one process."""

from __future__ import annotations

import os

import pytest

import visit_widget as vw
from tests.tiny import make_model
from tests.unit.test_study import PROMPTS, close, lengths

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "visit-widget[ray]"')
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    # What is imported here is imported there too.
    root = os.fspath(vw.__file__).rsplit("/visit_widget/", 1)[0]
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 2**20,
        runtime_env={"env_vars": {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}},
    )  # fmt: skip
    yield tmp_path_factory.mktemp("ray")
    ray.shutdown()


def dies_once(trace, folder):
    """The first worker that meets the prompt of one token dies of it."""
    mark = os.path.join(folder, "died")  # noqa: PTH118
    if len(trace) == 1 and not os.path.exists(mark):  # noqa: PTH110
        with open(mark, "w"):  # noqa: PTH123
            pass
        os._exit(1)
    return lengths(trace)


def test_two_workers_are_one_and_a_death_costs_a_batch(cluster):
    from functools import partial

    model = make_model("llama", implementation="sdpa")
    expected = vw.study(model, None, PROMPTS, [lengths], progress=False)
    findings = {"lengths": partial(dies_once, folder=str(cluster))}
    found = vw.study(
        model, None, PROMPTS, findings, engine="ray", batch_size=2, folder=cluster / "study",
        progress=False,
    )  # fmt: skip
    assert (cluster / "died").exists()
    close(found["lengths"], expected["lengths"])
    close(found.prompts, expected.prompts)
