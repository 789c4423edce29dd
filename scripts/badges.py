"""Writes the badges of the README, docs/images/badge-*.svg, from what pyproject.toml says: no
service has to be asked, and a test sees that they are true.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
# Pixels of a character of 11 px sans-serif, on average; the text is set to the width given.
CHARACTER, PADDING, HEIGHT = 6.4, 7, 20
GREY, BLUE = "#4b5563", "#1a5fa8"


def badges() -> dict[str, str]:
    """{file name: SVG}."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    versions = re.findall(r"Python :: (3\.\d+)\"", project)
    bounds = dict(re.findall(r'^  "(torch|transformers)>=([\d.]+)"', project, re.MULTILINE))
    said = {
        "licence": one(r'^license = "(.+)"', project),
        "python": f"{versions[0]} – {versions[-1]}",
        **{name: f"≥ {bounds[name]}" for name in ("transformers", "torch")},
    }
    return {f"badge-{name}.svg": drawn(name, value) for name, value in said.items()}


def one(pattern: str, text: str) -> str:
    """The only place where a pattern is found."""
    (found,) = re.findall(pattern, text, re.MULTILINE)
    return str(found)


def drawn(name: str, value: str) -> str:
    """A badge: a name on grey, a value on blue."""
    widths = [round(len(text) * CHARACTER) + 2 * PADDING for text in (name, value)]
    whole = sum(widths)
    texts = "".join(
        f'<text x="{start + PADDING}" y="14" textLength="{width - 2 * PADDING}" '
        f'lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
        for text, start, width in zip((name, value), (0, widths[0]), widths, strict=True)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(name)}: {escape(value)}">'
        f'<clipPath id="r"><rect width="{whole}" height="{HEIGHT}" rx="4"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{widths[0]}" height="{HEIGHT}" fill="{GREY}"/>'
        f'<rect x="{widths[0]}" width="{widths[1]}" height="{HEIGHT}" fill="{BLUE}"/></g>'
        f'<g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">{texts}</g>'
        "</svg>\n"
    )


def main() -> None:
    """Writes them."""
    for name, svg in badges().items():
        (IMAGES / name).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
