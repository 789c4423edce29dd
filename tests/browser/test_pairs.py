"""Two prompts: the other typed under the first, both sides everywhere, patches, and their map."""

from __future__ import annotations

import pytest
import torch
from playwright.sync_api import Locator, Page, expect

import visit_widget as vw
from tests.browser.axe import violations
from tests.browser.labels import overlapping_labels
from tests.browser.steps import (
    BLOCK,
    GRAPH,
    HEAD,
    LAYER,
    PROJECT,
    ROUTES,
    model_state,
    node,
    open_layer,
    panel_of,
    requests_for,
    set_model,
    settle,
    sticks_out,
    widget_of,
)
from tests.tiny import make_speaker, tokenizer

THEMES = ["light", "dark"]
FRANCE = "The capital of France is the city of"
LONGER = "The old capital of France is the city"
PARIS = {"id": 7042, "text": "␣Paris", "logit": 12.5, "probability": 0.72}
N_LAYERS, N_HEADS = GRAPH["model"]["n_layers"], GRAPH["model"]["n_heads"]


def there(each: dict) -> dict:
    """The same node in the other prompt: it adds a third of what it adds here, less a half."""
    logit = None if each["logit"] is None else round(each["logit"] / 3 - 0.5, 4)
    weight = None if each["weight"] is None else each["weight"] / 2
    kept = {**each, "logit": logit, "weight": weight, "top": [], "bottom": []}
    return {name: value for name, value in kept.items() if value is not None}


def another(prompt: str, texts: list[str], pairs: list[tuple[int, int]]) -> dict:
    """The other side of the recorded graph: from layer 24 on it says another token."""
    named = {t["text"]: t["id"] for t in GRAPH["tokens"]}
    tokens = [
        {"position": n, "id": named.get(text, 9000 + n), "text": text}
        for n, text in enumerate(texts)
    ]
    streams = {
        each["id"]: {
            "label": "␣Paris" if (each["layer"] or 0) >= 24 else each["label"],
            "target_rank": None if each["target_rank"] is None else 5 + each["target_rank"],
            "target_probability": 0.01,
            "logit": each["logit"],
        }
        for each in GRAPH["nodes"]
        if each["kind"] in ("residual", "embed", "norm", "logits")
    }
    rest = [{**t, "probability": t["probability"] / 4} for t in GRAPH["prediction"][:6]]
    return {
        "target": {"logit": 5.1, "probability": 0.021, "rank": 6},
        "foil": None,
        "position": len(tokens) - 1,
        "prediction": [PARIS, *rest],
        "streams": streams,
        "prompt": prompt,
        "model": GRAPH["model"]["name"],
        "tokens": tokens,
        "pairs": pairs,
        "parting": "L24.post",
        "nodes": [there(each) for each in GRAPH["nodes"]],
        "edges": [],
    }


TEXTS = [t["text"] for t in GRAPH["tokens"]]
SAME_LENGTH = another(
    FRANCE, [t.replace("Japan", "France") for t in TEXTS], [(n, n) for n in range(8)]
)
LONG = another(
    LONGER,
    ["The", "␣old", *(t.replace("Japan", "France") for t in TEXTS[1:-1])],
    [(0, 0), *((n, n + 1) for n in range(1, 7))],
)
OTHER_BLOCK = {"nodes": [there(each) for each in BLOCK["nodes"]], "edges": []}


def other_detail(each: dict) -> dict:
    found = {**each, **{k: v for k, v in there(each).items() if k not in ("top", "bottom")}}
    found["top"] = [{**t, "text": f"␣fr{n}"} for n, t in enumerate(each["top"])]
    found["label"] = SAME_LENGTH["streams"].get(each["id"], each)["label"]
    if each["target_rank"] is not None:
        found["target_rank"] = each["target_rank"] + 5
    if each.get("attention"):
        found["attention"] = each["attention"][::-1]
    if each.get("sources"):
        found["sources"] = [
            {**s, "weight": s["weight"] / 2, "logit": -0.5} for s in each["sources"][:2]
        ]
    return found


