"""What if in a real JupyterLab: every action by hand, and the number it shows by plain hooks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.cells import (
    change_theme,
    run_new_cell,
    signed,
    start_all_cells,
    told_by,
    wait_for_kernel,
    wait_until,
)
from tests.browser.lab import jupyter_lab
from tests.browser.steps import node, open_layer, panel_of, settle, widget_of

PROMPT = "The capital of Japan is the city of"
FRANCE = "The capital of France is the city of"
LAST, JAPAN = 7, 3
LAYER = 23
PATIENCE = 90_000

WIDGET = f"""
import visit_widget as vw

model, tokenizer = vw.load_demo()
widget = vw.visit(model, tokenizer, "{PROMPT}", lens="logit")
widget
"""

# The same interventions by hooks on the model's own modules: nothing of visit_widget is asked.
HOOKS = f"""
import json, torch
from contextlib import ExitStack

LAST, JAPAN = {LAST}, {JAPAN}
D = model.config.hidden_size // model.config.num_attention_heads
PER = model.config.num_attention_heads // model.config.num_key_value_heads
layers = model.model.layers

def ids(prompt):
    return tokenizer(prompt, return_tensors="pt").input_ids

def seen(module, prompt=None, side="in"):
    kept = {{}}
    hook = module.register_forward_hook(
        lambda m, i, o: kept.update({{"in": i[0], "out": o[0] if isinstance(o, tuple) else o}}))
    with torch.no_grad():
        model(ids(prompt or "{PROMPT}"))
    hook.remove()
    return kept[side].clone()

def logits(edits):
    "Each edit: a module, 'in' or 'out', and what changes the (1, T, ·) tensor in its place."
    with ExitStack() as stack, torch.no_grad():
        for module, side, change in edits:
            def before(m, inputs, change=change):
                x = inputs[0].clone(); change(x); return (x, *inputs[1:])
            def after(m, inputs, output, change=change):
                x = (output[0] if isinstance(output, tuple) else output).clone(); change(x)
                return (x, *output[1:]) if isinstance(output, tuple) else x
            hook = (module.register_forward_pre_hook(before) if side == "in"
                    else module.register_forward_hook(after))
            stack.callback(hook.remove)
        return model(ids("{PROMPT}")).logits[0, -1]

TOKYO = tokenizer(" Tokyo").input_ids[0]

def probability(edits):
    return float(logits(edits).softmax(-1)[TOKYO])

def effect(edit):
    return float(logits([])[TOKYO] - logits([edit])[TOKYO])

def weights(layer):
    was = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad():
        kept = model(ids("{PROMPT}"), output_attentions=True).attentions[layer]
    model.set_attn_implementation(was)
    return kept[0]

def head(layer, number, factor, where=LAST):
    def change(x):
        x[0, where, number * D:(number + 1) * D] *= factor
    return layers[layer].self_attn.o_proj, "in", change

def head_from(layer, number, prompt):
    other = seen(layers[layer].self_attn.o_proj, prompt)[0, -1]
    def change(x):
        part = slice(number * D, (number + 1) * D)
        x[0, LAST, part] = other[part]
    return layers[layer].self_attn.o_proj, "in", change

def source(layer, number, at):
    value = seen(layers[layer].self_attn.v_proj, side="out")[0, at]
    group = number // PER
    part = weights(layer)[number, LAST, at] * value[group * D:(group + 1) * D]
    def change(x):
        x[0, LAST, number * D:(number + 1) * D] -= part
    return layers[layer].self_attn.o_proj, "in", change

def neuron(layer, number, factor):
    def change(x):
        x[0, LAST, number] *= factor
    return layers[layer].mlp.down_proj, "in", change

def whole(module, factor, where=LAST):
    def change(x):
        x[0, where] *= factor
    return module, "out", change

def stream_from(layer, prompt):
    other = seen(layers[layer], prompt, "out")[0, -1]
    def change(x):
        x[0, LAST] = other
    return layers[layer], "out", change
