"""Figures from Python, drawn by a real Chromium: the very files that the browser's menu makes."""

from __future__ import annotations

import json
import struct
import tempfile
import xml.etree.ElementTree as ET
from math import floor
from pathlib import Path

import pytest

import visit_widget as vw
from tests.browser.steps import settle, widget_of
from tests.browser.test_figure import export
from tests.tiny import make_speaker, tokenizer
from tests.unit.test_figures import zombies

WIDTH = 1100


@pytest.fixture(scope="module")
def shown():
    prompt = "the cat sat on the mat"
    made = vw.visit(make_speaker("llama"), tokenizer(), prompt, foil=" dog", layers=[1])
    yield made
    made.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", ["block", "routes"])
def test_the_file_is_the_one_that_the_menu_saves(browser, new_page, shown, tmp_path, view, theme):
    before = json.dumps(shown.get_state(), default=str)
    drawn = shown.save_svg(tmp_path / "figure.svg", theme=theme, width=WIDTH, view=view)
    assert json.dumps(shown.get_state(), default=str) == before
    assert [file.name for file in tmp_path.iterdir()] == ["figure.svg"]

    saved = shown.save_html(tmp_path / "page.html")
    # From Python it is as tall as it needs: so is the page that it is compared with.
    page = new_page(viewport={"width": WIDTH, "height": 2400}, reduced_motion="reduce")
    page.goto(saved.as_uri())
    widget = widget_of(page)
    widget.locator('[data-role="layer"]').first.wait_for()
    if view == "routes":
        widget.get_by_role("button", name="Routes", exact=True).click()
        widget.locator("path.vw-route").first.wait_for()
    settle(widget)
    menu = export(page, theme=theme).read_text(encoding="utf-8")
    assert drawn.read_text(encoding="utf-8") == menu
    if view == "block":
        assert "Layer 1" in menu


def test_a_png_has_its_size_and_nothing_is_left_behind(browser, shown, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    svg = ET.parse(shown.save_svg(tmp_path / "a.svg", width=WIDTH)).getroot()
    png = shown.save_png(tmp_path / "a.png", width=WIDTH, scale=1.5).read_bytes()
    assert png.startswith(b"\x89PNG")
    size = struct.unpack(">II", png[16:24])
    # Halves go up, as they do in a browser.
    assert size == tuple(floor(1.5 * int(svg.get(side)) + 0.5) for side in ("width", "height"))
    assert list(folder.iterdir()) == []
    assert zombies() == []
    running = [
        process
        for process in Path("/proc").glob("[0-9]*/cmdline")
        if str(folder).encode() in _read(process)
    ]
    assert running == []


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has ended since
        return b""


def test_a_picture_too_large_for_a_png_says_what_to_do(browser, shown, tmp_path):
    with pytest.raises(vw.VisitError, match=r"pixels is too large for this browser: save an SVG"):
        shown.save_png(tmp_path / "a.png", width=8000, scale=8)
    assert list(tmp_path.iterdir()) == []
