"""The documentation site, built, opened from its files and from a server: no fault, nothing from
outside.

`make test-docs` opens every page of the site that `make docs` built; without it a site is built
that has two of the live pages, and the pages that show others are left out.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import QuietHandler

pytest.importorskip("sphinx", reason="Sphinx comes with the extra `docs`")
pytestmark = [pytest.mark.demo, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SAMPLE = ("layer", "routes")
SIZES = {"window": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder of the built site."""
    if given := os.environ.get("DOCS_SITE"):
        return (ROOT / given).resolve()
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, ROOT / "scripts" / "docs.py", "--quick", "--out", out]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(
        [*command, "--only", ",".join(SAMPLE)], check=True, env=os.environ | {"PYTHONPATH": paths}
    )
    return out / "site"


@pytest.fixture(scope="module")
def served(built) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=built)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def open_page(new_page):
    """Opens a page, of which every error and every failed request is a fault of the test."""
    faults: list[str] = []

    def open_it(address: str, **options) -> Page:
        page = new_page(**options)

        def hear(said) -> None:
            if said.type in ("error", "warning"):
                faults.append(f"{page.url}: {said.text}")

        page.on("console", hear)

        def failed(request) -> None:
            # A page that is left ends what it was loading: a frame's own script, as a blob.
            if not request.url.startswith("blob:"):
                faults.append(f"failed: {request.url}")

        page.on("requestfailed", failed)
        page.goto(address)
        return page

    yield open_it
    assert faults == []


class Links(HTMLParser):
    """What a page links to and loads, and the anchors in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.frames: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                (self.frames if tag == "iframe" else self.links).append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def pages_of(site: Path) -> list[Path]:
    return sorted(page for page in site.rglob("*.html") if page.parent.name != "frames")


def whole(site: Path, page: Path) -> bool:
    """Whether the live pages that it shows were built."""
    frames = Links(page.read_text(encoding="utf-8")).frames
    return all((page.parent / frame).is_file() for frame in frames)


def test_every_link_of_the_site_leads_somewhere(built):
    read = {page: Links(page.read_text(encoding="utf-8")) for page in pages_of(built)}
    wrong = []
    for page, found in read.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or "live/frames/" in link:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.is_file() or not target.is_relative_to(built):
                wrong.append(f"{page.relative_to(built)}: {link}")
            elif parts.fragment and target in read and parts.fragment not in read[target].anchors:
                wrong.append(f"{page.relative_to(built)}: {link}, no such anchor")
    assert len(read) > 40
    assert wrong == []


def test_its_live_pages_were_built(built):
    frames = {page.stem for page in (built / "live" / "frames").glob("*.html")}
    wanted = {page.stem for page in (ROOT / "docs" / "live").glob("*.md")} - {"index"}
    assert frames == (wanted if "DOCS_SITE" in os.environ else set(SAMPLE))


def test_every_page_stands_there_as_markdown(built):
    made = {"search.html"}
    for page in pages_of(built):
        if page.name in made:
            continue
        text = page.with_suffix(".md").read_text(encoding="utf-8")
        assert text.lstrip().startswith("# "), page
        assert "```{" not in text, page
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+\.(?:md|html))[#)]", text):
            if "live/frames/" in link or link.startswith(("../notebooks", "../../")):
                continue
            assert (page.parent / link).is_file(), (page, link)
    listed = re.findall(r"\((.+?\.md)\)", (built / "llms.txt").read_text(encoding="utf-8"))
    assert {(built / name).with_suffix(".html") for name in listed} == {
        page for page in pages_of(built) if page.name not in made
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_opens_without_a_fault(built, open_page, size, theme):
    """From its file. `new_page` fails where a page asks for anything beyond this machine."""
    shown = [page for page in pages_of(built) if whole(built, page)]
    assert len(shown) > 20
    # One size and theme opens all of them, the others a few.
    if (size, theme) != ("window", "light"):
        names = ("index", "measures", "what-if", "layer", "trace", "ask-in-python")
        shown = [page for page in shown if page.stem in names]
    page = open_page("about:blank", viewport=SIZES[size], color_scheme=theme)
    for file in shown:
        page.goto(file.as_uri())
        expect(page.locator("h1, #search-results").first).to_be_attached()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, file
        if page.locator("iframe[data-live]").count():
            page.locator("iframe[data-live]").first.scroll_into_view_if_needed()
            expect(widget_in(page)).to_be_visible()


def widget_in(page: Page):
    return page.frame_locator("iframe[data-live]").first.locator(".visit-widget")


@pytest.mark.parametrize("way", ["file", "server"])
def test_a_live_page_lives_and_follows_the_theme(built, served, open_page, screenshot, way):
    base = served if way == "server" else built.as_uri()
    page = open_page(f"{base}/live/layer.html", viewport=SIZES["window"], color_scheme="light")
    widget = widget_in(page)
    expect(widget.locator('[data-role="layer"]').first).to_be_visible()
    ground = "(e) => getComputedStyle(e).backgroundColor"
    page.locator("iframe[data-live]").first.scroll_into_view_if_needed()
    frame = page.locator("iframe[data-live]").first
    page.wait_for_function("document.querySelector('iframe[data-live]').dataset.told === 'true'")
    assert abs(frame.bounding_box()["height"] - widget.bounding_box()["height"]) <= 6
    light = widget.evaluate(ground)
    page.evaluate("document.body.dataset.theme = 'dark'")
    expect(widget).not_to_have_css("background-color", light)
    screenshot(page, f"docs-live-{way}")
    page.evaluate("document.body.dataset.theme = 'light'")
    expect(widget).to_have_css("background-color", light)


@pytest.mark.parametrize("way", ["file", "server"])
def test_the_search_finds(built, served, open_page, way):
    base = served if way == "server" else built.as_uri()
    page = open_page(f"{base}/index.html", viewport=SIZES["window"])
    page.locator(".sidebar-search").fill("score_parts")
    page.keyboard.press("Enter")
    results = page.locator("#search-results li a")
    expect(results.first).to_be_visible()
    assert any("api/trace" in link.get_attribute("href") for link in results.all())
