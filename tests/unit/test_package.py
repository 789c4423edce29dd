"""What is shipped: the wheel carries the front end and imports elsewhere; names mean one thing."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import visit_widget

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "visit_widget" / "static"
# Bytes of the script and its style sheet together.
BUNDLE_BUDGET = 300_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
        text=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory, wheel) -> Path:
    """A new environment with the wheel in it, and this environment's packages behind it."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / Path(sys.executable).name
    places = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    site_packages = Path(places.stdout.strip())
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--python", python, "install", "--no-deps", wheel],
        check=True,
    )
    # A plain path, so that the .pth files there, and with them the editable install, are not read.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


def run_clean(python: Path, folder: Path, code: str) -> str:
    done = subprocess.run(
        [python, "-I", "-c", code], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_wheel_carries_the_bundle(wheel):
    with zipfile.ZipFile(wheel) as archive:
        for name in ("widget.js", "widget.css"):
            shipped = archive.read(f"visit_widget/static/{name}")
            assert shipped == (STATIC / name).read_bytes()
            assert shipped.strip(), f"{name} is empty: run 'make bundle'"


def test_the_wheel_carries_the_facts(wheel):
    with zipfile.ZipFile(wheel) as archive:
        shipped = archive.read("visit_widget/findings/facts.json")
    assert shipped == (ROOT / "visit_widget" / "findings" / "facts.json").read_bytes()


def test_the_wheel_carries_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"visit_widget"}
    assert [name for name in names if "__pycache__" in name or name.endswith(".map")] == []
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_bundle_is_within_its_budget():
    sizes = {name: (STATIC / name).stat().st_size for name in ("widget.js", "widget.css")}
    print(sizes)
    assert sum(sizes.values()) <= BUNDLE_BUDGET


@pytest.mark.slow
def test_the_wheel_works_in_a_clean_environment(clean_python, tmp_path):
    code = (
        "import visit_widget, anywidget\n"
        "from importlib.metadata import version\n"
        "assert version('visit-widget') == visit_widget.__version__\n"
        "assert visit_widget.VisitWidget._esm\n"
        "print(visit_widget.__file__)"
    )
    where = run_clean(clean_python, tmp_path, code)
    assert Path(where).is_relative_to(clean_python.parents[1])


@pytest.mark.slow
def test_the_wheel_brings_its_command(clean_python):
    command = clean_python.parent / "visit-widget"
    done = subprocess.run([command, "--help"], check=True, capture_output=True, text=True)
    assert "--target" in done.stdout


def test_the_version_is_the_same_everywhere(wheel):
    assert wheel.name.split("-")[1] == visit_widget.__version__
    package_json = (ROOT / "package.json").read_text(encoding="utf-8")
    assert f'"version": "{visit_widget.__version__}"' in package_json


@pytest.mark.parametrize("first", ["visit", "FlowGraph", "LogitLens", "load_demo"])
def test_public_names_mean_the_same_whatever_is_used_first(first):
    code = (
        "import visit_widget as vw\n"
        f"vw.{first}\n"
        "assert callable(vw.trace) and callable(vw.visit), vw.trace\n"
        "missing = [name for name in vw.__all__ if not hasattr(vw, name)]\n"
        "assert not missing, missing"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_no_file_names_a_machine_or_a_registry():
    """A lock file or a constraint must work elsewhere too."""
    for name in ("package-lock.json", "constraints.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        addresses = [line for line in text.splitlines() if "://" in line and "resolved" in line]
        hosts = {line.split("://")[1].split("/")[0] for line in addresses}
        assert hosts <= {"registry.npmjs.org"}
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")
