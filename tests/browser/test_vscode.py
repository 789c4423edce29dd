"""The widget by the rules of VS Code's notebooks: tests/browser/hosts says what they are."""

from __future__ import annotations

import pytest
from playwright.sync_api import Frame, expect

from tests.browser.steps import HEAD, LAYER, layer_area, node, panel_of, settle

GROUND = "(e) => getComputedStyle(e).backgroundColor"


@pytest.fixture(params=["light", "dark"])
def theme(request) -> str:
    return request.param


@pytest.fixture
def webview(new_page, site, theme) -> Frame:
    page = new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{site}/tests/browser/hosts/vscode.html?theme={theme}")
    frame = page.frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for(state="attached")
    layer_area(frame.locator(".visit-widget"), 0).wait_for()
    return next(each for each in page.frames if "webview" in each.url)


def test_it_is_drawn_answered_saved_and_keeps_its_keys_to_itself(webview, theme, screenshot):
    widget = webview.locator(".visit-widget")
    layer_area(widget, LAYER).click()
    node(widget, HEAD).click()
    expect(panel_of(widget)).to_contain_text("head 4")
    expect(panel_of(widget)).to_contain_text("Japan")
    settle(widget)
    screenshot(webview.page, f"vscode-{theme}")

    # The frame's height is the notebook's: it says nothing of the widget's.
    assert widget.evaluate("(e) => e.offsetHeight") < 1000

    # Its ground and the host's: no white around a dark graph.
    place = webview.locator(".cell-output-ipywidget-background")
    seen = {place.evaluate(GROUND), widget.evaluate(GROUND)}
    if theme == "light":
        assert seen == {"rgb(255, 255, 255)"}
    else:
        assert "rgb(255, 255, 255)" not in seen
    assert ("dark" in widget.get_attribute("class").split()) == (theme == "dark")

    # Keys that the widget knows do not run the editor's commands.
    node(widget, HEAD).press("ArrowDown")
    webview.page.keyboard.press("/")
    expect(widget.locator(".vw-search-input")).to_be_focused()
    webview.page.keyboard.press("Escape")
    assert not {"/", "ArrowDown", "Escape"} & set(webview.evaluate("window.heard"))

    # A file leaves by the editor's own door.
    widget.get_by_role("button", name="Export").click()
    widget.get_by_role("menuitem", name="SVG").click()
    webview.wait_for_function("window.saved.length === 1")
    (file,) = webview.evaluate("window.saved")
    assert file["name"].endswith("Tokyo.svg")
    assert "<svg" in file["text"][:80]
    assert "Japan" in file["text"]
    assert widget.locator("a[download]").count() == 0
    assert webview.evaluate("window.refused") == []
