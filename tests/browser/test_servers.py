"""The widget on real servers, with a kernel: drawn, clicked, run again, loaded again."""

from __future__ import annotations

import re

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.cells import start_all_cells, wait_for_kernel, wait_until
from tests.browser.lab import FORGIVEN, jupyter_lab, servers

PATIENCE = 40_000  # milliseconds; the kernel imports torch
SETUP = """
import visit_widget as vw
from tests.tiny import make_speaker, tokenizer

model, words = make_speaker("llama"), tokenizer()
"""
SHOW = 'widget = vw.visit(model, words, "the cat sat on the mat")\nwidget'

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("patient")]


def open_notebook(page: Page, address: str) -> Locator:
    """The first cell's output, once the kernel is there."""
    page.goto(address)
    wait_for_kernel(page)
    return page.locator(".visit-widget")


def open_a_head(widget: Locator, layer: int) -> str:
    """Opens the layer, asks the kernel of one of its heads, and gives the head's id."""
    widget.locator(f'[data-role="layer"][data-layer="{layer}"]').click()
    head = widget.locator(f'[data-kind="head"][data-layer="{layer}"]').first
    head.click()
    name = head.get_attribute("data-node")
    panel = widget.locator('[data-role="panel"]')
    number = name.partition(".H")[2]
    expect(panel).to_contain_text(
        re.compile(rf"layer {layer}\D.*head {number}(?!\d)", re.IGNORECASE)
    )
    expect(panel).to_contain_text(re.compile(r"\d%"))
    return name


# `make test` has the quickstart in JupyterLab.
@pytest.mark.parametrize("front_end", servers("Notebook"))
def test_it_is_drawn_and_answered_and_lives_through_a_rerun_and_a_reload(
    front_end, new_page, screenshot, tmp_path
):
    folder, workplace = tmp_path / "notebooks", tmp_path / "jupyter"
    folder.mkdir()
    workplace.mkdir()
    cells = [nbformat.v4.new_code_cell(source) for source in (SETUP.strip(), SHOW)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "tiny.ipynb")
    with jupyter_lab(folder, workplace, front_end) as address:
        page = new_page(FORGIVEN, viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE)
        address = address.format(notebook="tiny.ipynb")
        widget = open_notebook(page, address)
        start_all_cells(page)
        head = open_a_head(widget, 1)
        wait_until(page, "[widget.selection, widget.expanded]", [[head], [1]])
        screenshot(page, f"{front_end}-open")

        # The cell again: one widget, a new one.
        page.evaluate(
            """async () => {
                const { commands, shell } = window.jupyterapp;
                shell.currentWidget.content.activeCellIndex = 1;
                await commands.execute("notebook:run-cell");
            }"""
        )
        wait_until(page, "[widget.selection, widget.expanded]", [[], []])
        expect(widget).to_have_count(1)
        expect(widget.locator('[data-kind="head"]')).to_have_count(0)
        head = open_a_head(widget, 0)
        wait_until(page, "[widget.selection, widget.expanded]", [[head], [0]])

        # The page again, on the same kernel: as it was left, and answered.
        page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        page.goto("about:blank")
        widget = open_notebook(page, address)
        expect(widget.locator(f'[data-node="{head}"]').first).to_be_visible()
        expect(page.locator(".jp-OutputArea-output img")).to_have_count(0)
        screenshot(page, f"{front_end}-reloaded")
        second = open_a_head(widget, 2)
        wait_until(page, "[widget.selection, widget.expanded]", [[second], [0, 2]])
        expect(widget.get_by_role("alert")).to_have_count(0)
