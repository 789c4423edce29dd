"""Following a prediction back through every position."""

from __future__ import annotations

from typing import Any

import visit_widget as vw
from visit_widget.flow import Painter

from .report import Table
from .setting import Setting
from .timing import race

LENGTHS = (8, 64, 512)
PLAIN, ATTRIBUTION = "plain forward", "attribution by token"
MEASURED = ("logit", "linear", "proximity", "effect")
ROUTES = {name: f"trace.routes, {name}" for name in MEASURED}


def bench(setting: Setting) -> list[Table]:
    return [_routes(setting, n) for n in LENGTHS]


def _routes(setting: Setting, n_tokens: int) -> Table:
    ids = setting.prompt(n_tokens)
    trace = vw.trace(setting.model, None, ids)
    lens = vw.LogitLens(setting.model)
    sizes: dict[str, int] = {}

    def painter(measure: str) -> Painter:
        return Painter(trace, measure=measure, lens=lens)

    def draw(measure: str) -> Any:
        graph = painter(measure).routes()
        sizes[measure] = len(graph.nodes)
        return graph

    contenders = {
        PLAIN: lambda: setting.forward(ids),
        # By another measure than the logit, so that no graph is drawn for it.
        ATTRIBUTION: lambda: painter("share").attribution(),
        **{name: lambda m=measure: draw(m) for measure, name in ROUTES.items()},
    }
    result = race(contenders, setting.rounds(12))
    table = Table(f"Routes, {n_tokens} tokens")
    table.compare(result, ATTRIBUTION, PLAIN)
    for measure, name in ROUTES.items():
        table.compare(result, name, PLAIN, what=f"{name}, {sizes[measure]} nodes")
    table.notes.append(
        "Of a trace that is there, by the default of `Keep.routes` (1 %). A graph is the walk, and "
        "the labels of up to 400 nodes; the attribution in logits is the walk alone."
    )
    return table
