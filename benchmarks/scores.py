"""Splitting the score of one head by what wrote both streams, over a plain forward pass."""

from __future__ import annotations

import visit_widget as vw

from .report import Table
from .setting import Setting
from .timing import race

LENGTHS = (8, 256)
PLAIN = "plain forward"
# By heads every earlier layer's attention has to be derived.
BUDGETS = {"layer": 1.0, "part": 1.0, "head": None}


def bench(setting: Setting) -> list[Table]:
    return [_scores(setting, n) for n in LENGTHS]


def _scores(setting: Setting, n_tokens: int) -> Table:
    ids = setting.prompt(n_tokens)
    trace = vw.trace(setting.model, None, ids)
    layer = trace.n_layers - 1
    contenders = {
        PLAIN: lambda: setting.forward(ids),
        **{by: lambda by=by: trace.score_parts(layer, 0, 3, by=by) for by in BUDGETS},
    }
    result = race(contenders, setting.rounds(12))
    table = Table(f"Why a head looks there, {n_tokens} tokens")
    for by, budget in BUDGETS.items():
        what = f'trace.score_parts of the last layer, by="{by}"'
        table.compare(result, by, PLAIN, budget, what)
    return table
