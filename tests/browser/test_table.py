"""The tables that stand for the picture, and what a screen reader is told."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.axe import violations
from tests.browser.steps import (
    BLOCK,
    GRAPH,
    HEAD,
    LAYER,
    PROJECT,
    ROUTES,
    layer_area,
    measure_of,
    model_state,
    node,
    open_layer,
    panel_of,
    settle,
    sticks_out,
    widget_of,
)

NODES = {n["id"]: n for n in GRAPH["nodes"] + BLOCK["nodes"]}


def signed(value: float) -> str:
    text = f"{abs(value):.2f}"
    return text if text == "0.00" else ("−" if value < 0 else "+") + text


def toggle(widget: Locator) -> Locator:
    return widget.get_by_role("button", name="table", exact=True)


def table_of(widget: Locator, key: str) -> Locator:
    return widget.locator(f'[data-table="{key}"] table')


def row_of(widget: Locator, key: str, row: str) -> Locator:
    return table_of(widget, key).locator(f'tr[data-row="{row}"]')


def cells(row: Locator) -> list[str]:
    return row.locator("th, td").all_inner_texts()


@pytest.fixture(params=["kernel", "standalone"])
def widget(request, open_widget):
    page = open_widget(mode=request.param)
    found = widget_of(page)
    toggle(found).click()
    expect(table_of(found, "layers")).to_be_visible()
    return page, found


def test_layers_are_a_table_with_the_numbers_of_the_graph(widget):
    page, found = widget
    table = table_of(found, "layers")
    expect(table.locator("caption")).to_contain_text("Layers at ␣of, position 7")
    expect(table.locator("tbody tr")).to_have_count(1 + GRAPH["model"]["n_layers"])
    expect(table.locator('th[scope="col"]')).to_have_count(8)
    for layer in [0, 12, 29]:
        attention, mlp, post = (NODES[f"L{layer}.{part}"] for part in ("attn", "mlp", "post"))
        assert cells(row_of(found, "layers", str(layer))) == [
            f"Layer {layer}",
            attention["label"],
            signed(attention["logit"]),
            mlp["label"],
            signed(mlp["logit"]),
            signed(attention["logit"] + mlp["logit"]),
            post["label"],
            f"{post['target_rank']:,}",
        ]
    expect(found.locator(".vw-stage").first).to_be_hidden()
    toggle(found).click()
    expect(found.locator(".vw-stage").first).to_be_visible()
    expect(table).to_be_hidden()
    assert sticks_out(page) <= 0


def test_a_row_opens_its_layer_and_chooses_its_nodes(widget, screenshot):
    page, found = widget
    opener = row_of(found, "layers", str(LAYER)).get_by_role("button", name="Layer 23", exact=True)
    opener.focus()
    page.keyboard.press("Enter")
    expect(opener).to_have_attribute("aria-expanded", "true")
    expect(opener).to_be_focused()
    heads = [n for n in BLOCK["nodes"] if n["kind"] == "head"]
    expect(table_of(found, f"heads {LAYER}").locator("tbody tr")).to_have_count(len(heads))
    for head in heads:
        shown = cells(row_of(found, f"heads {LAYER}", head["id"]))
        query = NODES[f"{head['id']}.Q"]
        memories = [n for n in BLOCK["nodes"] if n["kind"] == "key" and n["head"] == head["head"]]
        assert shown[:2] == [f"head {head['head']}", query["label"]]
        assert all(GRAPH["tokens"][n["source"]]["text"] in shown[2] for n in memories)
        assert shown[3:] == [head["label"], signed(head["logit"])]
    neurons = [n for n in BLOCK["nodes"] if n["kind"] == "neuron"]
    for neuron in neurons:
        shown = cells(row_of(found, f"neurons {LAYER}", neuron["id"]))
        assert shown[0] == f"neuron {neuron['neuron']}"
        assert shown[3:] == [neuron["label"], signed(neuron["logit"])]
    head = row_of(found, f"heads {LAYER}", HEAD).get_by_role("button").first
    head.focus()
    page.keyboard.press("Enter")
    expect(panel_of(found)).to_contain_text(PROJECT[HEAD]["top"][0]["text"])
    expect(head).to_have_attribute("aria-pressed", "true")
    expect(head).to_be_focused()
    screenshot(page, "table")
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(panel_of(found)).to_be_hidden()
    expect(head).to_be_focused()
    assert violations(page) == []


def test_the_tables_ask_the_kernel_for_nothing(open_widget):
    page = open_widget()
    found = widget_of(page)
    open_layer(found)
    before = page.evaluate("model.sent.length")
    toggle(found).click()
    expect(table_of(found, f"heads {LAYER}")).to_be_visible()
    measure_of(found).select_option("norm")
    expect(table_of(found, "layers")).to_contain_text("attention length")
    page.wait_for_function("model.get('graph').revision === 2")
    page.wait_for_timeout(300)
    again = page.evaluate("(from) => model.sent.slice(from).map((m) => m.method)", before)
    # What a new graph asks for anyway.
    assert set(again) <= {"expand", "attribution", "predictions", "sinks"}


def test_routes_are_tables_too(widget):
    page, found = widget
    found.get_by_role("button", name="Routes", exact=True).click()
    expect(table_of(found, "passages")).to_be_visible()
    tokens = ROUTES["attribution"]["tokens"]
    for token in tokens:
        shown = cells(row_of(found, "tokens", str(token["position"])))
        assert shown[:2] == [GRAPH["tokens"][token["position"]]["text"], str(token["position"])]
    row = table_of(found, "passages").locator("tbody tr").first
    row.get_by_role("button").click()
    expect(panel_of(found).locator(".vw-carrier").first).to_be_visible()
    assert violations(page) == []


def test_tab_stops_once_in_the_tables_and_arrows_go_along(widget):
    page, found = widget
    first = row_of(found, "layers", "start").get_by_role("button")
    stops = found.locator('[data-role="table"] [tabindex="0"]')
    expect(stops).to_have_count(1)
    first.focus()
    page.keyboard.press("ArrowDown")
    expect(row_of(found, "layers", "0").get_by_role("button").first).to_be_focused()
    page.keyboard.press("End")
    expect(table_of(found, "next").get_by_role("button").last).to_be_focused()
    expect(stops).to_have_count(1)


def test_a_token_of_the_table_becomes_the_target(open_widget):
    page = open_widget()
    found = widget_of(page)
    toggle(found).click()
    table_of(found, "next").get_by_role("button").nth(1).click()
    assert model_state(page, "target")["id"] == GRAPH["prediction"][1]["id"]
    expect(table_of(found, "layers")).to_contain_text("rank of ␣N")


def test_a_picture_can_be_taken_while_the_tables_are_shown(open_widget):
    page = open_widget()
    found = widget_of(page)
    settle(found)
    toggle(found).click()
    found.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        found.get_by_role("menuitem", name="SVG").click()
    drawn = download.value.path().read_text(encoding="utf-8")
    width = drawn.split('width="')[1].split('"')[0]
    assert float(width) > 1000
    expect(table_of(found, "layers")).to_be_visible()


# What is told.


def live_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="live"]')


def listen(page: Page) -> None:
    page.evaluate(
        """() => {
            window.heard = [];
            for (const el of document.querySelectorAll('[aria-live="polite"]')) {
                new MutationObserver(() => el.textContent && heard.push(el.textContent))
                    .observe(el, { childList: true, characterData: true, subtree: true });
            }
        }"""
    )


def test_what_opened_and_what_was_chosen_is_told_once_by_one_of_two_cells(open_widget):
    page = open_widget(views=2, page_options={"viewport": {"width": 1280, "height": 1800}})
    found = widget_of(page, 1)
    settle(found)
    listen(page)
    layer_area(found, LAYER).focus()
    page.keyboard.press("Enter")
    expect(live_of(found)).to_have_text("Layer 23 is open: 9 heads, 12 neurons.")
    node(found, HEAD).focus()
    page.keyboard.press("Enter")
    expect(live_of(found)).to_have_text(
        "Selected: Layer 23 · head 4, ␣Japanese, adds +2.68 to ␣Tokyo."
    )
    page.wait_for_timeout(600)
    assert page.evaluate("heard.length") == 2


def test_an_error_is_told_once(open_widget):
    page = open_widget()
    found = widget_of(page)
    sentence = "The kernel has lost this model; run the cell again."
    page.evaluate("(sentence) => { model.failing.expand = sentence }", sentence)
    listen(page)
    layer_area(found, LAYER).click()
    expect(live_of(found)).to_contain_text(sentence)
    page.wait_for_timeout(600)
    assert "".join(page.evaluate("heard")).count(sentence) == 1
    loud = found.locator("[role=alert]:not([aria-live]), [aria-live=assertive]")
    expect(loud).to_have_count(0)


def test_many_graphs_in_a_row_are_told_as_one(open_widget):
    page = open_widget()
    found = widget_of(page)
    settle(found)
    listen(page)
    # In the page, whose own clock also tells when to speak.
    page.evaluate(
        """async () => {
            for (let focus = 0; focus < 7; focus++) {
                model.set("focus", focus);
                await new Promise((done) => setTimeout(done, 60));
            }
        }"""
    )
    expect(live_of(found)).to_contain_text("New graph at ␣city, position 6")
    page.wait_for_timeout(600)
    assert page.evaluate("heard.length") == 1
