"""How the saved page answers in a browser without a window: first paint, layers, motion, hover."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import visit_widget as vw
from visit_widget.viewer.page import page as saved_page

from .generated import Size, saved_graph
from .report import Table
from .setting import PROMPT, Setting
from .timing import Spread

SIZES = (
    Size("about 150 nodes", opened=1),
    Size("about 500 nodes", opened=8),
    Size("about 2,000 nodes", opened=30, heads=20, neurons=31),
    Size("about 4,000 ribbons", opened=60, layers=60, heads=24, neurons=36),
    Size("about 5,000 nodes", opened=60, layers=60, heads=28, neurons=41),
)
CLOCK = Path(__file__).with_name("browser_clock.js")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VIEWPORT = {"width": 1440, "height": 1000}
MOTION_MS, HOVERS = 1200, 60
"""Milliseconds of panning, and moves of the pointer, in one run."""


@dataclass
class Timings:
    """What runs of one page gave.

    Attributes:
        sizes: nodes and ribbons that were drawn.
        first, whole, opening, pan, zoom: one number a run.
        hover: of all runs.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    opening: list[float] = field(default_factory=list)
    pan: list[float] = field(default_factory=list)
    zoom: list[float] = field(default_factory=list)
    hover: list[float] = field(default_factory=list)


def bench(setting: Setting) -> list[Table]:
    table = Table(
        "Drawing in a browser",
        ["page", "nodes", "ribbons", "what", "median", "quartiles", "budget", ""],
    )
    runs = setting.rounds(8)
    with tempfile.TemporaryDirectory() as folder, _browser() as browser:
        for name, path, closed, budgets in _pages(Path(folder), setting):
            timings = Timings()
            for _ in range(runs):
                _run(browser, path, closed, timings)
            _rows(table, name, timings, budgets)
    table.notes += [
        (
            f"Medians of {runs} runs, each in a page of its own, {VIEWPORT['width']} × "
            f"{VIEWPORT['height']} pixels, Chromium without a GPU. Nodes and ribbons are those "
            "drawn in the end."
        ),
        (
            "First paint counts from the start of the navigation, the bundle and the data being "
            "read; it shows what is in sight, and what is not follows. A layer is open once the "
            "frame that shows its heads has been painted, and a hover answered once the frame "
            "after the pointer's event has been."
        ),
        "Pan scrolls the picture along, a step a frame; zoom is a pinch to twice the size.",
    ]
    return [table]


def _pages(
    folder: Path, setting: Setting
) -> Iterator[tuple[str, Path, int | None, dict[str, Any]]]:
    """Name, file, a closed layer if there is one, and budgets."""
    hover = {"hover": 50.0}
    budgets = [
        {}, {"opening": 150.0}, {"first": 1000.0},
        {"first": 1000.0, "pan": 50.0, "zoom": 50.0}, {"pan": 30.0, "zoom": 30.0},
    ]  # fmt: skip
    for size, budget in zip(SIZES, budgets, strict=True):
        path = folder / f"{size.opened}-{size.heads}.html"
        path.write_text(saved_page(size.name, saved_graph(size)), encoding="utf-8")
        closed = size.layers - size.opened - 1
        yield size.name, path, closed if closed >= 0 else None, budget | hover
    widget = vw.visit(setting.model, setting.tokenizer, PROMPT)
    layers = setting.model.config.num_hidden_layers
    path = widget.save_html(folder / "demo.html", expand=range(layers))
    widget.close()
    yield f"the demo model, all {layers} layers open", path, None, hover


@contextmanager
def _browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit("No Chromium on the PATH: scripts/chromium.sh installs it or says how.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        yield browser
        browser.close()


def _run(browser: Any, path: Path, closed: int | None, timings: Timings) -> None:
    context = browser.new_context(viewport=VIEWPORT)
    page = context.new_page()
    page.add_init_script(path=CLOCK)
    page.goto(path.as_uri(), wait_until="commit")
    timings.first.append(page.evaluate("clock.first"))
    timings.whole.append(page.evaluate("clock.whole()"))
    timings.sizes = page.evaluate("clock.sizes()")
    timings.pan.append(page.evaluate("(ms) => clock.panning(ms)", MOTION_MS))
    timings.hover += _hovers(page)
    timings.zoom.append(_zoom(page, context))
    if closed is not None:
        timings.opening.append(page.evaluate("(layer) => clock.opening(layer)", closed))
    context.close()


def _hovers(page: Any) -> list[float]:
    taken = []
    for number, spot in enumerate(page.evaluate("(n) => clock.targets(n)", HOVERS + 2)):
        page.mouse.move(spot["x"], spot["y"])
        took = page.evaluate("clock.hovered()")
        # The first ones find code that has not run before.
        if number >= 2:
            taken.append(took)
    return taken


def _zoom(page: Any, context: Any) -> float:
    session = context.new_cdp_session(page)
    page.evaluate("clock.zoomStarts()")
    middle = {"x": VIEWPORT["width"] // 2, "y": VIEWPORT["height"] // 2}
    session.send("Input.synthesizePinchGesture", {**middle, "scaleFactor": 2, "relativeSpeed": 400})
    return float(page.evaluate("clock.zoomEnds()"))


def _rows(table: Table, page: str, timings: Timings, budgets: dict[str, float]) -> None:
    units = {
        "first": ("first paint", "ms"), "whole": ("all drawn", "ms"),
        "opening": ("open a layer", "ms"),
        "pan": ("pan", "frames/s"), "zoom": ("zoom", "frames/s"),
    }  # fmt: skip
    cells = [page, *(f"{timings.sizes[what]:,}" for what in ("nodes", "ribbons"))]
    for key, (what, unit) in units.items():
        values = getattr(timings, key)
        if not values:
            continue
        spread = Spread.of(values)
        digits = f"{spread.low:.0f}–{spread.high:.0f}"
        budget = budgets.get(key)
        verdict = _verdict(spread.median, budget, unit)
        table.rows.append([*cells, what, f"{spread.median:.0f} {unit}", digits, *verdict])
        cells = ["", "", ""]
    median = statistics.median(timings.hover)
    last = statistics.quantiles(timings.hover, n=20, method="inclusive")[-1]
    for what, value in (("hover", median), ("hover, 95th percentile", last)):
        verdict = _verdict(value, budgets.get("hover"), "ms")
        table.rows.append([*cells, what, f"{value:.0f} ms", "", *verdict])


def _verdict(value: float, budget: float | None, unit: str) -> tuple[str, str]:
    if budget is None:
        return "", ""
    at_most = unit == "ms"
    kept = value <= budget if at_most else value >= budget
    return f"{'≤' if at_most else '≥'} {budget:.0f}", "kept" if kept else "OVER"