@pytest.fixture
def pairs(open_widget):
    def open_it(compared: str | None = None, **options) -> tuple[Page, Locator]:
        page = open_widget(**options)
        page.evaluate(
            """([others, details, block, layer]) => {
                model.others = others;
                model.otherDetails = details;
                model.blocks = { ...model.blocks,
                    [layer]: { ...model.blocks[layer], against: block } };
            }""",
            [
                {FRANCE: SAME_LENGTH, LONGER: LONG},
                {name: other_detail(each) for name, each in PROJECT.items()},
                OTHER_BLOCK,
                LAYER,
            ],
        )
        widget = widget_of(page)
        if compared is not None:
            set_model(page, against=compared)
            expect(part(widget, "other-tail")).to_be_visible()
        settle(widget)
        return page, widget

    return open_it


def part(widget: Locator, role: str) -> Locator:
    return widget.locator(f'[data-role="{role}"]')


def type_other(page: Page, widget: Locator, prompt: str, role: str = "compare") -> None:
    part(widget, role).click()
    field = widget.get_by_role("textbox", name="The other prompt")
    expect(field).to_be_focused()
    field.fill(prompt)
    page.keyboard.press("Enter")


# The prompt.


def test_another_prompt_is_typed_under_the_first(pairs, screenshot):
    page, widget = pairs()
    expect(part(widget, "other-tail")).to_be_hidden()
    part(widget, "compare").click()
    field = widget.get_by_role("textbox", name="The other prompt")
    assert field.input_value() == GRAPH["prompt"], "a prompt to change, all of it selected"
    expect(widget.locator('button.vw-chip[data-position="3"]')).to_be_visible()
    settle(widget)
    screenshot(page, "pairs-typing")
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(part(widget, "compare")).to_be_focused()
    type_other(page, widget, FRANCE)
    assert model_state(page, "against") == FRANCE
    expect(part(widget, "other-tail")).to_be_visible()
    shown = widget.locator(".vw-other").all_text_contents()
    assert shown == [t["text"] for t in SAME_LENGTH["tokens"]]
    assert widget.locator(".vw-other.apart").all_text_contents() == ["␣France"]
    expect(part(widget, "other-says")).to_have_text("␣Paris")
    expect(part(widget, "other-words")).to_contain_text("␣France in the place of ␣Japan")
    settle(widget)
    screenshot(page, "pairs-bar")
    # Each partner stands under its own.
    boxes = widget.locator(".vw-cell").evaluate_all(
        """(all) => all.flatMap((cell) => {
            const [own, other] = [cell.querySelector("[data-position]"),
                cell.querySelector(".vw-other")].map((e) => e?.getBoundingClientRect());
            return own && other ? [[other.x - own.x, other.y - own.bottom]] : [];
        })"""
    )
    assert len(boxes) == 8
    assert all(abs(x) < 1 and y >= 0 for x, y in boxes)
    widget.get_by_role("button", name="Undo").click()
    assert model_state(page, "against") is None
    expect(part(widget, "other-tail")).to_be_hidden()
    widget.get_by_role("button", name="Redo").click()
    expect(part(widget, "other-tail")).to_be_visible()
    part(widget, "remove-other").click()
    assert model_state(page, "against") is None
    expect(widget.locator(".vw-other")).to_have_count(0)


def test_what_has_no_partner_says_so(pairs, screenshot):
    page, widget = pairs(LONGER)
    alone = widget.locator(".vw-no-partner")
    assert alone.all_text_contents() == ["–", "–"]
    words = part(widget, "other-words")
    expect(words).to_contain_text("␣old has no partner here")
    expect(words).to_contain_text("␣of has no partner there")
    settle(widget)
    screenshot(page, "pairs-alone")
    assert violations(page) == []


def test_what_cannot_be_compared_is_put_back_and_can_be_mended(pairs):
    page, widget = pairs(FRANCE)
    type_other(page, widget, "nonsense", role="edit-other")
    expect(widget).to_contain_text("This prompt cannot be compared.")
    assert model_state(page, "against") == FRANCE
    expect(part(widget, "other-says")).to_have_text("␣Paris")
    part(widget, "edit-other").click()
    field = widget.get_by_role("textbox", name="The other prompt")
    assert field.input_value() == "nonsense"
    page.keyboard.press("Escape")


