"""The graph in pages that are made of notebooks: nbconvert's, nbviewer's, Quarto's."""

from __future__ import annotations

import re
from collections.abc import Callable

import nbformat
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Page, expect

import visit_widget as vw
from tests.browser.test_servers import open_a_head
from tests.tiny import make_speaker, tokenizer

HEIGHTS = "() => [...document.querySelectorAll('iframe, #visit')].map((e) => e.offsetHeight)"


@pytest.fixture(scope="module")
def notebook():
    """A widget with its picture, as JupyterLab stores them, and a frame."""
    widget = vw.visit(make_speaker("llama"), tokenizer(), "the cat sat on the mat")
    data, _ = widget._picture_output()
    data["image/png"] = (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mP8/x8AAwMCAO+ip1sAAAAASUVORK5CYII="
    )
    new = nbformat.v4.new_output
    outputs = [
        new("display_data", data=widget._repr_mimebundle_()[0]),
        new("display_data", data=data, metadata={"image/png": {"width": 640, "height": 400}}),
        new("display_data", data={"text/html": widget.to_iframe(expand="all").data}),
    ]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("widget", outputs=outputs)])


def nbconvert(notebook) -> str:
    """`jupyter nbconvert --to html`."""
    return HTMLExporter().from_notebook_node(notebook)[0]


def nbviewer(notebook) -> str:
    """nbviewer puts what nbconvert's basic template makes into a page of its own."""
    body = HTMLExporter(template_name="basic").from_notebook_node(notebook)[0]
    return f"<!doctype html><meta charset=utf-8><div style='max-width:1140px'>{body}</div>"


def quarto(notebook) -> str:
    """What Quarto does with HTML outputs: raw blocks of Markdown between fences, which pandoc
    leaves as they are, in a column of the page; with Bootstrap's rules for frames.
    """
    raw = notebook.cells[0].outputs[-1].data["text/html"]
    fenced = f"```{{=html}}\n{raw}\n```\n"
    inside = re.fullmatch(r"(`{3,})\{=html\}\n(.*?)\n\1\n", fenced, re.DOTALL)
    assert inside is not None
    assert inside[2] == raw
    return (
        "<!doctype html><html><head><meta charset=utf-8><style>"
        "*, ::before, ::after { box-sizing: border-box } img, iframe { max-width: 100% }"
        "iframe { vertical-align: middle } main { width: 900px; margin: auto; line-height: 1.7 }"
        ".cell-output-display { overflow-x: auto }</style></head><body><main class=content>"
        f'<div class="cell-output cell-output-display">{inside[2]}</div></main></body></html>'
    )


@pytest.fixture
def alone(browser):
    """A page without network: nbconvert's asks for mathematics and the like on public servers."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.route(re.compile("^https?:"), lambda route: route.abort())
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("host", [nbconvert, nbviewer, quarto])
def test_a_frame_keeps_the_interaction_and_is_as_tall_as_it_needs_to_be(
    host: Callable, notebook, alone: Page, screenshot, tmp_path
):
    file = tmp_path / "page.html"
    file.write_text(host(notebook), encoding="utf-8")
    alone.goto(file.as_uri())
    alone.locator("iframe").scroll_into_view_if_needed()
    (_, frame) = alone.frames
    inside = frame.locator(".visit-widget")
    inside.wait_for()
    open_a_head(inside, 1)
    screenshot(alone, f"page-{host.__name__}")
    alone.wait_for_timeout(300)
    (tall,), (found,) = frame.evaluate(HEIGHTS), alone.evaluate(HEIGHTS)
    assert abs(found - tall) <= 1
    assert found not in (0, 150)
    # It is as wide as the column, and nothing scrolls sideways.
    assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")

    if host is not quarto:
        # The widget itself needs a kernel: its picture stands for it, once, and no error.
        expect(alone.locator("img[src^='data:image/png']")).to_have_count(1)
        expect(alone.get_by_text("Error displaying widget")).to_have_count(0)
