"""Two prompts: the comparison and the patching of one with the other, over a plain forward pass."""

from __future__ import annotations

from collections.abc import Callable

import visit_widget as vw

from .report import Table
from .setting import Setting
from .timing import race

PLAIN = "plain forward"
LAYER = 23
# What is compared: alike up to the country, and unlike from the first token on.
PAIRS = {
    "late": (
        "Yesterday I learned that the capital of Japan is",
        "Yesterday I learned that the capital of France is",
    ),
    "early": ("Japan has a capital, and its name is", "France has a capital, and its name is"),
}
ROUNDS = 5


def bench(setting: Setting) -> list[Table]:
    return [_table(setting, where) for where in PAIRS]


def _table(setting: Setting, where: str) -> Table:
    clean, corrupted = (vw.trace(setting.model, setting.tokenizer, t) for t in PAIRS[where])
    differs = [
        n
        for n, pair in enumerate(zip(clean.tokens, corrupted.tokens, strict=True))
        if len({*pair}) > 1
    ]
    assert len(differs) == 1
    contenders: dict[str, Callable[[], object]] = {
        PLAIN: lambda: setting.forward(corrupted.input_ids)
    }
    if where == "late":
        contenders["compare, overview"] = lambda: vw.compare(clean, corrupted)
        contenders["compare, one layer open"] = lambda: vw.compare(clean, corrupted, layers=[LAYER])
    for over in ("streams", "mlps", "heads"):
        found = vw.patching(clean, corrupted, over)
        cells = int((found.ids != None).sum())  # noqa: E711 - of every cell
        contenders[f"patching over {over}, {cells} cells"] = lambda over=over: vw.patching(
            clean, corrupted, over
        )
    if where == "late":
        contenders["patching over parts at the focus"] = lambda: vw.patching(
            clean, corrupted, "parts"
        )
    result = race(contenders, setting.rounds(ROUNDS), warm_ups=1)
    n = len(corrupted)
    table = Table(f"Two prompts of {n} tokens, that differ in token {differs[0] + 1}")
    for name in contenders:
        if name != PLAIN:
            table.compare(result, name, PLAIN)
    if where == "late":
        table.notes.append(
            "Of two traces that are there. `patching` gives what is foretold and what is measured "
            "of every cell: one backward pass, and a run for each that can change anything."
        )
    return table
