"""The quickstart in a real JupyterLab: real kernel, real model, real clicks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from time import perf_counter

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

import visit_widget as vw
from tests.browser.cells import (
    change_theme,
    run_new_cell,
    signed,
    start_all_cells,
    told_by,
    wait_for_kernel,
    wait_until,
)
from tests.browser.lab import FORGIVEN, environment, jupyter_lab, servers
from tests.browser.steps import click_ribbon, settle
from tests.tiny import make_speaker, tokenizer
from visit_widget.viewer.output import VIEW

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
LAYER = 20
ROUTES = "trace.routes(measure='logit')"
KEPT_NEURONS = (
    "sum(n.kind == 'neuron' for n in"
    " trace.flow(layers=[23], measure='logit', keep=vw.Keep(threshold=0.5)).nodes)"
)
STORED = f"""() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
    .flatMap((cell) => cell.toJSON().outputs ?? [])
    .some(({{ data }}) => data?.["image/png"] && !data["{VIEW}"].model_id)"""
PATIENCE = 90_000  # milliseconds; the kernel imports torch and loads the model

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("patient")]


def follow_it_otherwise(page: Page, widget: Locator, screenshot) -> None:
    """Another measure, the routes, one of their heads, the threshold, the focus and a foil."""
    panel = widget.locator('[data-role="panel"]')
    measure = widget.locator('[data-role="measure"]')
    start = perf_counter()
    for name in ("norm", "logit"):
        measure.select_option(name)
        wait_until(page, "widget.graph['measure']", name)
        assert told_by(page, "widget.measure") == name
    print(f"JupyterLab: two measures after {perf_counter() - start:.2f} s")

    start = perf_counter()
    widget.get_by_role("button", name="Routes", exact=True).click()
    expect(widget.locator("path.vw-route").first).to_be_visible()
    print(f"JupyterLab: routes after {perf_counter() - start:.2f} s")
    wait_until(page, "widget.view", "routes")
    logit, rest = told_by(page, f"[widget.graph['target']['logit'], {ROUTES}.attribution['rest']]")
    expect(widget.locator('.vw-routes [data-node="logits"]')).to_contain_text(f"logit {logit:.2f}")
    expect(widget.locator('[data-role="remainder"]')).to_contain_text(f"rest {signed(rest)}")
    settle(widget)
    widget.evaluate("(e) => e.scrollIntoView()")
    screenshot(page, "lab-routes")

    ribbon = widget.locator('path.vw-route[data-layer="23"][data-target="P7.L23.mid"]')
    click_ribbon(page, ribbon.and_(widget.locator('[data-source="P3.L22.post"]')).first)
    carrier = panel.locator('[data-node="P7.L23.H4.V3"]')
    carried = f"{ROUTES}.node('P7.L23.H4.V3')"
    influence, weight = told_by(page, f"[{carried}.influence, {carried}.weight]")
    expect(carrier).to_contain_text(signed(influence))
    expect(carrier).to_contain_text(f"{100 * weight:.1f}%")
    widget.evaluate("(e) => e.scrollIntoView()")
    screenshot(page, "lab-ribbon")
    carrier.click()
    expect(widget.locator('[data-node="L23.H4"]').first).to_be_visible()
    reached = "[widget.view, widget.expanded, widget.selection, widget.focus]"
    wait_until(page, reached, ["block", [23], ["L23.H4"], 7])
    adds = told_by(page, "trace.flow(layers=[23]).node('L23.H4').logit")
    expect(panel).to_contain_text(signed(adds))

    widget.locator('[data-role="keep"]').click()
    field = widget.get_by_label("Every kind: at least", exact=True)
    field.fill("0.5")
    field.press("Tab")
    left = told_by(page, KEPT_NEURONS)
    assert 0 < left < 12
    neurons = widget.locator('[data-kind="neuron"][data-layer="23"]')
    expect(neurons).to_have_count(left)
    assert told_by(page, "widget.keep['threshold']") == 0.5

    widget.locator('.vw-chip[data-position="3"]').click()
    target = widget.locator('[data-role="target"]')
    expect(target).to_have_text("␣is")
    focus, token = told_by(page, "[widget.focus, widget.graph['target']]")
    assert (focus, token["text"]) == (3, "␣is")
    facts = f"{100 * token['probability']:.1f}%, rank 1"
    expect(target).to_have_attribute("aria-label", re.compile(re.escape(facts)))

    foil = widget.locator('[data-role="foil"]')
    foil.click()
    page.keyboard.type("was")
    widget.get_by_role("listbox").get_by_text("␣was", exact=True).click()
    expect(foil).to_contain_text("␣was")
    expect(widget.locator(".vw-legend").first).to_contain_text("␣was")
    assert told_by(page, "widget.graph['foil']['text']") == "␣was"
    adds = told_by(page, "trace.flow(3, foil=' was', layers=[23]).node('L23.attn').logit")
    expect(widget.locator('[data-node="L23.attn"]').first).to_have_attribute(
        "aria-label", re.compile(re.escape(signed(adds)))
    )
    settle(widget)
    widget.evaluate("(e) => e.scrollIntoView()")
    screenshot(page, "lab-foil")
    expect(widget.get_by_role("alert")).to_have_count(0)


@pytest.mark.demo
def test_the_quickstart_from_first_cell_to_selection(new_page, screenshot, tmp_path, demo):
    folder, workplace = tmp_path / "notebooks", tmp_path / "jupyter"
    folder.mkdir()
    workplace.mkdir()
    shutil.copy(QUICKSTART, folder)
    with jupyter_lab(folder, workplace) as address:
        page = new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE)
        complaints = []
        page.on(
            "console",
            lambda said: complaints.append(said.text) if said.type == "error" else None,
        )
        page.goto(address.format(notebook="quickstart.ipynb"))
        page.get_by_role("heading", name="Quickstart").first.wait_for()
        wait_for_kernel(page)

        start = perf_counter()
        start_all_cells(page)
        widget = page.locator(".visit-widget").first
        layer = widget.locator(f'[data-role="layer"][data-layer="{LAYER}"]')
        expect(layer).to_be_visible()
        print(f"JupyterLab: the first graph after {perf_counter() - start:.1f} s")
        expect(widget.locator('[data-node="L23.H4"]').first).to_be_visible()  # opened by a cell
        widget.scroll_into_view_if_needed()
        screenshot(page, "lab-first")

        # What GitHub will show of it is there once the page has drawn it.
        page.wait_for_function(STORED)

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

        complaints.clear()  # JupyterLab's own, while it starts
        follow_it_otherwise(page, widget, screenshot)
        assert complaints == []

        change_theme(page, "JupyterLab Dark")
        expect(widget).to_have_class(re.compile(r"\bdark\b"))
        widget.scroll_into_view_if_needed()
        screenshot(page, "lab-dark")


@pytest.mark.parametrize("front_end", servers("JupyterLab"))
def test_a_stored_notebook_shows_its_picture_and_trusted_its_first_frame(
    front_end, new_page, screenshot, tmp_path
):
    folder, workplace = tmp_path / "notebooks", tmp_path / "jupyter"
    folder.mkdir()
    workplace.mkdir()
    file = folder / "stored.ipynb"
    widget = vw.visit(make_speaker("llama"), tokenizer(), "the cat sat on the mat")
    drawn = widget.save_png(tmp_path / "picture.png", scale=2).read_bytes()
    widget.keep_picture(f"data:image/png;base64,{b64encode(drawn).decode()}", 2)
    data, about = widget._picture_output()
    outputs = [
        nbformat.v4.new_output("display_data", data=widget._repr_mimebundle_()[0]),
        nbformat.v4.new_output("display_data", data=data, metadata=about),
    ]
    cells = [nbformat.v4.new_code_cell("widget", execution_count=1, outputs=outputs)]
    state = widget.get_manager_state(widgets=[widget, widget.layout])
    about = {"widgets": {"application/vnd.jupyter.widget-state+json": state}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=about), file)

    with jupyter_lab(folder, workplace, front_end) as address:
        page = new_page(FORGIVEN, viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.goto(address.format(notebook=file.name))
        picture = page.locator(".jp-OutputArea-output img")
        expect(picture).to_be_visible()
        expect(page.locator(".visit-widget")).to_have_count(0)
        told = page.locator(".jp-OutputArea-output").first
        expect(told).to_contain_text("A flow graph of “the cat sat on the mat”")
        screenshot(page, f"{front_end}-untrusted")
        page.close()

        subprocess.run(
            [sys.executable, "-m", "jupyter", "trust", file.name],
            cwd=folder, env=environment(workplace), check=True, capture_output=True,
        )  # fmt: skip
        page = new_page(FORGIVEN, viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.goto(address.format(notebook=file.name))
        shown = page.locator(".visit-widget")
        layer = shown.locator('[data-role="layer"][data-layer="1"]')
        # JupyterLab may draw a cell before it has read the notebook's widgets, and leaves it so.
        too_early = page.get_by_text("Error displaying widget: model not found")
        for _ in range(3):
            expect(layer.or_(too_early).first).to_be_visible()
            if layer.is_visible():
                break
            page.reload()
        expect(layer).to_be_visible()
        picture = page.locator(".jp-OutputArea-output img")
        expect(picture).to_have_count(0)
        below = page.locator(".jp-OutputArea-child").nth(1).bounding_box()
        assert below is None or below["height"] < 12, "beside a widget the picture has no place"
        layer.click()
        # Nobody answers: after a while the reader is told what to do.
        expect(shown).to_contain_text("run this cell again to look further")
        screenshot(page, f"{front_end}-stored")
