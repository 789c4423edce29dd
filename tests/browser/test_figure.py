"""Exported figures: the picture on screen, as a file that stands alone."""

from __future__ import annotations

import base64
import itertools
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import (
    HEAD,
    LAYER,
    node,
    open_layer,
    set_model,
    settle,
    show_routes,
    widget_of,
)

# What a plain SVG 1.1 has not.
FOREIGN = ("var(", "color-mix", "class=", "<style", "data-", "aria-", "foreignObject", "href", "px")
SVG = "{http://www.w3.org/2000/svg}"

# Where each text of the graph is, by what it says, from the drawing's own corner.
TEXTS = """
(svg) => {
  const home = svg.getBoundingClientRect();
  const seen = (text) => text.textContent.trim() !== "" &&
    text.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  return [...svg.querySelectorAll("text")].filter(seen).map((text) => {
    const box = text.getBoundingClientRect();
    return [text.textContent, box.x - home.x, box.y - home.y, box.width, box.height];
  });
}
"""
# The part of pixels in which two pictures differ, where both have one, from a line on.
DIFFERENCE = """
async ([one, other, from]) => {
  const read = async (url) => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return context.getImageData(0, from, image.width, image.height - from);
  };
  const [a, b] = [await read(one), await read(other)];
  if (a.width !== b.width || a.height !== b.height) return 1;
  let different = 0;
  for (let at = 0; at < a.data.length; at += 4) {
    const off = [0, 1, 2].map((part) => Math.abs(a.data[at + part] - b.data[at + part]));
    if (Math.max(...off) > 40) different += 1;
  }
  return different / (a.data.length / 4);
}
"""


def export(page: Page, kind: str = "SVG", theme: str | None = None) -> Path:
    """Saves a figure by the menu; gives the file."""
    widget = widget_of(page)
    widget.get_by_role("button", name="Export").click()
    if theme:
        widget.get_by_role("menuitemradio", name=theme, exact=True).click()
    with page.expect_download() as download:
        widget.get_by_role("menuitem", name=kind).click()
    return download.value.path()


def read(file: Path) -> ET.Element:
    return ET.fromstring(file.read_text(encoding="utf-8"))


def said(root: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def data_url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@pytest.fixture
def open_alone(new_page, tmp_path):
    """Shows an exported SVG by itself, as large as it is."""

    def show(file: Path) -> Page:
        root = read(file)
        alone = tmp_path / "alone.svg"
        alone.write_bytes(file.read_bytes())
        page = new_page(viewport={k: int(root.get(k)) for k in ("width", "height")})
        page.goto(alone.as_uri())
        return page

    return show


def prepare(open_widget, view: str, theme: str, width: int = 1440) -> Page:
    options = {"viewport": {"width": width, "height": 1400}, "reduced_motion": "reduce"}
    page = open_widget("standalone", theme=theme, page_options=options)
    widget = widget_of(page)
    if view == "routes":
        show_routes(widget)
    else:
        open_layer(widget)
    page.mouse.move(2, 2)
    settle(widget)
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", ["block", "routes"])
def test_the_file_shows_what_is_on_screen(open_widget, open_alone, view, theme):
    page = prepare(open_widget, view, theme)
    svg = widget_of(page).locator("svg.vw-stage:visible")
    here = svg.evaluate(TEXTS)
    file = export(page)
    alone = open_alone(file)
    width, height = (int(read(file).get(k)) for k in ("width", "height"))
    box = svg.bounding_box()
    assert width == round(box["width"])
    # A figure is as many whole pixels high as it needs.
    top = math.floor(height - box["height"])

    there = alone.locator("svg").evaluate(TEXTS)
    # Texts on a rim are there twice: the rim, then the letters.
    for text, *place in here:
        near = [
            other
            for name, *other in there
            if name == text and abs(other[0] - place[0]) < 1 and abs(other[1] - top - place[1]) < 1
        ]
        assert near, f"{text!r} is not where it was"
        assert near[0][2:] == pytest.approx(place[2:], abs=0.5)
    assert len(here) > 30

    graph = page.screenshot(
        clip={**box, "x": round(box["x"]), "y": round(box["y"]), "height": height - top},
        animations="disabled",
    )
    url = data_url(
        "png", alone.screenshot(clip={"x": 0, "y": top, "width": width, "height": height - top})
    )
    different = page.evaluate(DIFFERENCE, [data_url("png", graph), url, 0])
    assert different < 0.002, "more than the underlines and the close button, which are for hands"


@pytest.mark.parametrize("view", ["block", "routes"])
def test_the_file_is_plain_and_stands_alone(open_widget, view):
    file = export(prepare(open_widget, view, "dark"))
    text = file.read_text(encoding="utf-8")
    root = read(file)
    assert root.tag == f"{SVG}svg"
    assert root.get("version") == "1.1"
    for foreign in FOREIGN:
        assert foreign not in text, foreign
    assert " style=" not in text
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    families = set(re.findall(r'font-family="([^"]+)"', text))
    assert len(families) == 2
    assert all(re.search(r", (sans-serif|monospace)$", each) for each in families)
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r"url\(#([^)]+)\)", text)) == set(ids), "each is used, none is missing"
    colours = set(re.findall(r' (?:fill|stroke)="([^"]+)"', text))
    assert all(re.fullmatch(r"#[0-9a-f]{6}|none|url\(#.*\)", each) for each in colours)
    assert len(text) < 200_000


