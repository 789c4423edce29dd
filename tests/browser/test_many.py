"""Many prompts on one screen: seen, walked, opened and left, with a fake and a real kernel."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

import visit_widget as vw
from tests.browser.axe import violations
from tests.browser.cells import wait_for_kernel
from tests.browser.lab import jupyter_lab
from tests.browser.steps import LAYER, layer_area, model_state, settle, widget_of
from tests.browser.test_jupyterlab import PATIENCE, start_all_cells, told_by, wait_until
from tests.tiny import make_speaker, tokenizer

THEMES = ["light", "dark"]
PROMPTS = ["the cat sat on the", "a dog", "", "the dog sat on the mat", "cat dog cat"]
CELL = f"""import visit_widget as vw
from tests.tiny import make_speaker, tokenizer

widget = vw.visit(make_speaker("llama"), tokenizer(), {PROMPTS!r}, layers=[1])
widget"""
# What of a small river is drawn outside of its frame, or on top of another of its texts.
FAULTS = """() => [...document.querySelectorAll('.vw-many-tile')].flatMap((tile) => {
    const frame = tile.getBoundingClientRect();
    const texts = [...tile.querySelectorAll('text')].map((e) => [e, e.getBoundingClientRect()]);
    const out = texts.filter(([, b]) => b.width > 0 && (b.left < frame.left - 0.5 ||
        b.right > frame.right + 0.5 || b.top < frame.top - 0.5 || b.bottom > frame.bottom + 0.5));
    const over = texts.flatMap(([a, b], n) => texts.slice(n + 1)
        .filter(([, c]) => b.left < c.right - 1 && c.left < b.right - 1 &&
            b.top < c.bottom - 4 && c.top < b.bottom - 4)
        .map(([c]) => `${a.textContent} | ${c.textContent}`));
    return [...out.map(([e]) => e.textContent), ...over];
})"""


def tile(widget: Locator, number: int) -> Locator:
    return widget.locator(f'[data-prompt="{number}"]')


def part(widget: Locator, role: str) -> Locator:
    return widget.locator(f'[data-role="{role}"]')


@pytest.fixture
def many(new_page, site):
    def open_it(size=(1440, 900), **options) -> tuple[Page, Locator]:
        page = new_page(viewport={"width": size[0], "height": size[1]})
        query = "&".join(f"{k}={v}" for k, v in {"many": "yes", **options}.items())
        page.goto(f"{site}/tests/browser/harness.html?{query}")
        widget = widget_of(page)
        tile(widget, 0).wait_for()
        return page, widget

    return open_it


@pytest.mark.parametrize("theme", THEMES)
def test_forty_are_on_one_screen_and_nothing_is_cut_or_covered(many, screenshot, theme):
    page, widget = many(theme=theme)
    expect(widget.locator(".vw-many-tile")).to_have_count(40)
    box = tile(widget, 39).bounding_box()
    assert box["y"] + box["height"] <= 900
    assert page.evaluate(FAULTS) == []
    expect(widget.locator(".vw-header")).to_be_hidden()
    assert violations(page) == []
    screenshot(page, f"many-{theme}")


def test_on_narrow_pages_there_are_fewer_in_a_row(many):
    page, _ = many(size=(560, 900))
    assert page.evaluate(FAULTS) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 560


def test_by_keys_one_is_opened_and_left_with_all_as_it_was(many, screenshot):
    page, widget = many()
    tile(widget, 0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(tile(widget, 6)).to_be_focused()
    page.keyboard.press("Enter")
    expect(widget.locator(".vw-header")).to_be_visible()
    expect(part(widget, "prompt-place")).to_have_text("prompt 6")
    expect(part(widget, "target")).to_have_text("␣Tokyo")
    expect(widget.locator(".vw-many")).to_be_hidden()
    layer_area(widget, LAYER).click()
    expect(widget.locator(f'[data-kind="head"][data-layer="{LAYER}"]').first).to_be_visible()
    settle(widget)
    assert violations(page) == []
    screenshot(page, "many-open")
    part(widget, "prompt-after").click()
    expect(part(widget, "prompt-place")).to_have_text("prompt 7")
    expect(part(widget, "target")).to_have_text("␣Lisbon")
    assert model_state(page, "expanded") == [LAYER]
    page.keyboard.press("Escape")
    expect(tile(widget, 7)).to_be_focused()
    assert model_state(page, "opened") is None
    page.keyboard.press("u")
    expect(part(widget, "prompt-place")).to_have_text("prompt 7")
    assert model_state(page, "expanded") == [LAYER]


def test_they_are_sorted_and_the_bad_one_is_told(many):
    _, widget = many()
    part(widget, "order").select_option("likely")
    shown = widget.locator(".vw-many-tile")
    chances = [
        float(re.search(r"([\d.]+)%", text)[1])
        for text in shown.locator(".vw-offscreen").all_text_contents()
        if "right" in text
    ]
    assert chances == sorted(chances, reverse=True)
    assert len(chances) > 20
    last = shown.last
    expect(last).to_have_attribute("data-prompt", "3")
    expect(last).to_contain_text("The prompt is empty")
    last.click(force=True)
    expect(widget.locator(".vw-many")).to_be_visible()


def test_an_opened_prompt_that_does_not_come_leaves_all_on_show(many):
    page, widget = many()
    page.evaluate("model.silent.add('graph')")
    tile(widget, 4).click()
    expect(tile(widget, 4)).to_have_class(re.compile("waiting"))
    page.evaluate(
        """() => {
            const status = { ...model.get('status'), state: 'error', message: 'No room.' };
            model.set('opened', null);
            model.set('status', status);
        }"""
    )
    expect(tile(widget, 4)).not_to_have_class(re.compile("waiting"))
    expect(widget).to_contain_text("No room.")


def test_a_saved_page_opens_what_it_holds(new_page, tmp_path: Path, screenshot):
    widget = vw.visit(make_speaker("llama"), tokenizer(), PROMPTS, progress=False)
    saved = widget.save_html(tmp_path / "many.html", expand="all", prompts=[1, 3])
    page = new_page(viewport={"width": 1440, "height": 900})
    page.goto(saved.as_uri())
    shown = widget_of(page)
    tile(shown, 4).click(force=True)
    expect(shown.locator(".vw-header")).to_be_hidden()
    expect(
        shown.get_by_role("button", name=re.compile("^Prompt 4: .*Not included"))
    ).to_be_visible()
    for number in (3, 1, 0):
        tile(shown, number).click()
        expect(part(shown, "prompt-place")).to_have_text(f"prompt {number}")
        said = widget.prompts["rows"][number]["first"]["text"]
        expect(part(shown, "target")).to_have_text(said)
        # Layers stay open from one to the next, each with its own answers.
        if number == 3:
            settle(shown)
            layer_area(shown, 1).click()
        expect(shown.locator('[data-kind="head"][data-layer="1"]').first).to_be_visible()
        part(shown, "all-prompts").click()
        expect(tile(shown, number)).to_be_visible()


@pytest.mark.slow
def test_with_a_real_kernel(new_page, screenshot, tmp_path):
    folder, workplace = tmp_path / "notebooks", tmp_path / "jupyter"
    folder.mkdir()
    workplace.mkdir()
    cells = [nbformat.v4.new_code_cell(CELL)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "many.ipynb")
    expect.set_options(timeout=PATIENCE)
    try:
        with jupyter_lab(folder, workplace) as address:
            page = new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(PATIENCE)
            page.goto(address.format(notebook="many.ipynb"))
            wait_for_kernel(page)
            start_all_cells(page)
            widget = page.locator(".visit-widget").first
            expect(tile(widget, 4)).to_be_visible()
            expect(tile(widget, 2)).to_contain_text("The prompt is empty")
            rows = told_by(page, "widget.prompts['rows']")
            expect(tile(widget, 3)).to_contain_text(rows[3]["first"]["text"])
            screenshot(page, "many-lab")
            tile(widget, 3).focus()
            page.keyboard.press("Enter")
            expect(part(widget, "target")).to_have_text(rows[3]["first"]["text"])
            expect(widget.locator('[data-kind="head"][data-layer="1"]').first).to_be_visible()
            wait_until(page, "[widget.opened, widget.prompt]", [3, PROMPTS[3]])
            part(widget, "all-prompts").click()
            expect(tile(widget, 3)).to_be_focused()
            wait_until(page, "widget.opened", None)
            part(widget, "order").select_option("unlikely")
            wait_until(page, "widget.order", "unlikely")
            told_by(page, "setattr(widget, 'opened', 1)")
            expect(part(widget, "prompt-place")).to_have_text("prompt 1")
    finally:
        expect.set_options(timeout=5_000)
