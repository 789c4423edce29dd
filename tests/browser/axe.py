"""Runs axe-core on a page, as it lies in node_modules."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
# Everything but rules on whole pages, which a widget is not.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental"]
RUN = """
async (tags) => {
    const runOnly = { type: "tag", values: tags };
    const { violations } = await axe.run(".visit-widget", { resultTypes: ["violations"], runOnly });
    return violations.flatMap(({ id, help, nodes }) =>
        nodes.map(({ html }) => `${id} (${help}): ${html.slice(0, 240)}`));
}
"""


def violations(page: Page) -> list[str]:
    """What axe finds wrong with the page's widgets, a line for each element."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm ci installs it")
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    return page.evaluate(RUN, TAGS)