def test_the_file_loads_as_an_image_with_the_same_picture(open_widget, open_alone):
    page = prepare(open_widget, "block", "light")
    file = export(page)
    alone = data_url("png", open_alone(file).screenshot())
    image = data_url("svg+xml", file.read_bytes())
    assert page.evaluate(DIFFERENCE, [alone, image, 0]) < 0.001


def test_a_png_is_the_svg_twice_as_large(open_widget):
    page = prepare(open_widget, "routes", "dark")
    svg, png = export(page), export(page, "PNG")
    size = """async (url) => {
        const image = new Image(); image.src = url; await image.decode();
        return [image.width, image.height]; }"""
    root = read(svg)
    found = page.evaluate(size, data_url("png", png.read_bytes()))
    assert found == [2 * int(root.get("width")), 2 * int(root.get("height"))]


def test_colours_are_those_chosen_whatever_is_on_screen(open_widget):
    page = prepare(open_widget, "block", "light")
    paper = {}
    for theme in ("as on screen", "dark", "light"):
        rect = read(export(page, theme=theme)).find(f"{SVG}rect")
        paper[theme] = rect.get("fill")
    assert paper == {"as on screen": "#ffffff", "dark": "#14171c", "light": "#ffffff"}
    expect(widget_of(page)).not_to_have_class(re.compile("dark"))
    dark = prepare(open_widget, "block", "dark")
    light_there = export(dark, theme="light").read_text(encoding="utf-8")
    assert light_there == export(page, theme="light").read_text(encoding="utf-8")


def test_what_is_scrolled_out_of_sight_is_in_the_file(open_widget):
    page = prepare(open_widget, "block", "light", width=330)
    scroller = widget_of(page).locator(".vw-scroller:visible")
    scrolled = scroller.evaluate(
        "(e) => { e.scrollLeft = 1e4; return [e.scrollLeft, e.scrollWidth]; }"
    )
    assert scrolled[0] > 0
    root = read(export(page))
    assert int(root.get("width")) == scrolled[1]
    assert {"head writes", "next token", f"Layer {LAYER}"} <= set(said(root))
    assert scroller.evaluate("(e) => e.scrollLeft") == scrolled[0], "and nothing moved"


def test_what_is_selected_is_marked_and_what_is_pointed_at_is_not(open_widget):
    page = prepare(open_widget, "block", "light")
    widget = widget_of(page)
    plain = export(page).read_text(encoding="utf-8")
    node(widget, HEAD).hover()
    assert widget.locator(".vw-part.has-lit").count() > 0
    page.keyboard.press("Escape")
    page.evaluate("""() => [...document.querySelectorAll('button')]
        .find((e) => e.getAttribute('aria-label') === 'Export').click()""")
    with page.expect_download() as download:
        page.evaluate("""() => [...document.querySelectorAll('[role=menuitem]')]
            .find((e) => e.textContent.startsWith('SVG')).click()""")
    assert download.value.path().read_text(encoding="utf-8") == plain
    node(widget, HEAD).click()
    settle(widget)
    ring = 'stroke="#2f5bd7"'
    assert export(page).read_text(encoding="utf-8").count(ring) > plain.count(ring)


