"""The notebooks as GitHub shows them: Markdown and stored outputs, and no script runs."""

from __future__ import annotations

import html
from pathlib import Path

import mistune
import nbformat
import pytest
from playwright.sync_api import expect

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
# What it takes of an output, the best first.
KINDS = ("text/html", "image/svg+xml", "image/png", "text/plain")
STYLE = """
body { margin: 24px auto; width: 980px; font: 14px/1.5 system-ui, sans-serif; }
pre { background: #f6f8fa; padding: 8px; overflow-x: auto; font-size: 12px; }
pre.out { background: none; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; } td, th { border: 1px solid #d0d7de; padding: 2px 8px; }
"""


def on_github(path: Path) -> str:
    """A page of the notebook. No cell is run, no style sheet is let in, and no script."""
    parts = []
    markdown = mistune.create_markdown(escape=True, plugins=["table"])
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(str(markdown(cell.source)))
            continue
        parts.append(f"<pre>{html.escape(cell.source)}</pre>")
        parts += [put_out(output) for output in cell.outputs]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        "<!doctype html><meta charset=utf-8>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<style>{STYLE}</style>{''.join(parts)}"
    )


def put_out(output) -> str:
    if output.output_type == "stream":
        return f'<pre class="out">{html.escape(output.text)}</pre>'
    kind = next((kind for kind in KINDS if kind in output.data), None)
    if kind is None:
        return ""
    content = output.data[kind]
    if kind == "image/png":
        width = output.metadata.get(kind, {}).get("width", "")
        words = html.escape(output.data.get("text/plain", ""))
        return f'<img width="{width}" alt="{words}" src="data:image/png;base64,{content}">'
    if kind == "text/plain":
        return f'<pre class="out">{html.escape(content)}</pre>'
    return content


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_is_seen(path, new_page, screenshot, tmp_path):
    if not any(cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells):
        pytest.skip(f"{path.stem} has not been run: its model is on the hub")
    file = tmp_path / "github.html"
    file.write_text(on_github(path), encoding="utf-8")
    page = new_page(viewport={"width": 1200, "height": 900}, java_script_enabled=False)
    page.goto(file.as_uri())
    pictures = page.locator("img")
    assert pictures.count() >= 1
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        box = picture.bounding_box()
        # As wide as the text at most, and a picture, not the mark of one that is missing.
        assert box["width"] <= 980
        assert box["width"] > 300
        assert box["height"] > 100
    expect(page.get_by_text("Error displaying widget")).to_have_count(0)
    page.screenshot(path=tmp_path / "all.png", full_page=True)
    screenshot(page, f"github-{path.stem}")