def test_the_other_prompt_by_keyboard_alone(pairs):
    page, widget = pairs()
    widget.locator('button.vw-chip[data-position="7"]').focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        if part(widget, "compare").evaluate("(e) => e === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.keyboard.type(FRANCE)
    page.keyboard.press("Enter")
    expect(part(widget, "other-tail")).to_be_visible()
    assert widget.evaluate("(e) => e.contains(document.activeElement)")


def test_what_the_other_says_goes_with_it(pairs):
    page, widget = pairs(FRANCE)
    paris = {"id": PARIS["id"], "text": PARIS["text"]}
    set_model(page, foil=paris)
    expect(widget.locator(".vw-foil-token")).to_have_text("␣Paris")
    part(widget, "remove-other").click()
    assert model_state(page, "foil") is None


@pytest.mark.parametrize(
    ("width", "height"), [(480, 800), (760, 720), (1008, 720), (1032, 720), (1440, 900)]
)
@pytest.mark.parametrize("prompt", [FRANCE, LONGER])
def test_both_prompts_fit(pairs, screenshot, width, height, prompt):
    page, widget = pairs(prompt, page_options={"viewport": {"width": width, "height": height}})
    open_layer(widget)
    node(widget, HEAD).click()
    expect(part(widget, "there")).to_be_visible()
    page.mouse.move(2, 2)
    settle(widget)
    screenshot(page, f"pairs-{width}-{len(prompt)}")
    assert sticks_out(page) <= 0
    assert overlapping_labels(widget) == []
    if width >= 1032:
        assert widget.bounding_box()["height"] <= height


# Both sides.


@pytest.mark.parametrize("theme", THEMES)
def test_the_river_parts(pairs, screenshot, theme):
    page, widget = pairs(
        FRANCE, theme=theme, page_options={"viewport": {"width": 1440, "height": 900}}
    )
    settle(widget)
    screenshot(page, f"pairs-river-{theme}")
    assert violations(page) == []
    mark = widget.locator("g.vw-parting")
    expect(mark).to_have_attribute("aria-label", "The two part after layer 24")
    at = mark.bounding_box()
    cell = widget.locator('path.vw-cell[data-node="L24.post"]').bounding_box()
    assert abs(at["x"] + at["width"] / 2 - cell["x"]) < 3
    labels = widget.locator(".vw-river-text text.there").all_text_contents()
    assert any("␣Paris" in label for label in labels)
    expect(widget.locator("path.vw-rank-there")).to_have_count(1)
    first = widget.locator("g.vw-token-row").first
    expect(first.locator("text.there")).to_have_text("2%")
    assert "85% 2% probable here, and in the other prompt" in first.get_attribute("aria-label")
    assert overlapping_labels(widget) == []
    open_layer(widget, LAYER)
    settle(widget)
    screenshot(page, f"pairs-open-{theme}")
    assert overlapping_labels(widget) == []


@pytest.mark.parametrize("theme", THEMES)
def test_the_panel_has_both_sides(pairs, screenshot, theme):
    page, widget = pairs(
        FRANCE, theme=theme, page_options={"viewport": {"width": 1440, "height": 900}}
    )
    open_layer(widget)
    here = next(each for each in BLOCK["nodes"] if each["id"] == HEAD)
    other = here["logit"] / 3 - 0.5
    node(widget, HEAD).hover()
    words = f"there +{other:.2f}, difference +{here['logit'] - other:.2f}"
    expect(widget.get_by_role("tooltip")).to_contain_text(words)
    node(widget, HEAD).click()
    panel = panel_of(widget)
    expect(panel).to_contain_text(words)
    expect(part(widget, "there")).to_contain_text("␣fr0")
    rows = part(widget, "both-sources").locator("tbody tr")
    expect(rows.first.locator("td").first).to_have_text("␣Japan / ␣France")
    told = rows.first.locator("td").all_text_contents()
    assert told[4] == "−0.50"
    assert rows.count() == len(PROJECT[HEAD]["sources"])
    settle(widget)
    page.mouse.move(2, 2)
    screenshot(page, f"pairs-panel-{theme}")
    assert violations(page) == []
    set_model(page, selection=["L29.post"])
    expect(panel).to_contain_text("there ␣Paris, rank 6")
    settle(widget)
    screenshot(page, f"pairs-panel-stream-{theme}")


@pytest.mark.parametrize("theme", THEMES)
def test_what_the_other_alone_carries_along_routes(pairs, screenshot, theme):
    page, widget = pairs(FRANCE, theme=theme)
    kept = {each["id"] for each in ROUTES["nodes"]}
    alone = ["P7.L20.H1.V3", "P7.L20.H2.V3", "P5.L12.H0.V1"]
    assert not kept & set(alone)
    told = [
        {"id": name, "kind": "value", "influence": influence, "label": label}
        for name, influence, label in zip(
            alone, (-1.25, -0.25, 0.1), ("␣Lyon", "␣fr", None), strict=True
        )
    ]
    both = [{k: e.get(k) for k in ("id", "kind", "influence", "label")} for e in ROUTES["nodes"]]
    against = {
        "position": 7,
        "attribution": ROUTES["attribution"],
        "nodes": [*(e for e in both if e["kind"] in ("residual", "value")), *told],
    }
    detail = {
        **next(d for d in PROJECT.values() if d["kind"] == "head"),
        "id": alone[0],
        "kind": "value",
        "source": 3,
        "position": 7,
        "layer": 20,
        "head": 1,
    }
    page.evaluate(
        """([against, id, detail]) => {
            model.replies = { ...model.replies, routes: { ...model.replies.routes, against } };
            model.otherDetails = { [id]: detail };
        }""",
        [against, alone[0], detail],
    )
    set_model(page, view="routes")
    outlines = widget.locator(".vw-outline")
    expect(outlines).to_have_count(2)
    strong = widget.get_by_role("button", name="There alone, layer 20")
    expect(strong).to_have_attribute(
        "aria-label", "There alone, layer 20: from ␣France to ␣of, −1.50 logits, heads 1, 2"
    )
    expect(part(widget, "routes")).to_contain_text("what is dashed or in italics is the other’s")
    settle(widget)
    assert overlapping_labels(widget) == []
    screenshot(page, f"pairs-routes-{theme}")
    strong.dispatch_event("pointermove")
    tip = widget.get_by_role("tooltip")
    expect(tip).to_contain_text("␣France → ␣of")
    expect(tip).to_contain_text("carried by attention of layer 20 there alone")
    expect(tip).to_contain_text("there −1.50, not kept here")
    assert violations(page) == []
    strong.dispatch_event("click")
    assert set(model_state(page, "selection")) == set(alone[:2])
    asked = requests_for(page, "project")[-1]["params"]["nodes"]
    assert set(alone[:2]) <= set(asked)
    panel = panel_of(widget)
    expect(panel).to_contain_text("␣France")
    settle(widget)
    screenshot(page, f"pairs-routes-panel-{theme}")
    assert violations(page) == []


# Patches.


def test_a_part_is_patched_from_the_other(pairs, screenshot):
    page, widget = pairs(FRANCE)
    open_layer(widget)
    node(widget, HEAD).click()
    part(widget, "patch-other").click()
    patch = {"id": HEAD, "action": "patch", "label": "against", "positions": "focus"}
    assert model_state(page, "interventions") == [patch]
    bar = part(widget, "interventions")
    expect(bar).to_contain_text("L23 · head 4 patched from the other at ␣of")
    expect(part(widget, "patch-other")).to_have_attribute("aria-pressed", "true")
    expect(part(widget, "patch")).to_have_attribute("aria-pressed", "false")
    part(widget, "edit-where").select_option("all")
    assert model_state(page, "interventions") == [{**patch, "positions": "all"}]
    settle(widget)
    screenshot(page, "pairs-patched")
    part(widget, "patch-other").click()
    assert model_state(page, "interventions") == []
    part(widget, "remove-other").click()
    expect(part(widget, "patch-other")).to_have_count(0)


PATCHING = {
    "over": "streams",
    "axes": ["layer", "position"],
    "layers": list(range(N_LAYERS)),
    "columns": list(range(8)),
    "ids": [[f"P{p}.L{n}.pre" if p != 1 else None for p in range(8)] for n in range(N_LAYERS)],
    "predicted": [[p / 10 if p != 1 else None for p in range(8)] for n in range(N_LAYERS)],
    "measured": [
        [(p - 2) * (n + 1) / (5 * N_LAYERS) if p != 1 else None for p in range(8)]
        for n in range(N_LAYERS)
    ],
}
HEADS = {
    **PATCHING,
    "over": "heads",
    "columns": list(range(N_HEADS)),
    "ids": [[f"L{n}.H{h}" for h in range(N_HEADS)] for n in range(N_LAYERS)],
    "predicted": [[0.1] * N_HEADS for _ in range(N_LAYERS)],
    "measured": [[-0.031] * N_HEADS for _ in range(N_LAYERS)],
}
EFFECTS = {
    "over": "heads",
    "layers": list(range(N_LAYERS)),
    "columns": ["H0"],
    "ids": [[f"L{n}.H0"] for n in range(N_LAYERS)],
    "predicted": [[0.5]] * N_LAYERS,
    "measured": [[1.0]] * N_LAYERS,
}


def answer(page: Page, **replies) -> None:
    page.evaluate("(replies) => Object.assign(model.replies, replies)", replies)


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 1032), ("light", 480)])
def test_the_map_of_patching(pairs, screenshot, theme, width):
    page, widget = pairs(
        FRANCE, theme=theme, page_options={"viewport": {"width": width, "height": 720}}
    )
    answer(page, effects_map=EFFECTS, patching=PATCHING)
    part(widget, "open-map").click()
    found = part(widget, "map")
    found.get_by_role("button", name="patching").click()
    expect(found.get_by_role("button", name="patching")).to_be_focused()
    expect(found.locator("td[data-id]")).to_have_count(7 * N_LAYERS)
    expect(found).to_contain_text("L29 · the stream before it at ␣of: foretold 70%, measured 100%")
    rows = found.locator("th[scope=row]").all_text_contents()
    assert rows == TEXTS
    settle(widget)
    screenshot(page, f"pairs-map-{theme}-{width}")
    frame = found.bounding_box()
    for button in found.get_by_role("button").all():
        box = button.bounding_box()
        assert box["x"] + box["width"] <= frame["x"] + frame["width"]
    assert violations(page) == []
    assert sticks_out(page) <= 0
    answer(page, patching=HEADS)
    found.get_by_role("button", name="heads").click()
    expect(found).to_contain_text("head 0: foretold 10%, measured −3%")
    asked = [each["params"]["over"] for each in requests_for(page, "patching")]
    assert asked == ["streams", "heads"]
    found.locator(f'td[data-id="{HEAD}"]').click()
    expect(found).to_have_count(0)
    assert model_state(page, "selection") == [HEAD]


