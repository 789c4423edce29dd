"""The widget by the rules of Colab: tests/browser/hosts says what they are."""

from __future__ import annotations

import json
import os
import sys
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from types import ModuleType

import IPython.display
import nbformat
import pytest
from nbclient import NotebookClient
from playwright.sync_api import Frame, Page, expect

import visit_widget as vw
from tests.browser.conftest import ROOT, serving
from tests.browser.steps import HEAD, LAYER, layer_area, node, panel_of, settle
from tests.conftest import DEMO_PROMPT
from tests.tiny import make_speaker, tokenizer
from tests.unit.test_output import as_url, send
from visit_widget.viewer import colab
from visit_widget.viewer.output import VIEW

# What tests/browser/hosts/colab-output.js lets through.
MOST_BYTES = 1_000_000
MANAGER = "https://ssl.gstatic.com/colaboratory-static/widgets/manager.min.js"
# One white pixel.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mP8/x8AAwMCAO+ip1sAAAAASUVORK5CYII="
)


class Notebook:
    """What a cell of Colab has put out; an update replaces what stands under its id."""

    def __init__(self) -> None:
        self.outputs: list[dict] = []
        self.manager: str | None = None

    def publish(self, data, metadata=None, *, transient=None, update=False, **_) -> None:
        metadata = dict(metadata or {})
        if VIEW in data and self.manager:
            # What the hook of enable_custom_widget_manager writes.
            found = metadata.setdefault(VIEW, {})
            found["colab"] = {"custom_widget_manager": {"url": self.manager}}
        place = (transient or {}).get("display_id")
        output = {"data": data, "metadata": metadata, "place": place}
        if update:
            at = [each["place"] for each in self.outputs].index(place)
            self.outputs[at] = output
        else:
            self.outputs.append(output)


@pytest.fixture
def notebook(monkeypatch):
    """A kernel of Colab, as far as a package can tell."""
    here = Notebook()
    names = ["google", "google.colab", "google.colab.output", "google.colab.output._widgets"]
    modules = [ModuleType(name) for name in names]
    output, widgets = modules[2:]

    def enable() -> None:
        here.manager = widgets._installed_url = MANAGER

    widgets._installed_url = None
    output._widgets, output.enable_custom_widget_manager = widgets, enable
    for name, module in zip(names, modules, strict=True):
        monkeypatch.setitem(sys.modules, name, module)
    from anywidget._util import enable_custom_widget_manager_once

    enable_custom_widget_manager_once.cache_clear()
    monkeypatch.setattr(IPython.display, "publish_display_data", here.publish)
    here.widgets = widgets
    yield here
    enable_custom_widget_manager_once.cache_clear()


@pytest.fixture
def widget(notebook):
    made = vw.visit(make_speaker("llama"), tokenizer(), "the cat sat", target=" mat")
    yield made
    made.close()


@pytest.fixture(scope="module")
def elsewhere():
    """The same files at another origin."""
    with serving() as address:
        yield address


@pytest.fixture
def show(new_page, site, elsewhere):
    def shown(outputs: list[dict], dark: bool = False) -> tuple[Page, list[Frame]]:
        page = new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{site}/tests/browser/hosts/colab.html")
        page.evaluate("(all) => show(...all)", [outputs, elsewhere, dark])
        frames = page.locator("iframe")
        expect(frames).to_have_count(len(outputs))
        return page, [frame.content_frame() for frame in frames.element_handles()]

    return shown


def height_of(page: Page, frame: int = 0) -> int:
    return page.locator("iframe").nth(frame).evaluate("(e) => e.offsetHeight")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_is_drawn_answered_and_as_tall_as_it_needs_to_be(
    notebook, widget, show, screenshot, dark
):
    widget._ipython_display_()
    send(widget, png=as_url(b64decode(PIXEL)), scale=1)
    page, (frame, below) = show(notebook.outputs, dark)
    graph = frame.locator(".visit-widget")
    layer_area(graph, 0).wait_for()
    settle(graph)
    before = height_of(page)
    assert before > 400
    layer_area(graph, LAYER).click()
    node(graph, HEAD).click()
    expect(panel_of(graph)).to_contain_text("Japan")
    settle(graph)
    assert height_of(page) >= before
    assert frame.evaluate("document.documentElement.scrollHeight <= innerHeight")
    assert ("dark" in graph.get_attribute("class").split()) == dark
    screenshot(page, f"colab-{'dark' if dark else 'light'}")

    # It stays as it is: a frame that grows with what it is told would never stop.
    told = page.evaluate("told.length")
    page.wait_for_timeout(500)
    assert page.evaluate("told.length") == told

    # What is for others is there, and out of sight.
    picture = below.locator("img")
    expect(picture).to_have_count(1)
    expect(picture).to_be_hidden()
    assert height_of(page, 1) == 0
    for each in (frame, below):
        assert each.evaluate("[refused, tooLarge]") == [[], []]


