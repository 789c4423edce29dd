"""The routes view on a recorded graph: what is drawn, and where it leads."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.labels import overlapping_labels
from tests.browser.steps import (
    ATTRIBUTION,
    GRAPH,
    HEAD,
    LAYER,
    ROUTES,
    click_ribbon,
    layer_area,
    measure_of,
    model_state,
    node,
    open_layer,
    panel_of,
    requests_for,
    settle,
    show_layers,
    show_routes,
    sticks_out,
    widget_of,
)

NODES = {each["id"]: each for each in ROUTES["nodes"]}
INTO = {e["source"]: e for e in ROUTES["edges"] if e["kind"] in ("part", "write")}
READS = {e["target"]: e["source"] for e in ROUTES["edges"] if e["kind"] == "through"}
VALUES = [each for each in ROUTES["nodes"] if each["kind"] == "value"]
WIDE = "P3.L22.post", "P7.L23.mid"


def passages() -> dict[tuple[str, str, bool], list[dict]]:
    """Values from one position to another, by the streams they join and whether they oppose."""
    groups = defaultdict(list)
    for value in VALUES:
        if value["position"] == value["source"]:
            continue
        edge = INTO[value["id"]]
        groups[READS[value["id"]], edge["target"], edge["influence"] < 0].append(value)
    return dict(groups)


PASSAGES = passages()


def routes_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="routes"]')


def ribbon(widget: Locator, source: str = WIDE[0], target: str = WIDE[1]) -> Locator:
    return widget.locator(
        f'path.vw-route[data-source="{source}"][data-target="{target}"]:not(.negative)'
    )


def picture(widget: Locator) -> Locator:
    return routes_of(widget).locator("svg.vw-routes")


@pytest.fixture
def open_routes(open_widget) -> Callable[..., tuple[Page, Locator]]:
    def open_it(width: int = 1280, **options) -> tuple[Page, Locator]:
        page = open_widget(page_options={"viewport": {"width": width, "height": 1100}}, **options)
        widget = widget_of(page)
        show_routes(widget)
        page.mouse.move(2, 2)
        return page, widget

    return open_it


# The switch.


def test_the_switch_asks_once_and_comes_back_to_the_open_layer(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_layer(widget)
    assert requests_for(page, "routes") == []
    show_routes(widget)
    assert model_state(page, "view") == "routes"
    assert [r["params"] for r in requests_for(page, "routes")] == [{"revision": 1}]
    expect(widget.locator('[data-role="stage"]')).to_be_hidden()
    expect(widget.get_by_role("button", name="Routes", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    show_layers(widget)
    assert model_state(page, "view") == "block"
    expect(node(widget, HEAD)).to_be_visible()
    expect(routes_of(widget)).to_be_hidden()
    show_routes(widget)
    assert len(requests_for(page, "routes")) == 1, "kept"
    measure_of(widget).select_option("share")
    page.wait_for_function("model.get('graph').revision === 2")
    expect(widget.locator("path.vw-route").first).to_be_visible()
    page.wait_for_timeout(200)
    assert [r["params"]["revision"] for r in requests_for(page, "routes")] == [1, 2]


def test_the_view_follows_the_trait(open_widget):
    page = open_widget()
    widget = widget_of(page)
    page.evaluate("model.set('view', 'routes')")
    expect(widget.locator("path.vw-route").first).to_be_visible()
    page.evaluate("model.set('view', 'block')")
    expect(routes_of(widget)).to_be_hidden()
    expect(layer_area(widget, 0)).to_be_visible()


def test_while_pending_there_is_a_placeholder(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    page.evaluate("model.silent.add('routes')")
    widget.get_by_role("button", name="Routes", exact=True).click()
    expect(routes_of(widget)).to_contain_text("Following the prediction back to its tokens…")
    expect(widget).to_have_attribute("aria-busy", "true")
    screenshot(page, "routes-pending")


def test_routes_that_cannot_be_followed_are_a_sentence_and_can_be_tried_again(
    open_widget, screenshot
):
    page = open_widget()
    widget = widget_of(page)
    sentence = "The routes need 12 GB of memory; 8 GB are free."
    page.evaluate("(sentence) => { model.failing.routes = sentence }", sentence)
    widget.get_by_role("button", name="Routes", exact=True).click()
    expect(widget.get_by_role("alert")).to_contain_text(sentence)
    expect(widget.locator("path.vw-route")).to_have_count(0)
    screenshot(page, "routes-error")
    show_layers(widget)
    expect(layer_area(widget, 0)).to_be_visible()
    widget.get_by_role("button", name="Routes", exact=True).click()
    assert len(requests_for(page, "routes")) == 1
    page.evaluate("delete model.failing.routes")
    widget.get_by_role("alert").get_by_text("try again").click()
    expect(widget.locator("path.vw-route").first).to_be_visible()
    expect(widget.get_by_role("alert")).to_have_count(0)


# What is drawn.


def test_every_kept_part_is_drawn(open_routes):
    _, widget = open_routes()
    shown = set(
        routes_of(widget)
        .locator("[data-node]")
        .evaluate_all("(all) => all.map((e) => e.dataset.node)")
    )
    joined = {edge["target"] for edge in INTO.values() if not edge["source"].endswith(".rest")}
    for each in ROUTES["nodes"]:
        if each["kind"] in ("embed", "mlp", "opaque", "logits"):
            assert each["id"] in shown, each["id"]
        if each["kind"] == "residual" and (each["id"].endswith(".post") or each["id"] in joined):
            assert each["id"] in shown, each["id"]
    own = defaultdict(set)
    for value in VALUES:
        if value["position"] == value["source"]:
            edge = INTO[value["id"]]
            own[edge["target"], edge["influence"] < 0].add(value["id"])
    marks = set(
        routes_of(widget)
        .locator('.vw-mark[data-kind="value"]')
        .evaluate_all("(all) => all.map((e) => e.dataset.node)")
    )
    assert len(marks) == len(own)
    assert all(marks & heads for heads in own.values())
    drawn = routes_of(widget).locator("path.vw-route")
    ends = drawn.evaluate_all(
        "(all) => all.map((e) => [e.dataset.source, e.dataset.target, +e.dataset.layer,"
        " e.classList.contains('negative')])"
    )
    wanted = [[*key[:2], values[0]["layer"], key[2]] for key, values in PASSAGES.items()]
    assert sorted(ends) == sorted(wanted)
    assert all(NODES[source]["position"] < NODES[target]["position"] for source, target, *_ in ends)


SHAPES = """
(paths) => paths.map((path) => {
    const points = path.getAttribute("d").match(/-?[\\d.]+,-?[\\d.]+/g)
        .map((point) => point.split(",").map(Number));
    const half = points.length / 2;
    const x = (...at) => at.map((i) => points.at(i)[0]).sort((a, b) => a - b);
    const box = path.getBoundingClientRect();
    return { source: path.dataset.source, target: path.dataset.target,
        negative: path.classList.contains("negative"),
        run: Math.abs(points[9][1] - points.at(-10)[1]),
        start: x(0, -1), end: x(half - 1, half),
        left: box.left, right: box.right, top: box.top, bottom: box.bottom };
})
"""


@pytest.mark.parametrize("width", [480, 760, 1280, 1600])
def test_ribbons_are_as_wide_as_their_influence_and_do_not_overlap(open_routes, width):
    _, widget = open_routes(width)
    shapes = widget.locator("path.vw-route").evaluate_all(SHAPES)
    frame = picture(widget).evaluate("(e) => e.getBoundingClientRect().toJSON()")
    scales = []
    for shape in shapes:
        heads = PASSAGES[shape["source"], shape["target"], shape["negative"]]
        influence = abs(sum(INTO[each["id"]]["influence"] for each in heads))
        if shape["run"] > 1.2:
            scales.append(shape["run"] / influence)
        assert frame["left"] <= shape["left"]
        assert shape["right"] <= frame["right"]
        assert frame["top"] <= shape["top"]
        assert shape["bottom"] <= frame["bottom"]
    assert len(scales) >= 5
    assert max(scales) == pytest.approx(min(scales), rel=0.03)
    for end, side in (("source", "start"), ("target", "end")):
        for a, b in itertools.combinations(shapes, 2):
            if a[end] != b[end] or a["negative"] or b["negative"]:
                continue
            overlap = min(a[side][1], b[side][1]) - max(a[side][0], b[side][0])
            assert overlap <= 1, (a, b)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [480, 760, 1280, 1600])
def test_labels_do_not_overlap_and_nothing_sticks_out(open_routes, screenshot, width, theme):
    page, widget = open_routes(width, theme=theme)
    screenshot(page, f"routes-{width}-{theme}")
    assert overlapping_labels(widget) == []
    assert sticks_out(page) <= 0
    frame = picture(widget).evaluate("(e) => e.getBoundingClientRect().toJSON()")
    for text in picture(widget).locator("text").all():
        box = text.bounding_box()
        assert box["x"] >= frame["left"] - 0.5, text.inner_text()
        assert box["x"] + box["width"] <= frame["right"] + 0.5, text.inner_text()


@pytest.mark.parametrize("width", [480, 640, 760, 900, 1000, 1280, 1600])
def test_a_picture_that_fits_is_not_scrolled(open_routes, width):
    page, widget = open_routes(1280)
    page.set_viewport_size({"width": width, "height": 1100})
    settle(widget)
    scroller = routes_of(widget).locator(".vw-scroller")
    room, wide, at = scroller.evaluate("(e) => [e.clientWidth, e.scrollWidth, e.scrollLeft]")
    assert (wide - room, at) == (0, 0), "eight tokens fit everywhere"


def test_the_foot_and_the_crown_say_the_numbers(open_routes):
    _, widget = open_routes()
    for token in ATTRIBUTION["tokens"]:
        if token["value"]:
            expect(node(routes_of(widget), f"P{token['position']}.embed")).to_contain_text(
                f"+{token['value']:.2f}"
            )
    expect(node(routes_of(widget), "logits")).to_contain_text(f"{GRAPH['target']['logit']:.2f}")
    expect(routes_of(widget)).to_contain_text("Kept paths account for 5.94 of 13.0 logits")


def test_nothing_kept_is_a_sentence(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    page.evaluate(
        """() => {
            const logits = model.replies.routes.nodes.filter((n) => n.kind === "logits");
            model.replies.routes = { ...model.replies.routes, nodes: logits, edges: [] };
        }"""
    )
    widget.get_by_role("button", name="Routes", exact=True).click()
    expect(routes_of(widget)).to_contain_text("Nothing carries more than 1%. Lower the threshold")
    screenshot(page, "routes-none")


# The saved page, the file, two views.


def test_a_saved_page_shows_routes_without_a_kernel(open_widget):
    page = open_widget(mode="standalone")
    widget = widget_of(page)
    show_routes(widget)
    expect(widget.locator("path.vw-route")).to_have_count(len(PASSAGES))
    click_ribbon(page, ribbon(widget))
    expect(panel_of(widget)).to_contain_text("H4")
    panel_of(widget).locator(".vw-carrier").first.click()
    expect(node(widget, HEAD)).to_be_visible()


def test_a_page_saved_without_routes_says_so(open_widget):
    page = open_widget(mode="standalone", include="nothing")
    widget = widget_of(page)
    widget.get_by_role("button", name="Routes", exact=True).click()
    expect(routes_of(widget)).to_contain_text("The routes view was not included in this page.")
    expect(widget.get_by_text("try again")).to_have_count(0)
    show_layers(widget)
    expect(layer_area(widget, LAYER)).to_be_visible()


def test_two_views_agree(open_widget):
    page = open_widget(views=2, page_options={"viewport": {"width": 1280, "height": 2400}})
    first, second = widget_of(page, 0), widget_of(page, 1)
    show_routes(first)
    expect(second.locator("path.vw-route")).to_have_count(len(PASSAGES))
    assert len(requests_for(page, "routes")) == 1, "one request serves both views"
    settle(second)
    click_ribbon(page, ribbon(second))
    for view in (first, second):
        expect(panel_of(view).locator(".vw-carrier").first).to_contain_text("H4")
        expect(ribbon(view)).to_have_class(re.compile(r"\bselected\b"))


def test_the_export_is_of_the_view_on_screen(open_routes):
    page, widget = open_routes()

    def exported() -> str:
        widget.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            widget.get_by_role("menuitem", name="SVG").click()
        return download.value.path().read_text(encoding="utf-8")

    only_routes, only_layers = "Kept paths account for", "if the model stopped here"
    routes = exported()
    assert only_routes in routes
    assert only_layers not in routes
    show_layers(widget)
    settle(widget)
    block = exported()
    assert only_routes not in block
    assert only_layers in block


# Motion.

MOVES = """
async (change) => {
    const paths = () => [...document.querySelectorAll("path.vw-route")]
        .map((e) => e.getAttribute("d")).join();
    change();
    const seen = new Set();
    for (let frame = 0; frame < 40; frame++) {
        await new Promise(requestAnimationFrame);
        seen.add(paths());
    }
    return seen.size;
}
"""
CHANGE = """() => ({MOVES})(() => {
    const {{ routes }} = model.replies;
    const half = (e) => ({{ ...e, influence: e.influence / 2 + 0.05 }});
    model.replies.routes = {{ ...routes, edges: routes.edges.map(half) }};
    model.set("keep", {{ ...model.get("keep"), heads: 9 }});
}})"""


@pytest.mark.parametrize("wish", ["reduce", "no-preference"])
def test_whoever_wants_less_motion_sees_the_new_picture_at_once(open_widget, wish):
    page = open_widget(page_options={"reduced_motion": wish})
    widget = widget_of(page)
    show_routes(widget)
    states = page.evaluate(CHANGE.replace("{MOVES}", MOVES).replace("{{", "{").replace("}}", "}"))
    assert states > 4 if wish == "no-preference" else states <= 2
