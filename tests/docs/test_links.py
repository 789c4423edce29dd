"""Every link of the README, the documentation and the notebooks leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import MADE, NOTEBOOKS, PAGES, ROOT, anchors_of, links_of

SOURCES = [*PAGES, *NOTEBOOKS]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def wrong_with(link: str, page: Path) -> str:
    """What is wrong with a link; nothing, if it leads somewhere."""
    parts = urlsplit(link)
    if parts.scheme:
        known = parts.scheme == "https" and re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc)
        return "" if known else "is no address that can be opened"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_relative_to(MADE):
        return ""
    if not target.is_relative_to(ROOT):
        return "leaves the repository"
    if not target.exists():
        return "leads to a file that is not there"
    if parts.fragment and target.suffix == ".md" and parts.fragment not in anchors_of(target):
        return "names a heading that is not there"
    return ""


def test_there_are_pages():
    assert {"README.md", "AGENTS.md", "docs/index.md", "docs/tasks/what-if.md"} <= set(
        map(name, PAGES)
    )


@pytest.mark.parametrize("page", SOURCES, ids=name)
def test_links_lead_somewhere(page):
    wrong = [f"{link} {fault}" for link in links_of(page) if (fault := wrong_with(link, page))]
    assert wrong == []


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("nowhere.md", "leads to a file"),
        ("docs/measures.md#no-such-heading", "names a heading"),
        ("#no-such-heading", "names a heading"),
        ("../../../etc/hosts", "leaves the repository"),
        ("http://insecure.example", "is no address"),
        ("docs/measures.md#how-far-the-numbers-foretell-an-ablation", ""),
        ("LICENSE", ""),
    ],
)
def test_wrong_links_are_found(link, fault):
    assert wrong_with(link, ROOT / "README.md").startswith(fault)
    assert bool(wrong_with(link, ROOT / "README.md")) == bool(fault)


def test_every_kind_of_link_is_read(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        'A [link](a.md), [one with a title](b.md "B"), [`code`](c.md#d), a picture ![x](d.png),\n'
        '<img alt="" src="e.png">, [brackets [in it]](f.md); not `[g](g.md)`.\n'
        "[![i](i.svg)](j.md)\n\n"
        "```python\nh = [1](h.md)\n```\n",
        encoding="utf-8",
    )
    wanted = ["a.md", "b.md", "c.md#d", "d.png", "e.png", "f.md", "i.svg", "j.md"]
    assert links_of(page) == wanted


def test_anchors_are_those_of_github(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# What's `new`?\n\n## A, b & c\n\n## A, b & c\n\n```\n# no heading\n```\n", "utf-8"
    )
    assert anchors_of(page) == {"whats-new", "a-b--c", "a-b--c-1"}
