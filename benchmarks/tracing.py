"""`vw.trace` over a plain forward pass, beside TransformerLens on the same weights."""

from __future__ import annotations

from collections.abc import Callable

import visit_widget as vw

from .report import Table, megabytes
from .setting import Setting
from .storage import storage_bytes
from .transformer_lens_bridge import Bridge, MissingError

BUDGET = 1.10
PLAIN, EVERY_LOGIT = "plain forward", "plain forward, every logit"
TRACE, BRIDGE, CACHE = "vw.trace", "TransformerLens forward", "TransformerLens run_with_cache"


def rounds_at(n_tokens: int) -> int:
    if n_tokens <= 32:
        return 40
    return 12 if n_tokens <= 512 else 4


def bench(setting: Setting) -> list[Table]:
    from .timing import race

    bridge: Bridge | None = None
    notes: list[str] = []
    notes.append(
        "A plain forward is `model(ids, use_cache=False, logits_to_keep=1)`: the least that a pass "
        "can be, since a trace needs the logits of the last position only."
    )
    try:
        bridge = Bridge(setting.model, setting.tokenizer)
        ids = setting.prompt(8)
        off = float(
            (bridge.forward(ids) - setting.forward(ids, every_logit=True).logits).abs().max()
        )
        notes.append(
            "TransformerLens runs a copy of the same weights, always in eager attention, and "
            f"computes every logit (its logits differ from the model's by at most {off:.0e})."
        )
    except MissingError as error:
        notes.append(f"The rows of TransformerLens are missing: {error}")

    tables = []
    for n_tokens in setting.lengths:
        ids = setting.prompt(n_tokens)
        contenders: dict[str, Callable[[], object]] = {
            PLAIN: lambda ids=ids: setting.forward(ids),
            TRACE: lambda ids=ids: vw.trace(setting.model, setting.tokenizer, ids),
            EVERY_LOGIT: lambda ids=ids: setting.forward(ids, every_logit=True),
        }
        table = Table(f"Tracing {n_tokens:,} tokens")
        kept = storage_bytes(vw.trace(setting.model, setting.tokenizer, ids).record)
        keeps = f"A trace keeps {megabytes(kept)} MB"
        if bridge is not None:
            contenders[BRIDGE] = lambda ids=ids: bridge.forward(ids)
            too_big = bridge.too_big(n_tokens, setting.prompt)
            cached = megabytes(bridge.cached_bytes(n_tokens, setting.prompt))
            table.notes.append(f"{keeps}, run_with_cache {cached} MB.")
            if too_big:
                table.notes.append(too_big)
            else:
                contenders[CACHE] = lambda ids=ids: bridge.run_with_cache(ids)
        else:
            table.notes.append(f"{keeps}.")
        result = race(
            contenders, setting.rounds(rounds_at(n_tokens)), warm_ups=2 if n_tokens <= 512 else 1
        )
        table.compare(result, TRACE, PLAIN, BUDGET)
        table.compare(result, TRACE, EVERY_LOGIT)
        if CACHE in contenders:
            table.compare(result, CACHE, BRIDGE)
            table.compare(result, CACHE, EVERY_LOGIT)
        tables.append(table)
    tables[-1].notes += notes
    return tables
