"""The effects of parts, foretold and measured, over a plain forward pass of the same prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import visit_widget as vw
from visit_widget.flow import Painter
from visit_widget.trace.target import followed
from visit_widget.what_if.actions import action_of
from visit_widget.what_if.effects import names_of
from visit_widget.what_if.parts import part_of
from visit_widget.what_if.variants import Variants
from visit_widget.widget.answers import measured_in

from .report import Table
from .setting import Setting
from .timing import race

N_TOKENS = 14
LAYER = 23
PLAIN = "plain forward"
HEADS, DRAWN, ALONE = "heads", "drawn", "measured"
BUDGETS = {HEADS: 6.0, DRAWN: 2.0, ALONE: 6.0}


def bench(setting: Setting) -> list[Table]:
    ids = setting.prompt(N_TOKENS)
    asked = vw.trace(setting.model, None, ids)
    painter = Painter(asked, measure="effect", lens=vw.LogitLens(setting.model))
    drawn = list(measured_in(painter, LAYER)["nodes"])
    parts: dict[str, Any] = {HEADS: HEADS, DRAWN: drawn}
    n_heads = len(asked.effects(HEADS))
    fresh: dict[str, vw.Trace] = {}

    def trace_again(_: int) -> None:
        """One each, for what a trace has found out it keeps."""
        fresh.update({name: vw.trace(setting.model, None, ids) for name in (*parts, ALONE)})

    def measured(trace: vw.Trace) -> object:
        at = len(trace) - 1
        told = [followed(trace, int(trace.logits(at).argmax()))]
        every = [part_of(trace, name) for name in names_of(trace, HEADS, None)]
        return Variants(trace, action_of(trace, "zero"), at).losses(every, [at], told)

    contenders: dict[str, Callable[[], object]] = {PLAIN: lambda: setting.forward(ids)}
    for name, wanted in parts.items():
        contenders[f"{name}, fresh"] = lambda name=name, of=wanted: fresh[name].effects(of)
        contenders[f"{name}, asked"] = lambda of=wanted: asked.effects(of)
    contenders[f"{ALONE}, fresh"] = lambda: measured(fresh[ALONE])
    contenders[f"{ALONE}, asked"] = lambda: measured(asked)
    result = race(contenders, setting.rounds(12), before_round=trace_again)

    titles = {
        ALONE: f"all {n_heads} heads, measured alone",
        HEADS: f"all {n_heads} heads",
        DRAWN: f"{len(drawn)} drawn parts of layer {LAYER}",
    }
    table = Table(f"What if: effects at the focus, {N_TOKENS} tokens")
    for name, title in titles.items():
        for state, words in (("fresh", "a trace just made"), ("asked", "a trace asked before")):
            table.compare(result, f"{name}, {state}", PLAIN, BUDGETS[name], f"{title}, {words}")
    table.notes.append(
        "`trace.effects`: both the gradient's forecast and the measurement of every part. What a "
        "trace finds out once (the gradient of a target, whether rows stand alone) is in the "
        "rows of a trace just made, the trace itself is not."
    )
    return [table]
