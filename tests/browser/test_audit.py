"""The audit: how far off each identity is, on demand."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.labels import overlapping_labels
from tests.browser.steps import AUDIT, requests_for, settle, widget_of


def mark_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="exact"]')


def audit_of(widget: Locator) -> Locator:
    return widget.locator('[data-role="audit"]')


def open_audit(widget: Locator) -> None:
    settle(widget)
    mark_of(widget).click()
    expect(audit_of(widget).locator("tbody tr")).to_have_count(len(AUDIT["rows"]))


BAD_AUDIT = {
    **AUDIT,
    "rows": [
        {**row, "error": {1: 3.4e-2, 4: None, 6: 2.0e-3}.get(at, row["error"])}
        for at, row in enumerate(AUDIT["rows"])
    ],
    "exact": False,
    "max_error": 3.4e-2,
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [480, 700, 1280])
def test_the_mark_opens_a_table_of_errors(open_widget, screenshot, width, theme):
    page = open_widget(theme=theme, page_options={"viewport": {"width": width, "height": 900}})
    widget = widget_of(page)
    open_audit(widget)
    shown = audit_of(widget)
    for row in AUDIT["rows"]:
        expect(shown).to_contain_text(row["identity"])
    expect(shown).to_contain_text("Exact to rounding")
    expect(shown.locator("tbody td").first).to_have_text(re.compile(r"^\d\.\d × 10⁻[⁰¹²³⁴⁵⁶⁷⁸⁹]+$"))
    screenshot(page, f"audit-{width}-{theme}")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert shown.evaluate("(e) => e.scrollWidth - e.clientWidth") <= 0
    assert overlapping_labels(shown) == []
    assert len(requests_for(page, "audit")) == 1


def test_bars_are_as_long_as_errors_are_large(open_widget):
    page = open_widget()
    widget = widget_of(page)
    open_audit(widget)
    widths = (
        audit_of(widget)
        .locator(".vw-audit-bar")
        .evaluate_all("(bars) => bars.map((bar) => bar.getBoundingClientRect().width)")
    )
    errors = [row["error"] for row in AUDIT["rows"]]
    assert sorted(range(len(errors)), key=lambda at: errors[at]) == sorted(
        range(len(widths)), key=lambda at: widths[at]
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_audit_that_fails_is_seen_without_colour(open_widget, screenshot, theme):
    page = open_widget(theme=theme)
    widget = widget_of(page)
    page.evaluate("(audit) => { model.audit = audit }", BAD_AUDIT)
    open_audit(widget)
    shown = audit_of(widget)
    expect(shown).to_contain_text("Not exact: 2 of 9 identities are off")
    expect(shown.locator("tr.over .vw-icon")).to_have_count(2)
    expect(shown).to_contain_text("not asked")
    expect(mark_of(widget)).to_contain_text("off by 3e−2")
    screenshot(page, f"audit-off-{theme}")
    assert overlapping_labels(shown) == []


def test_the_audit_by_keyboard_alone(open_widget):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    widget.locator('[data-role="show"]').focus()
    page.keyboard.press("ArrowRight")
    expect(mark_of(widget)).to_be_focused()
    page.keyboard.press("Enter")
    expect(audit_of(widget)).to_be_focused()
    expect(audit_of(widget).locator("tbody tr")).to_have_count(len(AUDIT["rows"]))
    for _ in range(7):
        page.keyboard.press("Tab")
        assert audit_of(widget).evaluate("(e) => e.contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(audit_of(widget)).to_have_count(0)
    expect(mark_of(widget)).to_be_focused()
    page.keyboard.press("Enter")
    expect(audit_of(widget).locator("tbody tr")).to_have_count(len(AUDIT["rows"]))
    assert len(requests_for(page, "audit")) == 1, "kept"


def test_an_audit_under_way_says_so_and_is_called_off_by_closing(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    page.evaluate("model.silent.add('audit')")
    mark_of(widget).click()
    expect(audit_of(widget)).to_contain_text("two fresh passes")
    screenshot(page, "audit-waiting")
    page.keyboard.press("Escape")
    (request,) = requests_for(page, "audit")
    assert page.evaluate("model.sent.at(-1)") == {"kind": "visit-cancel", "id": request["id"]}


def test_an_audit_that_cannot_be_made_is_a_sentence_and_can_be_tried_again(open_widget, screenshot):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    sentence = "The kernel could not do this (OutOfMemoryError: the GPU is full)."
    page.evaluate("(sentence) => { model.failing.audit = sentence }", sentence)
    mark_of(widget).click()
    expect(audit_of(widget)).to_contain_text(sentence)
    screenshot(page, "audit-error")
    page.evaluate("delete model.failing.audit")
    audit_of(widget).get_by_text("try again").click()
    expect(audit_of(widget).locator("tbody tr")).to_have_count(len(AUDIT["rows"]))


def test_an_audit_of_a_kernel_that_is_gone_says_so(open_widget):
    page = open_widget()
    widget = widget_of(page)
    settle(widget)
    page.evaluate("model.gone = true")
    mark_of(widget).click()
    expect(audit_of(widget)).to_contain_text("The kernel cannot be reached")
    open_again = widget.locator('[data-role="measure"]')
    open_again.focus()
    expect(audit_of(widget)).to_have_count(0)


def test_two_views_share_an_audit(open_widget):
    page = open_widget(views=2, page_options={"viewport": {"width": 1280, "height": 1800}})
    first, second = widget_of(page, 0), widget_of(page, 1)
    open_audit(first)
    assert mark_of(first).inner_text() == mark_of(second).inner_text()
    open_audit(second)
    assert len(requests_for(page, "audit")) == 1


def test_the_audit_is_copied_as_text(open_widget):
    page = open_widget()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    widget = widget_of(page)
    open_audit(widget)
    audit_of(widget).get_by_text("copy as Markdown").click()
    expect(audit_of(widget)).to_contain_text("copied")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("| identity | largest relative error |")
    assert all(row["identity"] in text for row in AUDIT["rows"])


def test_a_saved_page_shows_the_audit_that_it_carries(open_widget):
    page = open_widget(mode="standalone")
    open_audit(widget_of(page))
    expect(audit_of(widget_of(page))).to_contain_text("Exact to rounding")


def test_a_saved_page_without_an_audit_says_how_to_get_one(open_widget, screenshot):
    page = open_widget(mode="standalone", include="nothing")
    widget = widget_of(page)
    settle(widget)
    mark_of(widget).click()
    expect(audit_of(widget)).to_contain_text("save_html(path, audit=True)")
    screenshot(page, "audit-not-saved")
