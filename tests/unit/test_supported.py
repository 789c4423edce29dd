"""`vw.supported()`: the list of families that ships with the package."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import visit_widget as vw
from visit_widget.model.families import Family, Supported


def test_the_list_is_a_sequence_of_families():
    every = vw.supported()
    assert isinstance(every, Sequence)
    assert len(every) > 150
    assert all(isinstance(family, Family) for family in every)
    assert every[0] == next(iter(every))
    assert isinstance(every[:3], Supported)
    assert [f.name for f in every] == sorted(f.name for f in every)
    assert every[3] in every


def test_exact_and_refused_are_parts_of_it():
    every = vw.supported()
    assert {f.status for f in every.exact} == {"exact"}
    assert {f.status for f in every.refused} == {"refused"}
    assert len(every.exact) > len(every.refused) > 0
    assert {f.status for f in every} <= {"exact", "refused", "not built"}


def test_an_exact_family_has_its_errors_and_what_is_special():
    mixtral = vw.supported("mixtral")
    assert mixtral.exact
    assert "mixture of experts" in mixtral.parts
    assert mixtral.error["float64"] <= 1e-9
    assert mixtral.error["float32"] <= 1e-4
    assert str(mixtral).startswith("mixtral: exact, errors below 1e-12 in float64")
    assert vw.supported("gpt2").parts == ()


def test_a_refused_family_says_why():
    mamba = vw.supported("mamba")
    assert mamba.status == "refused"
    assert not mamba.exact
    assert "state-space" in mamba.note
    assert mamba.error == {}


def test_it_prints_as_a_table():
    every = vw.supported()
    *rows, _, last = str(every).splitlines()
    assert len(rows) == len(every)
    (llama,) = (r for r in rows if r.split()[1] == "llama")
    assert llama.startswith("✓ llama ")
    assert llama.endswith("grouped heads")
    assert any(r.startswith("✗ mamba ") for r in rows)
    assert f"{len(every.exact)} of these {len(every)} families" in last
    assert repr(every) == str(every)
    assert str(every[:0]).strip().startswith("0 of these 0")


def test_an_unknown_name_is_told_that_models_are_checked_when_traced():
    with pytest.raises(vw.VisitError, match=r"'lama'.*'llama'\? A model is checked when it is"):
        vw.supported("lama")
    with pytest.raises(vw.VisitError, match="checked when it is traced, whatever its family"):
        vw.supported("☃")


@pytest.mark.slow
def test_the_wheel_carries_the_list(tmp_path):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    subprocess.run([*command, root], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        shipped = archive.read("visit_widget/model/families.json")
    assert shipped == (root / "visit_widget" / "model" / "families.json").read_bytes()
