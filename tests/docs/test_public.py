"""What the project says of itself in public is one thing everywhere."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

import visit_widget

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import badges  # noqa: E402

CFF = (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_badges_are_what_the_project_says():
    made = badges.badges()
    assert len(made) == 4
    for name, svg in made.items():
        assert (ROOT / "docs" / "images" / name).read_text(encoding="utf-8") == svg, (
            f"{name} is old: run scripts/badges.py"
        )
        assert f"docs/images/{name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_moving_picture_is_small_and_moves():
    image = pytest.importorskip("PIL.Image")
    path = ROOT / "docs" / "images" / "walk.webp"
    assert path.stat().st_size < 2_000_000
    with image.open(path) as picture:
        assert picture.n_frames > 20


def test_the_citation_is_well_formed():
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load(CFF)
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "license"} <= cited.keys()
    assert cited["version"] == visit_widget.__version__
    (paper,) = cited["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Katz", "Belinkov"]
    assert re.fullmatch(r"10\.\d{4,}/\S+", paper["doi"])
    assert paper["year"] == 2023


def test_the_version_is_the_same_everywhere():
    lock = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = {
        lock["version"],
        lock["packages"][""]["version"],
        *re.findall(r'^version = "(.+)"', project, re.MULTILINE),
        json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["version"],
    }
    assert found == {visit_widget.__version__}


def test_ci_runs_targets_that_are_there():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    run = set(re.findall(r"- run: make ([\w-]+)(?!\$)$", workflow, re.MULTILINE))
    assert run == {"test", "dist", "test-docs"}
    versions = set(re.findall(r"versions: (\w+)", workflow))
    assert versions == {"oldest", "newest"}
    assert run | {f"test-{version}" for version in versions} <= targets


def test_the_reference_has_every_public_name():
    import api_pages

    rooms = [page[2] for page in api_pages.PAGES.values()]
    listed = [name for of in rooms for _, name in api_pages.names(of)]
    assert set(visit_widget.__all__) <= set(listed), "a room is on no page of scripts/api_pages.py"
    assert len(listed) == len(set(listed))


def test_docstrings_become_markdown():
    import api_pages

    def told():
        """One line.

        More of it.

        Args:
            a: what it is,
                and more.
            *others: these.

        Returns:
            (T,) numbers.

        Raises:
            ValueError: never.

        Example:
            >>> told()
        """

    assert api_pages._told(told).split("\n\n") == [
        "One line.",
        "More of it.",
        "**Arguments**",
        "- `a`: what it is,\n  and more.\n- `*others`: these.",
        "**Returns**",
        "(T,) numbers.",
        "**Raises**",
        "- `ValueError`: never.",
        "**Example**",
        "```python\n>>> told()\n```",
    ]
