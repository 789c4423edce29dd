"""Hostile text stays text in every file that Python writes, and no file that is read runs code."""

from __future__ import annotations

import json
import pickle
import random
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import visit_widget as vw
from tests.hostile import PAYLOADS, spoil
from tests.pages import data_in
from tests.tiny import make_model
from visit_widget.viewer.line import line
from visit_widget.viewer.myst import TEXT, myst_files
from visit_widget.viewer.page import iframe, page

FIXTURES = Path(__file__).parents[1] / "fixtures"
TRAITS = json.loads((FIXTURES / "traits.json").read_text("utf-8"))
words = st.one_of(st.sampled_from(PAYLOADS), st.text(max_size=200))


class Elements(HTMLParser):
    """What a page is made of: its elements and their attributes, and the title."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.title, self.srcdoc, self._in_title = "", "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))
        self._in_title = tag == "title"
        self.srcdoc = dict(attrs).get("srcdoc") or self.srcdoc

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False

    def handle_data(self, data: str) -> None:
        self.title += data if self._in_title else ""


PLAIN = page("a title", {"traits": {}})
MADE_OF = Elements(PLAIN).found


@settings(max_examples=60, deadline=None)
@given(title=words, prompt=words)
def test_a_page_is_made_of_the_same_elements_whatever_it_says(title, prompt):
    told = line(title, 120)
    data = {"traits": {"prompt": prompt, "graph": {"version": 1}}}
    text = page(told, data)
    read = Elements(text)
    assert read.found == MADE_OF
    assert read.title == told
    assert data_in(text) == data
    framed = Elements(iframe(text, None))
    assert [tag for tag, _ in framed.found] == ["div", "iframe", "script"]
    # All of it is one attribute; HTML itself has no NUL.
    assert framed.srcdoc == text


@settings(max_examples=60, deadline=None)
@given(prompt=words)
def test_a_directive_is_one_line_of_ascii_between_its_fences(prompt):
    text = myst_files({"traits": {"prompt": prompt}})[TEXT].decode("ascii")
    first, style, body, last, end = text.split("\n")
    assert (first, style) == (
        "```{anywidget} ./visit-widget.mjs",
        ":css: ./visit-widget.css",
    )
    assert (last, end) == ("```", "")
    assert json.loads(body) == {"saved": {"traits": {"prompt": prompt}}}
    assert not set("<>`&") & set(body) - {">"}


@settings(max_examples=200, deadline=None)
@given(text=words, most=st.integers(1, 90))
def test_a_line_is_short_and_all_of_it_is_seen(text, most):
    told = line(text, most)
    assert len(told) <= most
    assert not [c for c in told if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029"]


def test_a_long_text_is_cut():
    assert line("W" * 100_000, 20) == "W" * 19 + "…"


@pytest.mark.parametrize("seed", range(20))
def test_a_hostile_page_is_shown_again_as_data(seed):
    data = {"traits": spoil(TRAITS, random.Random(seed)), "expand": {}, "project": {}}
    shown = vw.show(page("a page", data))
    whole = json.loads(json.dumps(shown.saved, ensure_ascii=False).encode())
    assert whole["traits"]["graph"]["nodes"][3]["id"] == TRAITS["graph"]["nodes"][3]["id"]
    told = shown._repr_mimebundle_()[0]["text/plain"]
    assert len(told) < 300
    assert "\n" not in told
    assert not [c for c in told if unicodedata.category(c)[0] == "C"]


class Bomb:
    """What runs code as it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_no_file_that_is_read_runs_code(tmp_path, writer):
    model, mark = make_model("llama"), tmp_path / "mark"
    files = [tmp_path / name for name in ("a.pt", "a.safetensors", "a.html", "a.json", "a.npz")]
    for file in files:
        content = {"J": {0: Bomb(mark)}, "format": Bomb(mark)}
        if writer == "torch":
            torch.save(content, file)
        else:
            file.write_bytes(pickle.dumps(content))
    loaders: list[Callable[[Path], Any]] = [
        vw.load_trace, vw.show, lambda file: vw.load_trace(file, model),
        *(
            (lambda file, lens=lens: lens.load(file, model))
            for lens in (vw.CalibratedLens, vw.JacobianLens, vw.TunedLens)
        ),
    ]  # fmt: skip
    for load, file in product(loaders, files):
        with pytest.raises(vw.VisitError):
            load(file)
    assert not mark.exists()
    # The file would have.
    if writer == "pickle":
        pickle.loads(files[0].read_bytes())
    else:
        torch.load(files[0], weights_only=False)
    assert mark.exists()