def test_without_another_prompt_there_is_no_map_of_patching(pairs):
    page, widget = pairs()
    answer(page, effects_map=EFFECTS)
    part(widget, "open-map").click()
    found = part(widget, "map")
    expect(found.locator("td[data-id]")).to_have_count(N_LAYERS)
    expect(found.get_by_role("button", name="patching")).to_have_count(0)


def test_a_saved_page_shows_both(new_page, tmp_path, screenshot):
    model = make_speaker("llama", torch.float32, seed=1)
    made = vw.visit(model, tokenizer(), "the cat sat on", against="the old cat sat on")
    made.selection = ["L1.attn"]
    page = new_page()
    page.goto(made.save_html(tmp_path / "pair.html", expand=[1]).as_uri())
    widget = widget_of(page)
    expect(part(widget, "other-says")).to_be_visible()
    for role in ("remove-other", "edit-other"):
        expect(part(widget, role)).to_have_count(0)
    expect(part(widget, "compare")).to_be_hidden()
    expect(part(widget, "other-words")).to_contain_text("has no partner here")
    logit = made.graph["against"]["nodes"]
    other = next(each["logit"] for each in logit if each["id"] == "L1.attn")
    told = f"{other:+.2f}".replace("-", "−") if abs(other) >= 0.01 else "there "
    expect(panel_of(widget)).to_contain_text(told)
    expect(part(widget, "there")).to_be_visible()
    settle(widget)
    screenshot(page, "pairs-saved")
    assert violations(page) == []
