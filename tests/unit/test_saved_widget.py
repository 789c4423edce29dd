"""`show`: what was saved is read as it was written, also by a process without torch."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import visit_widget as vw
from tests.pages import data_in
from tests.tiny import make_speaker, tokenizer

# What a light install lacks.
HEAVY = ("torch", "transformers", "numpy", "safetensors", "tokenizers", "accelerate")


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def made(request: pytest.FixtureRequest) -> Iterator[vw.VisitWidget]:
    widget = vw.visit(
        make_speaker(request.param), tokenizer(), "the cat sat on the mat", foil=" dog", layers=[1]
    )
    yield widget
    widget.close()


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def by_id(parts: list[dict[str, Any]]) -> dict[Any, Any]:
    return {p.get("id") or (p["kind"], p["source"], p["target"]): p for p in parts}


def test_a_graph_is_taken_apart_as_the_kernel_sends_it(made, tmp_path):
    graph = made.flow([0, 1])
    file = tmp_path / "graph.json"
    file.write_text(graph.to_json(), encoding="utf-8")
    for given in (graph, graph.to_dict(), graph.to_json(), file, str(file)):
        data = plain(vw.show(given).saved)
        assert data["traits"]["expanded"] == [0, 1]
        for name in ("nodes", "edges"):
            assert by_id(data["traits"]["graph"][name]).keys() == by_id(made.graph[name]).keys()
            for layer in (0, 1):
                block = made._session.expand(layer)
                assert by_id(data["expand"][str(layer)][name]).keys() == by_id(block[name]).keys()
        whole = by_id(plain(graph.to_dict()["nodes"]))
        held = [*data["traits"]["graph"]["nodes"]]
        held += [n for block in data["expand"].values() for n in block["nodes"]]
        assert by_id(held) == whole
        assert data["traits"]["focus"] == graph.position
        assert data["traits"]["foil"]["text"] == graph.foil["text"]


def test_pages_and_books_are_read_as_they_were_written(made, tmp_path):
    page = made.save_html(tmp_path / "page.html", expand="all")
    book = made.save_myst(tmp_path / "book", expand="all")
    written = data_in(page.read_text("utf-8"))
    assert vw.show(page).saved == written == vw.show(book).saved
    assert vw.show(page.read_text("utf-8")).saved == written
    shown = vw.show(page)
    assert (shown.expanded, shown.view, shown.prompt) == ([1], "block", made.prompt)


def test_it_needs_neither_torch_nor_transformers(made, tmp_path):
    page = made.save_html(tmp_path / "page.html")
    code = f"""
import sys
for name in {HEAVY}: sys.modules[name] = None
import visit_widget as vw
shown = vw.show({str(page)!r})
try: vw.show("no such file.html")
except vw.VisitError as error: print(error)
print(len(shown.graph["nodes"]), sorted(n for n in {HEAVY} if sys.modules.get(n)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120,
        cwd=Path(vw.__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said, found = done.stdout.splitlines()
    assert "cannot be read: No such file" in said
    assert found == f"{len(made.graph['nodes'])} []"


def packed(content: bytes) -> str:
    text = base64.b64encode(content).decode()
    return f'<script type="application/gzip;base64" id="visit-data">{text}</script>'


@pytest.mark.parametrize(
    ("what", "said"),
    [
        pytest.param(3, "no graph in a int", id="number"),
        pytest.param("{}", "no flow graph", id="empty"),
        pytest.param("{", "no graph that can be read", id="cut"),
        pytest.param('{"a":' * 100_000, "no graph that can be read", id="deep"),
        pytest.param("<html></html>", "no graph that can be read", id="other-page"),
        pytest.param(packed(b"nothing"), "no graph that can be read", id="not-packed"),
        pytest.param(packed(gzip.compress(b"{}")[:-9]), "it was cut", id="cut-page"),
        pytest.param(
            packed(gzip.compress(b'{"traits": {"graph": {}}}')), "no flow graph", id="bare"
        ),
        pytest.param("no/such/file.html", "No such file", id="no-file"),
        pytest.param("a\0b", "cannot be read", id="no-path"),
    ],
)
def test_what_cannot_be_shown_is_said(what, said):
    with pytest.raises(vw.VisitError, match=said):
        vw.show(what)


def test_a_small_page_does_not_become_a_huge_one(monkeypatch):
    monkeypatch.setattr("visit_widget.viewer.read.MOST_BYTES", 1000)
    with pytest.raises(vw.VisitError, match="larger than any page"):
        vw.show(packed(gzip.compress(b" " * 2000)))


@pytest.mark.parametrize("change", [{"version": 2}, {"nodes": ["L0.pre"]}, {"tokens": None}])
def test_graphs_of_other_makes_are_refused(made, change):
    with pytest.raises(vw.VisitError, match=r"version 2|no lists of objects"):
        vw.show({**made.flow().to_dict(), **change})


def test_routes_alone_say_what_to_show(made):
    with pytest.raises(vw.VisitError, match="save_html"):
        vw.show(made.routes())
