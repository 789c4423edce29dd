"""Hostile text in every place where a graph's words are shown: it is drawn, and does nothing.

A fault is a call of what the texts call, an element that the front end does not make, a request, a
dialog, or what a page's policy had to stop.
"""

from __future__ import annotations

import base64
import json
import random
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Frame, Page, expect

import visit_widget as vw
from tests.browser.steps import (
    AUDIT,
    BLOCK,
    HEAD,
    LAYER,
    ROUTES,
    fixture,
    node,
    panel_of,
    settle,
    show_routes,
    sticks_out,
    widget_of,
)
from tests.hostile import LONG, PAYLOADS, spoil
from tests.unit.test_hostile import Elements
from visit_widget.viewer.line import line
from visit_widget.viewer.myst import myst_files
from visit_widget.viewer.page import iframe, page

SEEDS = (0, 1)
# What the front end never makes: it runs, fetches, or changes the page around it.
FOREIGN = (
    "script", "style", "link", "iframe", "object", "embed", "base", "meta", "img", "image", "video",
    "math", "mglyph", "foreignobject", "animate", "set", "body", "template",
)  # fmt: skip
# Runs before anything of a page does, in each of its frames.
WATCH = """
window.faults = [];
window.pwned = () => window.faults.push("called");
window.alert = window.confirm = window.prompt = window.pwned;
document.addEventListener("securitypolicyviolation", (event) =>
  window.faults.push(`stopped: ${event.violatedDirective} ${event.blockedURI}`));
"""
# Such elements under the widget, and attributes that could run.
STRANGE = """
(root, foreign) => [...root.querySelectorAll("*")].flatMap((element) => [
  ...(foreign.includes(element.localName.toLowerCase()) ? [element.localName] : []),
  ...[...element.attributes]
    .filter(({ name, value }) => /^on/i.test(name) || name === "srcdoc"
      || (/(href|src|action)$/i.test(name) && !/^(#|blob:|data:image)/.test(value)))
    .map(({ name, value }) => `${element.localName}[${name}=${value.slice(0, 40)}]`),
])
"""

Opened = Page | Frame


def hostile(seed: int) -> dict[str, Any]:
    """A saved page's data, with hostile words for all that people and tokenizers write."""
    rng = random.Random(seed)
    data = {
        "traits": {**fixture("traits"), "expanded": [LAYER], "selection": [HEAD], "pins": [HEAD]},
        "expand": {str(LAYER): BLOCK},
        "project": fixture("project")["nodes"],
        "routes": ROUTES,
        "attribution": fixture("attribution"),
        "predictions": fixture("predictions"),
        "audit": AUDIT,
    }
    data = spoil(data, rng)
    data["traits"]["status"] = {
        "state": "ready", "message": PAYLOADS[seed], "max_error": 0, "exact": True,
    }  # fmt: skip
    return data


@pytest.fixture
def watched(new_page) -> Callable[..., Page]:
    def open_page(**options: Any) -> Page:
        made = new_page(**options)
        made.add_init_script(WATCH)
        made.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))
        return made

    return open_page


def look_around(opened: Opened, where: Page) -> None:
    """Reads and touches what there is, in both views, and finds nothing at fault."""
    widget = widget_of(opened)
    expect(node(widget, HEAD)).to_be_visible()
    settle(widget)
    node(widget, HEAD).hover()
    expect(panel_of(widget)).to_be_visible()
    for name in ("Routes", "Layers"):
        if name == "Routes":
            show_routes(widget)
        else:
            widget.get_by_role("button", name="Layers", exact=True).click()
        settle(widget)
        assert set(widget.evaluate(STRANGE, FOREIGN)) == set()
    where.keyboard.press("Escape")
    assert opened.evaluate("faults") == []


@pytest.mark.parametrize("seed", SEEDS)
def test_in_the_widget(watched, site, seed):
    opened, data = watched(), hostile(seed)
    for name in ("traits", "expand", "project", "routes", "attribution", "predictions"):
        answer = data[name][str(LAYER)] if name == "expand" else data[name]
        body = json.dumps({"nodes": answer} if name == "project" else answer)
        opened.route(f"**/fixtures/{name}.json", lambda r, _, body=body: r.fulfill(body=body))
    opened.goto(f"{site}/tests/browser/harness.html?mode=kernel")
    opened.locator("html[data-ready]").wait_for()
    opened.evaluate(f"model.set('expanded', [{LAYER}]); model.set('selection', ['{HEAD}'])")
    look_around(opened, opened)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_saved_page(watched, tmp_path, seed):
    data, opened = hostile(seed), watched()
    file = tmp_path / "page.html"
    file.write_text(page(line(PAYLOADS[seed]), data), encoding="utf-8")
    opened.goto(file.as_uri())
    look_around(opened, opened)


def framed(opened: Page, markup: str, tmp_path: Path) -> Frame:
    file = tmp_path / "frame.html"
    file.write_text(f"<!doctype html><meta charset=utf-8>{markup}", encoding="utf-8")
    opened.goto(file.as_uri())
    opened.frame_locator("iframe").locator(".visit-widget").wait_for()
    # What is out of sight is not drawn to its end.
    opened.locator("iframe").scroll_into_view_if_needed()
    (_, frame) = opened.frames
    return frame