"""

pytestmark = [pytest.mark.slow, pytest.mark.demo]


@pytest.fixture
def notebook(new_page, tmp_path, demo) -> Iterator[tuple[Page, Locator]]:
    """The widget of a notebook that was just run, with its kernel."""
    folder, workplace = tmp_path / "notebooks", tmp_path / "jupyter"
    folder.mkdir()
    workplace.mkdir()
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in (WIDGET, HOOKS)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "what-if.ipynb")
    expect.set_options(timeout=PATIENCE)
    with jupyter_lab(folder, workplace) as address:
        page = new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.goto(address.format(notebook="what-if.ipynb"))
        wait_for_kernel(page)
        start_all_cells(page)
        widget = widget_of(page)
        expect(widget.locator('[data-role="layer"]').first).to_be_visible()
        wait_until(page, "'stream_from' in globals()", True)
        yield page, widget
    expect.set_options(timeout=5_000)


def part(widget: Locator, role: str) -> Locator:
    return widget.locator(f'[data-role="{role}"]')


def now(probability: float) -> re.Pattern:
    return re.compile(rf"now {re.escape(f'{100 * probability:.1f}')}%")


def agrees(page: Page, widget: Locator, *edits: str) -> None:
    """The outcome on screen is what the model says under the same edits by hooks."""
    # Hooks that a cell puts on the model act on the widget's passes too.
    expect(part(widget, "outcome")).not_to_have_class(re.compile("waiting"))
    settle(widget)
    expected = told_by(page, f"probability([{', '.join(edits)}])")
    expect(part(widget, "outcome")).to_contain_text(now(expected))


def pick(widget: Locator, node_id: str) -> None:
    close = part(widget, "close-panel")
    if close.is_visible():  # it lies over the other half of the layer
        close.click()
    settle(widget)
    node(widget, node_id).click()
    expect(part(widget, "knock-out")).to_be_visible()


def clear(widget: Locator) -> None:
    part(widget, "remove-all").click()
    expect(widget.locator('[data-role^="take-back-"]')).to_have_count(0)


def take_from(page: Page, widget: Locator, prompt: str) -> None:
    part(widget, "patch").click()
    expect(part(widget, "patch-prompt")).to_be_focused()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(prompt)
    page.keyboard.press("Enter")


@pytest.mark.hosts
def test_every_action_by_hand(notebook, screenshot):
    page, widget = notebook
    open_layer(widget, LAYER)

    pick(widget, "L23.H4")
    part(widget, "knock-out").click()
    agrees(page, widget, "head(23, 4, 0)")
    expect(part(widget, "interventions")).to_contain_text("head 4 knocked out at ␣of")
    part(widget, "edit-where").select_option("all")
    agrees(page, widget, "head(23, 4, 0, slice(None))")
    part(widget, "halve").click()
    agrees(page, widget, "head(23, 4, 0.5, slice(None))")
    part(widget, "edit-where").select_option("focus")
    part(widget, "edit-factor").fill("-1.5")
    part(widget, "edit-factor").press("Enter")
    agrees(page, widget, "head(23, 4, -1.5)")

    pick(widget, "L23.mlp")
    part(widget, "knock-out").click()
    agrees(page, widget, "head(23, 4, -1.5)", "whole(layers[23].mlp, 0)")
    made = told_by(page, "[[i['id'], i['action'], i['positions']] for i in widget.interventions]")
    assert made == [["L23.H4", -1.5, "focus"], ["L23.mlp", "zero", "focus"]]
    widget.get_by_role("button", name="Undo").click()
    agrees(page, widget, "head(23, 4, -1.5)")
    widget.get_by_role("button", name="Redo").click()
    agrees(page, widget, "head(23, 4, -1.5)", "whole(layers[23].mlp, 0)")
    part(widget, "take-back-0").click()
    agrees(page, widget, "whole(layers[23].mlp, 0)")
    clear(widget)

    pick(widget, "L23.attn")
    part(widget, "halve").click()
    agrees(page, widget, "whole(layers[23].self_attn, 0.5)")
    clear(widget)

    pick(widget, f"L23.H4.V{JAPAN}")
    part(widget, "knock-out").click()
    agrees(page, widget, f"source(23, 4, {JAPAN})")
    clear(widget)

    settle(widget)
    neuron = widget.locator('[data-kind="neuron"][data-layer="23"]').first.get_attribute(
        "data-node"
    )
    pick(widget, neuron)
    part(widget, "knock-out").click()
    agrees(page, widget, f"neuron(23, {neuron.partition('.N')[2]}, 0)")
    clear(widget)

    pick(widget, "L23.H4")
    take_from(page, widget, FRANCE)
    agrees(page, widget, f"head_from(23, 4, '{FRANCE}')")
    expect(part(widget, "interventions")).to_contain_text(
        "patched from “… of France is the city of”"
    )
    settle(widget)
    screenshot(page, "lab-what-if-patched")
    clear(widget)

    pick(widget, "L23.post")
    take_from(page, widget, FRANCE)
    agrees(page, widget, f"stream_from(23, '{FRANCE}')")

    run_new_cell(page, "widget.interventions = [{'id': 'L20.mlp', 'action': 0.5}]")
    agrees(page, widget, "whole(layers[20].mlp, 0.5)")
    expect(part(widget, "interventions")).to_contain_text("L20 · MLP halved at ␣of")
    run_new_cell(page, "widget.interventions = []")
    expect(widget.locator('[data-role^="take-back-"]')).to_have_count(0)
    assert told_by(page, "float(probability([]))") == pytest.approx(
        told_by(page, "widget.graph['target']['probability']"), abs=1e-5
    ), "the model is left as it was found"
    expect(widget.get_by_role("alert")).to_have_count(0)


def test_effects_their_map_and_why(notebook, screenshot):
    page, widget = notebook
    measure = part(widget, "measure")
    measure.select_option("effect")
    wait_until(page, "widget.graph['measure']", "effect")
    open_layer(widget, LAYER)
    heading = widget.locator(".vw-headings")
    expect(heading).to_contain_text(re.compile(r"ρ [01]\.\d\d · \d+ of the \d+ strongest foretold"))
    expect(widget.locator("g.vw-node path.vw-measured").first).to_be_visible()

    node(widget, "L23.H4").click()
    measured = f"measured {signed(told_by(page, 'effect(head(23, 4, 0))'))}"
    expect(panel_of(widget)).to_contain_text(measured)
    settle(widget)
    widget.evaluate("(e) => e.scrollIntoView()")
    screenshot(page, "lab-what-if-effects")

    gone = told_by(page, f"effect(whole(layers[10], 0, {JAPAN}))")
    part(widget, "open-map").click()
    found = part(widget, "map")
    cells = found.locator("td[data-id]")
    expect(cells).to_have_count(270)
    found.locator('td[data-id="L23.H4"]').hover()
    expect(found).to_contain_text(measured)
    screenshot(page, "lab-what-if-map")
    found.get_by_role("button", name="streams").click()
    expect(cells).to_have_count(30 * (LAST + 1))
    cell = found.locator(f'td[data-id="P{JAPAN}.L10.post"]')
    cell.hover()
    expect(found).to_contain_text(f"measured {signed(gone)}")
    screenshot(page, "lab-what-if-streams")
    cell.click()
    wait_until(page, "[widget.focus, widget.selection]", [JAPAN, ["L10.post"]])
    expect(widget.locator('[data-kind="head"][data-layer="10"]').first).to_be_visible()
    settle(widget)

    back = f"widget.focus = {LAST}; widget.expanded = [23]; widget.selection = ['L23.H4']"
    run_new_cell(page, back)
    expect(panel_of(widget)).to_contain_text(measured)
    share = 100 * told_by(page, f"float(weights(23)[4, {LAST}, {JAPAN}])")
    part(widget, "why").click()
    window = part(widget, "why-window")
    expect(window).to_contain_text("Why L23 · head 4 looks at ␣Japan")
    expect(window).to_contain_text(f"{share:.1f}% of its attention")
    screenshot(page, "lab-what-if-why")
    change_theme(page, "JupyterLab Dark")
    expect(widget).to_have_class(re.compile(r"\bdark\b"))
    screenshot(page, "lab-what-if-why-dark")
    expect(widget.get_by_role("alert")).to_have_count(0)