def test_before_the_picture_there_is_nothing_below(notebook, widget, show):
    widget._ipython_display_()
    _, (frame, below) = show(notebook.outputs)
    layer_area(frame.locator(".visit-widget"), 0).wait_for()
    assert below.locator("body").inner_text().strip() == ""


def test_windows_fit_into_the_frame(notebook, widget, show):
    widget._ipython_display_()
    page, (frame, _) = show(notebook.outputs)
    graph = frame.locator(".visit-widget")
    layer_area(graph, 0).wait_for()
    for name in ("Export", "Help"):
        graph.get_by_role("button", name=name).click()
        box = graph.locator(".vw-popover").bounding_box()
        assert box is not None
        outer = page.locator("iframe").first.bounding_box()
        assert box["y"] + box["height"] <= outer["y"] + outer["height"] + 1
        page.keyboard.press("Escape")


def test_where_widgets_are_switched_off_it_says_how_to_switch_them_on(notebook, widget, show):
    notebook.manager = notebook.widgets._installed_url = None
    widget._ipython_display_()
    _, (frame,) = show(notebook.outputs)
    expect(frame.locator("pre")).to_have_text(colab.ASK)
    assert "enable_custom_widget_manager()" in colab.ASK


@pytest.mark.demo
@pytest.mark.slow
def test_what_travels_is_small_enough_for_a_real_model(demo):
    made = vw.visit(*demo, DEMO_PROMPT)
    try:
        session = made._session
        messages = {
            "the first frame": made.get_state(),
            "an open layer": session.expand(LAYER),
            "routes": session.routes(),
            "predictions": session.predictions(),
        }
        sizes = {name: len(json.dumps(each, default=str)) for name, each in messages.items()}
        print("Colab:", sizes)
        assert max(sizes.values()) < MOST_BYTES
    finally:
        made.close()


# What a kernel of Colab has of its own, as far as a notebook can tell.
COLAB = f"""
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

names = ["google", "google.colab", "google.colab.output", "google.colab.output._widgets"]
google, colab, output, widgets = modules = [ModuleType(name) for name in names]
for name, module in zip(names, modules):
    module.__path__, module.__spec__ = [], ModuleSpec(name, None, is_package=True)
google.colab, colab.output, output._widgets = colab, output, widgets
widgets._installed_url = None
sys.modules |= dict(zip(names, modules))


def hook(message):
    about, data = message["content"]["metadata"], message["content"]["data"]
    if "{VIEW}" in data:
        manager = {{"url": "{MANAGER}"}}
        about.setdefault("{VIEW}", {{}})["colab"] = {{"custom_widget_manager": manager}}
    return message


def enable_custom_widget_manager():
    if not widgets._installed_url:
        get_ipython().display_pub.register_hook(hook)
    widgets._installed_url = "{MANAGER}"


output.enable_custom_widget_manager = enable_custom_widget_manager

from scripts.stills import substitute_demo

substitute_demo()
"""
INSTALL = "%pip install --quiet visit-widget\n"


@pytest.mark.demo
@pytest.mark.slow
def test_a_newcomer_runs_the_notebook_and_ends_at_a_prompt_of_their_own(
    show, screenshot, tmp_path, monkeypatch
):
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    notebook = nbformat.read(ROOT / "notebooks" / "colab.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert INSTALL in code[0].source
    code[0].source = code[0].source.replace(INSTALL, "pass\n")
    own = "The opposite of hot is"
    line = next(line for line in code[-1].source.splitlines() if line.startswith("prompt = "))
    code[-1].source = code[-1].source.replace(line, f"prompt = {own!r}")
    notebook.cells.insert(0, nbformat.v4.new_code_cell(COLAB))
    place = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place)
    start = perf_counter()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(client.execute).result()
    seconds = perf_counter() - start
    print(f"Colab: the notebook without its installation took {seconds:.0f} s")
    assert seconds < 180  # two minutes, on a machine that does nothing else
    assert (tmp_path / "next-word.html").stat().st_size > 100_000

    told = [each.get("text", "") for cell in code for each in cell.outputs]
    assert any(" attends" in text for text in told)
    assert any("without L" in text for text in told)
    shown = [each for cell in code for each in cell.outputs if VIEW in each.get("data", {})]
    assert len(shown) == 3
    assert f"“{own}”" in shown[-1].data["text/plain"]
    page, frames = show([dict(each) for each in shown])
    for frame in frames:
        layer_area(frame.locator(".visit-widget"), 0).wait_for()
    screenshot(page, "colab-notebook")