def test_the_marks_under_the_tokens_are_those_on_screen(open_widget):
    page = prepare(open_widget, "block", "light")
    widget = widget_of(page)
    remainder = widget.locator('[data-role="remainder"]').inner_text()
    assert remainder in said(read(export(page)))
    assert "✓" in said(read(export(page)))
    widget.get_by_role("button", name="What is shown under the tokens").click()
    widget.get_by_label("attribution").uncheck()
    page.keyboard.press("Escape")
    shown = said(read(export(page)))
    assert remainder not in shown
    assert "✓" in shown


def test_a_long_prompt_of_many_scripts_wraps_and_is_whole(open_widget, open_alone, screenshot):
    options = {"viewport": {"width": 1008, "height": 720}}
    page = open_widget("kernel", page_options=options)
    words = ["␣word", "שלום", "␣مرحبا", "漢字かな", "end-of-it", "␣<b>&amp;", "😀"]
    page.evaluate(
        """(words) => {
            const graph = structuredClone(model.get("graph"));
            graph.tokens = [...Array(300).keys()].map((position) =>
                ({ position, id: position, text: words[position % words.length] }));
            graph.revision += 1;
            model.replies = {};
            model.set("graph", graph);
        }""",
        words,
    )
    settle(widget_of(page))
    file = export(page)
    shown = said(read(file))
    # Words written from right to left are set apart.
    apart = [f"\u2068{w}\u2069" if w in ("שלום", "␣مرحبا") else w for w in words]
    assert shown[:300] == [apart[at % len(words)] for at in range(300)]
    alone = open_alone(file)
    screenshot(alone, "figure-long-prompt")
    places = alone.locator("svg").evaluate(TEXTS)[:300]
    lines = {}
    for text, x, y, width, height in places:
        assert x >= 20
        assert x + width <= 1008 - 16
        # Fonts differ in height: a line is known by its middle.
        lines.setdefault(round((y + height / 2) / 16), []).append((x, x + width, text))
    assert len(lines) > 15
    for line in lines.values():
        ends = sorted(line)
        assert [text for _, _, text in ends] == [text for _, _, text in line], "in reading order"
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ends)), "nothing touches"


def test_two_figures_in_one_page_keep_to_their_own_definitions(open_widget, new_page):
    page = prepare(open_widget, "block", "light")
    first = export(page).read_text(encoding="utf-8")
    second = export(page, theme="dark").read_text(encoding="utf-8")
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_a_figure_that_is_not_there_yet_is_not_made(open_widget):
    page = open_widget("kernel")
    page.evaluate("model.silent.add('routes')")
    widget = widget_of(page)
    set_model(page, view="routes")
    widget.get_by_role("button", name="Export").click()
    widget.get_by_role("menuitem", name="SVG").click()
    expect(widget.get_by_text("Try again when it is on screen")).to_be_visible()


def test_a_figure_without_a_window_lights_what_was_looked_for(open_widget):
    page = open_widget()
    draw = """async (search) => {
        const { figureFile } = await import("/visit_widget/static/widget.js");
        const traits = await (await fetch("/tests/fixtures/traits.json")).json();
        const display = { under: [], least: false, unfolded: false, search };
        const data = { traits: { ...traits, display } };
        const how = { theme: "light", width: 1000, format: "svg" };
        return (await figureFile(data, how)).text();
    }"""
    plain = page.evaluate(draw, None)
    assert page.evaluate(draw, {"query": "there is none of this", "hit": None}) == plain
    found = page.evaluate(draw, {"query": "L3.attn", "hit": "L3.attn"})
    assert found != plain
    assert found.count("opacity") > plain.count("opacity"), "all else is dimmed"
