"""The quickstart in a real JupyterLab: real kernel, real model, real clicks."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from time import perf_counter

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import jupyter_lab

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
LAYER = 20
PATIENCE = 90_000  # milliseconds; the kernel imports torch and loads the model

pytestmark = [pytest.mark.demo, pytest.mark.slow]


@pytest.fixture(autouse=True)
def patient_expectations():
    expect.set_options(timeout=PATIENCE)
    yield
    expect.set_options(timeout=5_000)


def start_all_cells(page: Page) -> None:
    """Starts every cell, as the menu does, and comes back at once."""
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")


def change_theme(page: Page, theme: str) -> None:
    page.evaluate(
        "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme
    )


def run_new_cell(page: Page, source: str) -> str:
    """Adds a cell at the end, runs it, and gives what it printed."""
    page.evaluate(
        """async (source) => {
            const { commands, shell } = window.jupyterapp;
            const notebook = shell.currentWidget.content;
            notebook.activeCellIndex = notebook.widgets.length - 1;
            await commands.execute("notebook:insert-cell-below");
            notebook.activeCell.model.sharedModel.setSource(source);
            await commands.execute("notebook:run-cell");
        }""",
        source,
    )
    return page.evaluate(
        """() => {
            const cells = window.jupyterapp.shell.currentWidget.content.model.cells;
            return cells.get(cells.length - 1).toJSON().outputs.map((o) => o.text ?? "").join("");
        }"""
    )


def test_the_quickstart_from_first_cell_to_selection(new_page, screenshot, tmp_path, demo):
    folder, workplace = tmp_path / "notebooks", tmp_path / "jupyter"
    folder.mkdir()
    workplace.mkdir()
    shutil.copy(QUICKSTART, folder)
    with jupyter_lab(folder, workplace) as address:
        page = new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.goto(address.format(notebook="quickstart.ipynb"))
        page.get_by_role("heading", name="Quickstart").first.wait_for()
        page.wait_for_function(
            "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
            " === 'idle'"
        )

        start = perf_counter()
        start_all_cells(page)
        widget = page.locator(".visit-widget").first
        layer = widget.locator(f'[data-role="layer"][data-layer="{LAYER}"]')
        expect(layer).to_be_visible()
        print(f"JupyterLab: the first graph after {perf_counter() - start:.1f} s")
        expect(widget.locator('[data-node="L23.H4"]').first).to_be_visible()  # opened by a cell
        widget.scroll_into_view_if_needed()
        screenshot(page, "lab-first")

        start = perf_counter()
        layer.click()
        heads = widget.locator(f'[data-kind="head"][data-layer="{LAYER}"]')
        expect(heads.first).to_be_visible()
        print(f"JupyterLab: layer {LAYER} opened after {perf_counter() - start:.2f} s")

        head_id = heads.first.get_attribute("data-node")
        heads.first.click()
        panel = widget.locator('[data-role="panel"]')
        number = head_id.partition(".H")[2]
        expect(panel).to_contain_text(
            re.compile(rf"layer {LAYER}\D.*head {number}(?!\d)", re.IGNORECASE)
        )
        expect(panel).to_contain_text(re.compile(r"\d%"))
        screenshot(page, "lab-open")

        start = perf_counter()
        widget.locator('[data-role="exact"]').click()
        audit = widget.locator('[data-role="audit"]')
        expect(audit).to_contain_text("Exact to rounding")
        expect(audit.locator("tbody tr").first).to_contain_text(re.compile(r"\d\.\d × 10⁻"))
        print(f"JupyterLab: audited after {perf_counter() - start:.2f} s")
        screenshot(page, "lab-audit")
        page.keyboard.press("Escape")
        expect(audit).to_have_count(0)

        assert run_new_cell(page, "print(widget.selection)").strip() == f"['{head_id}']"
        assert f"{LAYER}" in run_new_cell(page, "print(widget.expanded)")

        change_theme(page, "JupyterLab Dark")
        expect(widget).to_have_class(re.compile(r"\bdark\b"))
        widget.scroll_into_view_if_needed()
        screenshot(page, "lab-dark")
