"""What is written from right to left stays where it is: numbers and words beside it do not move."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.graphs import give, in_scripts
from tests.browser.steps import (
    ATTRIBUTION,
    BLOCK,
    GRAPH,
    HEAD,
    LAYER,
    PREDICTIONS,
    PROJECT,
    ROUTES,
    node,
    open_layer,
    panel_of,
    settle,
    show_routes,
    widget_of,
)
from tests.browser.test_figure import export

WORDS = ["שלום", "␣مرحبا!", "10␣שלום", "␣(דולר)", "٣٤", "ש", "␣שם2", "مرحبا:"]
FOLLOWED = "␣טוקיו"
# Also those of which the end was cut off.
READ = [FOLLOWED, *WORDS]
READ += [f"{word[:end]}…" for word in READ for end in range(1, len(word))]

# In the order in which they are written, letters outside of such words must go from left to right,
# and each of such words must stand between its neighbours. {texts that mix both, faults}.
DISORDER = r"""
(root, words) => {
  const isRight = /[\u0590-\u08ff]/;
  const marks = /[\u2066-\u2069]/;
  const isBlock = (e) => !["inline", "contents"].includes(getComputedStyle(e).display);
  const home = (e) => e.closest("text") ??
    (e.namespaceURI.endsWith("svg") ? null : isBlock(e) ? e : home(e.parentElement));
  const lines = new Map();
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { data, parentElement: owner } = walker.currentNode;
    const at = data.trim() && !owner.closest("title, desc, .vw-offscreen") && home(owner);
    if (at && at.getClientRects().length > 0) {
      lines.set(at, [...(lines.get(at) ?? []), walker.currentNode]);
    }
  }
  const faults = [];
  let mixed = 0;
  for (const [at, nodes] of lines) {
    const letters = [];
    for (const node of nodes) {
      const range = document.createRange();
      for (let i = 0; i < node.data.length; i++) {
        const letter = node.data[i];
        if (marks.test(letter) || /[\p{M}\s]/u.test(letter)) { letters.push({ letter }); continue; }
        range.setStart(node, i);
        range.setEnd(node, i + 1);
        const box = range.getBoundingClientRect();
        letters.push({ letter, left: box.left, right: box.right, top: box.top, width: box.width });
      }
    }
    const text = letters.map(({ letter }) => letter).join("");
    if (!isRight.test(text)) continue;
    // Which letters belong to a word that is written from right to left.
    const inside = new Array(text.length).fill(false);
    for (const word of words) {
      for (let from = text.indexOf(word); from >= 0; from = text.indexOf(word, from + 1)) {
        if (isRight.test(word)) inside.fill(true, from, from + word.length);
      }
    }
    for (let i = 0; i < text.length; i++) if (isRight.test(text[i])) inside[i] = true;
    const units = [];
    letters.forEach((letter, i) => {
      if (!letter.width) return;
      const last = units[units.length - 1];
      if (inside[i] && last?.inside && inside[i - 1]) {
        last.left = Math.min(last.left, letter.left);
        last.right = Math.max(last.right, letter.right);
      } else units.push({ ...letter, inside: inside[i] });
    });
    if (units.length < 2) continue;
    mixed += 1;
    const slanted = at.localName === "text" && Math.abs(at.getScreenCTM().b) > 1e-6;
    for (let i = 1; i < units.length && !slanted; i++) {
      const [a, b] = [units[i - 1], units[i]];
      const sameLine = Math.abs(a.top - b.top) < 4;
      if (sameLine && b.left < a.right - 1.5) {
        faults.push(text);
        break;
      }
    }
  }
  return { mixed, faults };
}
"""


def disorder(root: Locator) -> list[str]:
    found = root.evaluate(DISORDER, READ)
    assert found["mixed"] > 0, "nothing here stands beside such a word"
    return found["faults"]


def written(said):
    said = in_scripts(said, WORDS)
    followed = json.dumps(GRAPH["target"]["text"], ensure_ascii=False)
    text = json.dumps(said, ensure_ascii=False)
    return json.loads(text.replace(followed, json.dumps(FOLLOWED, ensure_ascii=False)))


@pytest.fixture
def page(open_widget) -> Page:
    page = open_widget(page_options={"viewport": {"width": 1280, "height": 1000}})
    replies = {"routes": ROUTES, "attribution": ATTRIBUTION, "predictions": PREDICTIONS}
    page.evaluate(
        "(replies) => { model.replies = replies }", {k: written(v) for k, v in replies.items()}
    )
    page.evaluate("(details) => { model.details = details }", written(PROJECT))
    give(page, written(GRAPH), {LAYER: written(BLOCK)})
    widget = widget_of(page)
    expect(widget).to_contain_text("שלום")
    return page


def test_the_picture_and_what_stands_around_it(page):
    widget = widget_of(page)
    open_layer(widget)
    assert disorder(widget) == []
    node(widget, HEAD).click()
    expect(panel_of(widget)).to_contain_text("␣(דולר)")
    widget.get_by_role("button", name="Pin").first.click()
    settle(widget)
    assert disorder(panel_of(widget)) == []
    assert disorder(widget) == []
    for name in (f"{HEAD}.V3", f"L{LAYER}.mlp", "logits"):
        node(widget, name).hover()
        expect(widget.get_by_role("tooltip")).to_be_visible()
        assert disorder(widget.get_by_role("tooltip")) == [], name


def test_the_routes(page):
    widget = widget_of(page)
    show_routes(widget)
    assert disorder(widget) == []


@pytest.mark.parametrize("view", ["Layers", "Routes"])
def test_the_tables(page, view):
    widget = widget_of(page)
    widget.get_by_role("button", name=view, exact=True).click()
    widget.get_by_role("button", name="table", exact=True).click()
    table = widget.locator('[data-role="table"]')
    expect(table.locator("tbody tr").first).to_be_visible()
    assert disorder(table) == []


def test_a_figure(page):
    open_layer(widget_of(page))
    svg = export(page).read_text(encoding="utf-8")
    # In a page that is read from right to left itself.
    page.set_content(f"<body dir=rtl>{svg[svg.index('<svg') :]}</body>")
    assert disorder(page.locator("svg")) == []


def test_a_page_that_is_read_from_right_to_left(page):
    page.evaluate("document.documentElement.dir = 'rtl'")
    widget = widget_of(page)
    settle(widget)
    assert disorder(widget) == []
    assert widget.evaluate("(root) => getComputedStyle(root).direction") == "ltr"


def test_what_is_handed_on_is_as_it_was_written(page):
    widget = widget_of(page)
    # What is searched is the vocabulary of the graph on show, not of the one that it began with.
    page.evaluate("model.vocabulary = model.get('graph').prediction")
    widget.locator('[data-role="target"], .vw-target').first.click()
    field = widget.get_by_role("combobox", name="Target token")
    field.fill("דולר")
    expect(widget.get_by_role("listbox")).not_to_contain_text("שלום")
    widget.get_by_role("option", name="דולר").first.click()
    target = page.evaluate("model.get('target')")
    assert target["text"] == "␣(דולר)"