def test_in_a_frame_that_is_as_tall_as_what_is_in_it(watched, tmp_path):
    opened = watched()
    frame = framed(opened, iframe(page("a page", hostile(2)), None), tmp_path)
    look_around(frame, opened)
    heights = "[...document.querySelectorAll('iframe, #visit')].map((e) => e.offsetHeight)"
    (tall,), (found,) = frame.evaluate(heights), opened.evaluate(heights)
    assert abs(found - tall) <= 1
    assert found != 720
    assert opened.evaluate("faults") == []


def test_in_a_book(watched, site, tmp_path):
    files = myst_files(hostile(3))
    opened = watched()
    kinds = {"mjs": "text/javascript", "css": "text/css"}
    for name, content in files.items():
        kind = kinds.get(name.rsplit(".", 1)[1], "text/plain")
        answer = {"body": content, "content_type": kind}
        opened.route(f"**/book/{name}", lambda r, _, answer=answer: r.fulfill(**answer))
    opened.goto(f"{site}/tests/browser/book.html")
    body = json.loads(files["flow.md"].decode().split("\n")[2])
    opened.evaluate(
        "(json) => embed({ esm: '/book/visit-widget.mjs', css: '/book/visit-widget.css', json })",
        body,
    )
    look_around(opened, opened)
    assert opened.evaluate("model.get('view')") == "block"
    opened.evaluate("leave()")
    expect(opened.locator(".visit-widget")).to_have_count(0)


FIGURE = """
async ([data, how]) => {
  const { figureFile } = await import("/visit_widget/static/widget.js");
  const file = await figureFile(data, { theme: "light", width: 1008, ...how });
  const reader = new FileReader();
  reader.readAsDataURL(file);
  await new Promise((done) => reader.addEventListener("load", done));
  return reader.result;
}
"""


def test_in_figures_and_in_what_a_notebook_keeps(watched, site, tmp_path):
    """The SVG as a document, the picture beside a widget, and the notebook as HTML."""
    opened, data = watched(), hostile(4)
    opened.goto(f"{site}/tests/browser/book.html")
    opened.add_style_tag(url="/visit_widget/static/widget.css")
    svg, png = (
        opened.evaluate(FIGURE, [data, {"format": kind, "scale": 1}]) for kind in ("svg", "png")
    )
    drawn = base64.b64decode(svg.partition(",")[2])
    figure = ET.fromstring(drawn)
    tags = {element.tag.rpartition("}")[2].lower() for element in figure.iter()}
    assert not tags & {"a", *FOREIGN}, tags
    for element in figure.iter():
        assert not [name for name in element.attrib if name.lower().startswith("on")]
    file = tmp_path / "figure.svg"
    file.write_bytes(drawn)
    opened.goto(file.as_uri())
    assert opened.evaluate("faults") == []

    shown = vw.show({**data, "project": {}})
    shown.keep_picture(png)
    kept, about = shown._picture_output()
    outputs: list[dict[str, Any]] = [
        {"data": shown._repr_mimebundle_()[0]},
        {"data": kept, "metadata": about},
        {"data": {"text/html": iframe(page("a page", data), None)}},
    ]
    cells = [nbformat.v4.new_output("display_data", **output) for output in outputs]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=cells)])
    markup, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    tags = [tag for tag, _ in Elements(markup).found]
    assert (tags.count("img"), tags.count("iframe"), tags.count("script")) == (1, 1, 1)
    opened = watched()
    look_around(framed(opened, markup, tmp_path), opened)
    assert opened.locator("img").evaluate("(e) => e.naturalWidth") > 1000
    assert opened.evaluate("faults") == []


def test_a_hundred_thousand_characters_without_a_break(watched, tmp_path):
    data = hostile(5)
    graph = data["traits"]["graph"]
    data["traits"]["prompt"] = graph["prompt"] = LONG
    graph["model"]["name"] = graph["target"]["text"] = graph["tokens"][1]["text"] = LONG
    for part in graph["nodes"][::7]:
        part["label"] = LONG
    file = tmp_path / "page.html"
    file.write_text(page(line(LONG), data), encoding="utf-8")
    opened = watched()
    opened.goto(file.as_uri())
    look_around(opened, opened)
    assert sticks_out(opened) <= 0


def test_the_policy_stops_what_would_get_in(watched, site, tmp_path):
    """A page with a hole in it: the policy that all of them carry is what holds."""
    whole = page("a page", hostile(6))
    hole = "<img src=x onerror=pwned()><script>pwned()</script>"
    outside = f"<img src='{site}/docs/images/overview.png'>"
    file = tmp_path / "page.html"
    for policy in (True, False):
        put = f"{hole}{outside}<main id='visit'>"
        text = whole.replace('<main id="visit">', put)
        file.write_text(
            text if policy else text.replace("Content-Security-Policy", "None"), encoding="utf-8"
        )
        opened = watched()
        opened.goto(file.as_uri())
        expect(widget_of(opened)).to_be_visible()
        faults = opened.evaluate("faults")
        assert ("called" in faults) is not policy
        assert any(fault.startswith("stopped: script-src") for fault in faults) is policy
        assert any(fault.startswith("stopped: img-src http") for fault in faults) is policy
