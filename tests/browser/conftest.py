"""Chromium, a local server for the repository's files, and pages that own up to their errors."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.steps import layer_area, widget_of

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(__file__).parent / "screenshots"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
LOCAL = re.compile(r"^(http://127\.0\.0\.1[:/]|ws://127\.0\.0\.1[:/]|data:|blob:|file:|about:)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
    asked_for = any("::" in argument for argument in config.args)
    if not asked_for and not os.environ.get("EVERY_THEME"):
        left_out = other_themes([item for item in items if item.path.parent == here])
        config.hook.pytest_deselected(items=left_out)
        kept = {*map(id, items)} - {*map(id, left_out)}
        items[:] = [item for item in items if id(item) in kept]


def other_themes(items: list[pytest.Item]) -> list[pytest.Item]:
    """Of tests that stand in both themes the half to leave out: of each one of the two, by a number
    that hangs on its name alone. `make test-themes` runs all.
    """
    themes: dict[str, dict[str, pytest.Item]] = {}
    for item in items:
        theme = re.search(r"\b(light|dark)\b", item.nodeid.partition("[")[2])
        if theme:
            name = item.nodeid.replace(theme[0], "", 1)
            themes.setdefault(name, {})[theme[0]] = item
    pairs = [(name, both) for name, both in themes.items() if len(both) == 2]
    return [both[("light", "dark")[crc32(name.encode()) % 2]] for name, both in pairs]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        pytest.skip("Chromium is not on the PATH: scripts/chromium.sh installs it or says how")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        """Says nothing: the tests' report is enough."""


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of a server of the repository's files, on this machine only."""
    with serving() as address:
        yield address


@contextmanager
def serving() -> Iterator[str]:
    """A server of the repository's files on a port of its own; its address."""
    handler = functools.partial(QuietHandler, directory=ROOT)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def patient() -> Iterator[None]:
    """Expectations wait for a kernel that imports torch and loads a model."""
    expect.set_options(timeout=90_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture
def new_page(browser) -> Iterator[Callable[..., Page]]:
    """Opens pages. A page's own errors, or a request that leaves this machine, fail the test.

    Errors with a text in `forgiven` are the host's own, whatever it shows.
    """
    contexts, faults = [], []

    def open_page(forgiven: tuple[str, ...] = (), **options) -> Page:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on(
            "pageerror",
            lambda error: (
                None if str(error).endswith(forgiven) else faults.append(f"error: {error}")
            ),
        )
        page.on(
            "request",
            lambda request: (
                None if LOCAL.match(request.url) else faults.append(f"left here: {request.url}")
            ),
        )
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


@pytest.fixture
def screenshot() -> Callable[[Page, str], None]:
    SCREENSHOTS.mkdir(exist_ok=True)

    def take(page: Page, name: str) -> None:
        page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")

    return take


@pytest.fixture
def open_widget(new_page, site) -> Callable[..., Page]:
    """Opens the harness in a mode, and waits until every view is drawn."""

    def open_page(mode: str = "kernel", views: int = 1, page_options=None, **options) -> Page:
        page = new_page(**(page_options or {}))
        query = "&".join(f"{k}={v}" for k, v in {"mode": mode, "views": views, **options}.items())
        page.goto(f"{site}/tests/browser/harness.html?{query}")
        page.locator("html[data-ready]").wait_for()
        for view in range(views):
            layer_area(widget_of(page, view), 0).wait_for()
        return page

    return open_page
