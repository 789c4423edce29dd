"""`vw.generate` over the model's own `generate`, under the same options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import visit_widget as vw

from .report import Table, megabytes
from .setting import Setting
from .storage import storage_bytes
from .timing import race

BUDGET = 1.30
PLAIN, TRACED, EACH = "model.generate", "vw.generate", "a trace of each token"
N_NEW = 32
LENGTHS = (8, 256)
ROUNDS = 8


def bench(setting: Setting) -> list[Table]:
    tables = []
    for n_tokens in LENGTHS:
        ids = setting.prompt(n_tokens)
        options: dict[str, Any] = {"max_new_tokens": N_NEW, "min_new_tokens": N_NEW}
        options |= {"do_sample": False, "pad_token_id": 0}
        given = {"attention_mask": torch.ones_like(ids[None]), **options}
        # Warnings, and what is found out once a model.
        found = vw.generate(setting.model, setting.tokenizer, ids, **options)
        contenders: dict[str, Callable[[], object]] = {
            PLAIN: lambda ids=ids, given=given: setting.model.generate(ids[None], **given),
            TRACED: lambda ids=ids, options=options: vw.generate(
                setting.model, setting.tokenizer, ids, **options
            ),
        }
        if n_tokens == min(LENGTHS):
            contenders[EACH] = lambda ids=ids, found=found: [
                vw.trace(setting.model, None, [*ids.tolist(), *found.token_ids[:n]])
                for n in range(N_NEW)
            ]
        table = Table(f"Generating {N_NEW} tokens after {n_tokens:,}")
        result = race(contenders, setting.rounds(ROUNDS), warm_ups=1)
        table.compare(result, TRACED, PLAIN, BUDGET)
        if EACH in contenders:
            table.compare(result, EACH, PLAIN)
        kept = storage_bytes([trace.record for trace in found.traces])
        whole = [*ids.tolist(), *found.token_ids[:-1]]
        last = storage_bytes(vw.trace(setting.model, None, whole).record)
        table.notes.append(
            f"The {N_NEW} traces together keep {megabytes(kept)} MB, a trace of the last pass "
            f"{megabytes(last)} MB."
        )
        tables.append(table)
    return tables
