"""Every family of causal language models that transformers has: traced exactly, or refused.

`sweep.examine` does the work; here its findings are held against `families.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from tests.families.configs import CANNOT, FAMILIES, VARIANTS
from tests.families.page import render
from tests.families.sweep import NAMES, bucket, examine

ROOT = Path(__file__).parents[2]
RECORDED: dict[str, Any] = json.loads(
    (ROOT / "visit_widget" / "model" / "families.json").read_text("utf-8")
)
KNOWN: dict[str, Any] = {**RECORDED["families"], **RECORDED["variants"]}
AGAIN = "run `make families`, look at what changed, and commit it"
same_transformers = pytest.mark.skipif(
    RECORDED["transformers"] != transformers.__version__,
    reason=f"the list is of transformers {RECORDED['transformers']}",
)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CANNOT])
def test_a_family_is_exact_or_refused(name):
    found = examine(name)
    assert found.problems == [], f"{name} is neither exact nor refused"
    if name in KNOWN and RECORDED["transformers"] == transformers.__version__:
        recorded = KNOWN[name]["status"]
        assert found.status == recorded, (
            f"{name} was {recorded} and is {found.status} now ({found.note}): {AGAIN}"
        )


@same_transformers
def test_the_list_has_every_family():
    assert set(RECORDED["families"]) == set(FAMILIES), AGAIN
    assert set(RECORDED["variants"]) == set(VARIANTS), AGAIN


def test_the_list_has_nothing_broken():
    assert [name for name, entry in KNOWN.items() if entry["status"] == "broken"] == []


def test_whoever_is_refused_is_told_why():
    for name, entry in KNOWN.items():
        assert entry["status"] == "exact" or len(entry["note"].split()) > 3, name


def test_the_page_says_what_the_list_says():
    page = (ROOT / "docs" / "families.md").read_text("utf-8")
    assert page == render(RECORDED), AGAIN


def test_errors_are_written_as_what_they_stay_below():
    assert [bucket(e) for e in (0.0, 3e-16, 2e-7, 1e-6)] == [1e-12, 1e-12, 1e-6, 1e-6]
