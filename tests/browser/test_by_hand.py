"""Two prompts and a tape in a real JupyterLab: parts brought over by hand; steps that pass by."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.cells import run_new_cell, start_all_cells, told_by, wait_for_kernel, wait_until
from tests.browser.lab import jupyter_lab
from tests.browser.steps import settle

SETUP = """
import visit_widget as vw
from tests.tiny import make_speaker, tokenizer
model = make_speaker("llama", seed=1)
asked = []

def listen(widget):
    answer = widget._desk._answer
    def heard(request_id, method, params):
        asked.append(method)
        answer(request_id, method, params)
    widget._desk._answer = heard
    return widget
"""
PAIR = """
pair = listen(vw.visit(model, tokenizer(), "the cat sat on", against="the dog sat on", layers=[1]))
pair
"""
TAPE = """
said = vw.generate(model, tokenizer(), "the cat sat on", max_new_tokens=5, do_sample=True, seed=1)
tape = listen(vw.visit(said))
tape
"""

PATIENCE = 90_000  # milliseconds; the kernel imports torch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("patient")]


@pytest.fixture
def lab(tmp_path):
    folder, workplace = tmp_path / "notebooks", tmp_path / "jupyter"
    folder.mkdir()
    workplace.mkdir()

    def write(*sources: str) -> Path:
        cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]
        file = folder / "hands.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), file)
        return file

    with jupyter_lab(folder, workplace) as address:
        yield write, address


def opened(new_page, lab, *sources: str) -> tuple[Page, Locator]:
    write, address = lab
    file = write(*sources)
    page = new_page(viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(PATIENCE)
    page.goto(address.format(notebook=file.name))
    wait_for_kernel(page)
    start_all_cells(page)
    widget = page.locator(".visit-widget").first
    expect(widget).to_be_visible()
    return page, widget


def part(widget: Locator, role: str) -> Locator:
    return widget.locator(f'[data-role="{role}"]')


def interventions(page: Page) -> list[dict]:
    return told_by(page, "pair.interventions")


def drag(page: Page, source: Locator, target: Locator) -> None:
    source.scroll_into_view_if_needed()
    here, there = source.bounding_box(), target.bounding_box()
    page.mouse.move(here["x"] + here["width"] / 2, here["y"] + here["height"] / 2)
    page.mouse.down()
    x, y = there["x"] + min(20, there["width"] / 2), there["y"] + there["height"] / 2
    page.mouse.move(x + 40, y, steps=4)
    page.mouse.move(x, y, steps=4)
    page.mouse.up()


def test_parts_are_brought_over_by_hand(new_page, lab, screenshot):
    page, widget = opened(new_page, lab, SETUP, PAIR)
    head = widget.locator('g.vw-node[data-node="L1.H2"]')
    expect(head).to_be_visible()
    head.click()
    expect(part(widget, "both-sides")).to_be_visible()
    settle(widget)
    drag(page, part(widget, "bring"), head)
    bar = part(widget, "interventions")
    expect(bar).to_contain_text("L1 · head 2 patched from the other")
    expect(part(widget, "runs")).to_have_text("1 run")
    patched = {"id": "L1.H2", "action": "patch", "positions": "focus", "label": "against"}
    assert interventions(page) == [patched]
    (run,) = told_by(page, "pair.runs")
    # The kernel's own rerun says the same.
    told = told_by(
        page,
        "[float(x) for x in pair.trace.rerun({'L1.H2': vw.compare(pair.trace, vw.trace(model, "
        f"tokenizer(), 'the dog sat on')).patch}}).logits(-1)[[{run['target']['id']}]]]",
    )
    assert run["after"]["target"]["logit"] == pytest.approx(told[0], rel=1e-4)

    # By keyboard: a neuron, in the picture.
    part(widget, "remove-all").click()
    expect(bar).to_contain_text("nothing is changed now")
    neuron = widget.locator("g.vw-node.kind-neuron").first
    settle(widget)
    name = neuron.get_attribute("data-node")
    neuron.press("p")
    expect(bar).to_contain_text("patched from the other")
    wait_until(page, "pair.interventions", [{**patched, "id": name}])
    expect(part(widget, "runs")).to_have_text("2 runs")

    # Back to the first, and it is taken out of the list and comes back.
    part(widget, "runs").click()
    screenshot(page, "lab-runs")
    part(widget, "open-run-1").click()
    expect(bar).to_contain_text("L1 · head 2")
    wait_until(page, "pair.interventions", [patched])
    part(widget, "runs").click()
    part(widget, "remove-run-2").click()
    page.keyboard.press("Escape")
    expect(part(widget, "runs")).to_have_text("1 run")
    wait_until(page, "[r['id'] for r in pair.runs]", [1])
    widget.get_by_role("button", name="Undo").click()
    expect(part(widget, "runs")).to_have_text("2 runs")
    wait_until(page, "[r['id'] for r in pair.runs]", [1, 2])

    # A token of the other prompt, up onto its partner: then this prompt is the other from there on.
    part(widget, "remove-all").click()
    expect(bar).to_contain_text("nothing is changed now")
    settle(widget)
    other = widget.locator('.vw-other[data-bring="embed"]')
    drag(page, other, widget.locator('[data-part="embed@1"]'))
    expect(bar).to_contain_text("embedding patched from the other")
    wait_until(page, "pair.interventions", [{**patched, "id": "embed", "positions": [1]}])
    graph = told_by(page, "pair.graph")
    there = graph["against"]["target"]["logit"]
    assert graph["target"]["logit"] == pytest.approx(there, rel=1e-3)


def test_steps_that_pass_by_are_not_asked_about(new_page, lab, screenshot):
    page, widget = opened(new_page, lab, SETUP, TAPE)
    tape = part(widget, "tape")
    expect(tape).to_be_visible()
    expect(widget.locator(".vw-prompt.with-predictions")).to_be_visible()
    settle(widget)
    run_new_cell(page, "asked.clear(); task = tape.play(delay=0.5)")
    play = part(widget, "play")
    expect(play).to_have_attribute("aria-label", "Pause")
    expect(part(widget, "tape-place")).to_have_text("token 5 of 5")
    expect(play).to_have_attribute("aria-label", "Play the tokens one after the other")
    expect(widget.locator(".vw-prompt.old-predictions")).to_have_count(0)
    late = [m for m in told_by(page, "asked") if m in ("predictions", "attribution")]
    assert sorted(late) == ["attribution", "predictions"], "of the last step alone"

    # What stops it in the page stops the kernel's.
    run_new_cell(page, "task = tape.play(delay=30)")
    expect(play).to_have_attribute("aria-label", "Pause")
    play.click()
    expect(play).to_have_attribute("aria-label", "Play the tokens one after the other")
    assert told_by(page, "[task.cancelled() or task.done(), tape.playing]") == [True, False]

    # The page's own play button, too.
    run_new_cell(page, "tape.step = 0")
    expect(part(widget, "tape-place")).to_have_text("token 1 of 5")
    expect(widget.locator(".vw-prompt.old-predictions")).to_have_count(0)
    run_new_cell(page, "asked.clear()")
    play.click()
    expect(part(widget, "tape-place")).to_have_text("token 5 of 5")
    expect(widget.locator(".vw-prompt.old-predictions")).to_have_count(0)
    late = [m for m in told_by(page, "asked") if m in ("predictions", "attribution")]
    assert sorted(late) == ["attribution", "predictions"]
    screenshot(page, "lab-tape")

    # A branch and its step come back with the view state.
    run_new_cell(page, "tape._branch_off(1, 5); tape.step = 2; state = tape.view_state")
    run_new_cell(page, "again = vw.visit(model, tokenizer(), view_state=state)")
    told = told_by(page, "[again.branch, again.step, len(again.generation['branches'])]")
    assert told == [1, 2, 2]
    assert json.loads(json.dumps(told_by(page, "state['generation']['step']"))) == 2
