"""Notebook cells of a JupyterLab page: run, and asked."""

from __future__ import annotations

import json
from time import perf_counter

from playwright.sync_api import Page


def wait_for_kernel(page: Page) -> None:
    """Waits until the notebook on the page has a kernel that is idle."""
    page.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )


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
            const { outputs } = cells.get(cells.length - 1).toJSON();
            return outputs.map((o) => o.text ?? o.evalue ?? "").join("");
        }"""
    )


def told_by(page: Page, expression: str):
    """What a cell finds the value of `expression` to be."""
    said = run_new_cell(page, f"import json; print(json.dumps({expression}))")
    try:
        return json.loads(said)
    except json.JSONDecodeError:
        raise AssertionError(f"{expression} gave no value: {said}") from None


def wait_until(page: Page, expression: str, value) -> None:
    """Waits until a cell finds the value: what a reader does reaches the kernel in its own time."""
    deadline = perf_counter() + 30
    while (told := told_by(page, expression)) != value:
        assert perf_counter() < deadline, f"{expression} is {told!r}, not {value!r}"


def signed(value: float) -> str:
    """As the widget writes an amount."""
    return f"{'−' if value < 0 else '+'}{abs(value):.2f}"
