"""The same graphs give the same pictures: places to a tenth of a pixel, words and colours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.graphs import SCRIPTS, deep, give, in_scripts, renamed
from tests.browser.snapshots import FIXED, compare, picture_of
from tests.browser.steps import (
    BLOCK,
    GRAPH,
    LAYER,
    layer_area,
    node,
    open_layer,
    settle,
    show_routes,
    widget_of,
)

OTHER = 11


def first(_page: Page, _widget: Locator) -> None:
    """As the widget comes."""


def opened(_page: Page, widget: Locator) -> None:
    open_layer(widget)


def two_opened(page: Page, widget: Locator) -> None:
    give(page, blocks={OTHER: renamed(BLOCK, OTHER)})
    open_layer(widget, OTHER)
    open_layer(widget)


def routes(_page: Page, widget: Locator) -> None:
    show_routes(widget)


def table(_page: Page, widget: Locator) -> None:
    widget.get_by_role("button", name="table", exact=True).click()
    expect(widget.locator("table").first).to_be_visible()


def scripts(page: Page, widget: Locator) -> None:
    give(page, in_scripts(GRAPH), {LAYER: in_scripts(BLOCK)})
    expect(widget).to_contain_text(SCRIPTS[0])
    open_layer(widget)


def many_layers(page: Page, widget: Locator) -> None:
    give(page, deep(GRAPH, 80))
    expect(node(widget, "L79.mlp")).to_be_attached()


PICTURES: dict[str, tuple[int, int, Callable[[Page, Locator], None]]] = {
    "first-frame": (1280, 900, first),
    "open-layer": (1032, 720, opened),
    "two-open-layers": (1280, 900, two_opened),
    "routes": (1032, 900, routes),
    "table": (1032, 900, table),
    "scripts": (1032, 720, scripts),
    "80-layers": (624, 800, many_layers),
    "400-px": (424, 800, opened),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_the_same(open_widget, name):
    width, height, prepare = PICTURES[name]
    pictures = []
    for theme in ("light", "dark"):
        page = open_widget(
            theme=theme,
            page_options={
                "viewport": {"width": width, "height": height},
                "reduced_motion": "reduce",
            },
        )
        page.add_style_tag(content=FIXED)
        widget = widget_of(page)
        # A change of width has the picture placed anew, under a header that is as high as any.
        page.set_viewport_size({"width": width + 8, "height": height})
        page.set_viewport_size({"width": width, "height": height})
        settle(widget)
        prepare(page, widget)
        page.mouse.move(2, 2)
        settle(widget)
        pictures.append(picture_of(widget))
    light, dark = pictures
    assert light["shapes"] == dark["shapes"], "a theme changes no place"
    assert light["words"] == dark["words"]
    if name != "table":
        assert len(light["shapes"]) > 100
    compare(name, [*light["words"], "", *light["shapes"]])
    compare(f"{name}.light", light["colours"])
    compare(f"{name}.dark", dark["colours"])


def test_a_snapshot_sees_a_pixel(open_widget):
    page = open_widget(page_options={"reduced_motion": "reduce"})
    widget = widget_of(page)
    settle(widget)
    before = picture_of(widget)
    layer_area(widget, 3).evaluate(
        "(area) => area.setAttribute('width', Number(area.getAttribute('width')) + 1)"
    )
    assert picture_of(widget)["shapes"] != before["shapes"]
