"""What stands in the Markdown of the repository: links, headings, snippets."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("js/**/*.md")])
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Made by the build: links to them are tested on the built site.
MADE = ROOT / "docs" / "api"

_FENCE = re.compile(
    r"^ *(?P<fence>```+)(?P<kind>[^\n]*)\n(?P<body>.*?)^ *(?P=fence)$", re.MULTILINE | re.DOTALL
)
_TEXT = r"!?\[(?:[^\[\]]|\[[^\]]*\](?:\([^)]*\))?)*\]"
_LINK = re.compile(_TEXT + r"\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
_ATTRIBUTE = re.compile(r"\b(?:src|srcset|href)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->\s*\Z")
_MODEL = re.compile(r"<!-- model: (.+) -->\s*\Z")


@dataclass(frozen=True)
class Snippet:
    """A block of Python: where it begins, why it is not run ("" if it is), for which model."""

    page: Path
    line: int
    code: str
    not_run: str
    model: str

    @property
    def python(self) -> str:
        """The code without a notebook's own commands."""
        lines = self.code.splitlines()
        return "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines) + "\n"


def text_of(path: Path) -> str:
    """A page's text; of a notebook, its Markdown cells."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def without_code(text: str) -> str:
    """The text without code, where brackets are no links."""
    return re.sub(r"`[^`\n]*`", "`code`", _FENCE.sub("", text))


def links_of(path: Path) -> list[str]:
    """Where a page's links and pictures lead to, as they are written."""
    text = without_code(text_of(path))
    found = {*_LINK.findall(text), *_PICTURE.findall(text), *_ATTRIBUTE.findall(text)}
    return sorted(map(html.unescape, found))


def anchors_of(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    anchors: dict[str, int] = {}
    for heading in _HEADING.findall(_FENCE.sub("", text_of(path))):
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        count = anchors.get(slug, -1) + 1
        anchors[slug] = count
        if count:
            anchors[f"{slug}-{count}"] = 0
    return set(anchors)


def snippets_of(path: Path) -> Iterator[Snippet]:
    """The blocks of Python in a page."""
    text = text_of(path)
    for found in _FENCE.finditer(text):
        if found["kind"].strip() != "python":
            continue
        before = text[: found.start()]
        not_run, model = _NOT_RUN.search(before), _MODEL.search(before)
        yield Snippet(
            path,
            before.count("\n") + 2,
            found["body"],
            not_run[1] if not_run else "",
            model[1] if model else "",
        )
