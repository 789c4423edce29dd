"""The widget in marimo: an app that is run, a notebook that is edited, a page that is exported."""

from __future__ import annotations

import mimetypes
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as NotThereError

from tests.browser.lab import environment, free_port, served
from tests.browser.test_servers import PATIENCE, open_a_head

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("patient")]

# Wrapped, so that other cells follow it; as it is; and as a page of its own.
APP = """
import marimo

app = marimo.App(width="full")


@app.cell
def _():
    import marimo as mo

    import visit_widget as vw
    from tests.tiny import make_speaker, tokenizer

    model, words = make_speaker("llama"), tokenizer()
    return mo, model, vw, words


@app.cell
def _(mo, model, vw, words):
    widget = mo.ui.anywidget(vw.visit(model, words, "the cat sat on the mat"))
    widget
    return (widget,)


@app.cell
def _(mo, widget):
    mo.md(f"Python has {widget.value['expanded']} and {widget.selection}.")
    return


@app.cell
def _(model, vw, words):
    plain = vw.visit(model, words, "a dog ran to the city")
    plain
    return (plain,)
"""
FRAME = """

@app.cell
def _(plain):
    plain.to_iframe(expand="all")
    return
"""


@contextmanager
def marimo(mode: str, file: Path, workplace: Path) -> Iterator[str]:
    """Runs or edits the file; gives the address."""
    workplace.mkdir()
    here = f"http://127.0.0.1:{(port := free_port())}"
    command = [
        *(sys.executable, "-m", "marimo", "--quiet", mode, "--headless", "--no-token"),
        "--no-sandbox",
        *(("--skip-update-check",) if mode == "edit" else ()),
        *("--host", "127.0.0.1", "--port", str(port), str(file)),
    ]
    with served(command, f"{here}/health", workplace):
        yield here


@pytest.fixture
def app(tmp_path) -> Path:
    file = tmp_path / "app.py"
    file.write_text(APP, encoding="utf-8")
    return file


def open_app(new_page, address: str) -> Page:
    page = new_page(viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    return page


def run_all(page: Page, widget: Locator) -> None:
    """Runs what has not been run; the button does nothing until the kernel is there."""
    button = page.get_by_test_id("chrome-controls-bottom-right").get_by_test_id("run-button")
    for _ in range(PATIENCE // 5_000):
        button.click()
        with suppress(NotThereError):
            return widget.wait_for(timeout=5_000)
    raise AssertionError("marimo runs nothing")


def python_has(page: Page, layers: list[int], selection: list[str]) -> None:
    text = f"Python has {layers} and {selection}."
    expect(page.get_by_text(text, exact=True)).to_be_visible()


def test_an_app_draws_it_and_answers_and_python_follows(app, new_page, screenshot, tmp_path):
    with marimo("run", app, tmp_path / "marimo") as address:
        page = open_app(new_page, address)
        wrapped, plain = (page.locator(".visit-widget").nth(i) for i in (0, 1))
        python_has(page, [], [])
        head = open_a_head(wrapped, 1)
        python_has(page, [1], [head])
        screenshot(page, "marimo-run")
        open_a_head(plain, 2)
        # Two widgets are two widgets.
        python_has(page, [1], [head])
        expect(wrapped.get_by_role("alert").or_(plain.get_by_role("alert"))).to_have_count(0)


@pytest.mark.hosts
def test_a_notebook_lives_through_a_rerun_and_a_reload(app, new_page, screenshot, tmp_path):
    with marimo("edit", app, tmp_path / "marimo") as address:
        page = open_app(new_page, address)
        wrapped = page.locator(".visit-widget").first
        run_all(page, wrapped)
        head = open_a_head(wrapped, 1)
        python_has(page, [1], [head])

        page.get_by_test_id("cell-editor").nth(1).click()
        page.keyboard.press("Control+Enter")
        python_has(page, [], [])
        expect(wrapped.locator('[data-kind="head"]')).to_have_count(0)
        head = open_a_head(wrapped, 0)
        python_has(page, [0], [head])
        wrapped.evaluate("(e) => e.scrollIntoView()")
        screenshot(page, "marimo-edit")

        page.goto("about:blank")
        page.goto(address)
        python_has(page, [0], [head])
        expect(wrapped.locator(f'[data-node="{head}"]').first).to_be_visible()
        second = open_a_head(wrapped, 2)
        python_has(page, [0, 2], [second])
        expect(wrapped.get_by_role("alert")).to_have_count(0)


@pytest.mark.hosts
def test_an_exported_page_shows_the_first_frame_and_a_frame_keeps_the_rest(
    app, browser, screenshot, tmp_path
):
    app.write_text(APP + FRAME, encoding="utf-8")
    file, workplace = tmp_path / "app.html", tmp_path / "marimo"
    workplace.mkdir()
    subprocess.run(
        [
            *(sys.executable, "-m", "marimo", "export", "html", str(app), "-o", str(file)),
            "--no-sandbox",
        ],
        env=environment(workplace), check=True, capture_output=True,
    )  # fmt: skip

    # The page asks for marimo's own front end on a public server: here it is the installed one.
    spec = find_spec("marimo")
    assert spec is not None
    static = Path(spec.origin).parent / "_static"
    context = browser.new_context(viewport={"width": 1440, "height": 1000})

    def from_the_package(route) -> None:
        name = route.request.url.partition("/dist/")[2].partition("?")[0]
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        headers = {"access-control-allow-origin": "*", "content-type": kind}
        if name and (static / name).is_file():
            route.fulfill(path=static / name, headers=headers)
        else:
            route.abort()

    context.route(re.compile("^https:"), from_the_package)
    page = context.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.set_default_timeout(PATIENCE)
    page.goto(file.as_uri())

    first = page.locator(".visit-widget").first
    expect(first.locator('[data-role="layer"][data-layer="1"]')).to_be_visible()
    screenshot(page, "marimo-export")
    first.locator('[data-role="layer"][data-layer="1"]').click()
    expect(first).to_contain_text("run this cell again to look further")

    inside = page.locator("iframe").last.content_frame.locator(".visit-widget")
    open_a_head(inside, 2)
    inside.evaluate("(e) => e.scrollIntoView()")
    screenshot(page, "marimo-export-frame")
    context.close()
    assert not faults
