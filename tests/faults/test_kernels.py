"""Faults of kernels, in short; `make soak` has them in numbers (docs/reliability.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.kernels import Kernel, kernel_in
from tests.faults.scenarios import SCENARIOS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    root = str(Path(__file__).parents[2])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, before]))
    with kernel_in(tmp_path_factory.mktemp("kernels")) as started:
        yield started
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_must_hold_holds(kernel, name):
    scenario, _, short = SCENARIOS[name]
    kernel.widgets.clear()
    assert scenario(kernel, **short)
