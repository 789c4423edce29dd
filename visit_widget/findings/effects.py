"""The effects of heads over many prompts: which matter, how surely, and where most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..trace import Trace
from ..trace.target import TargetLike
from ..what_if.actions import ActionLike
from .results import Row
from .statistics import interval, stability


def part_effects(
    trace: Trace,
    answer: int | None = None,
    parts: str = "heads",
    foil: TargetLike | None = None,
    action: ActionLike = "zero",
    positions: str = "focus",
) -> list[Row]:
    """What the prediction loses by each part, foretold and measured.

        predicted = ⟨∂m/∂s, part⟩        measured = m(as it is) − m(without the part)

    with m the right answer's logit, or the model's first choice's where no answer is known, less
    the foil's. By default the foil is what the model finds most likely besides: a logit alone moves
    with all the others, which nobody sees.

    Source: attribution patching (Nanda 2023; Kramár et al. 2024, arXiv 2403.00745) and ablation;
    see `Trace.effects`.

    Args:
        trace: of a prompt.
        answer: token id of the right answer, where there is one.
        parts: "heads", "mlps", "attention" or "sublayers".
        foil: what the target is compared against.
        action: what is done to each part.
        positions: where: "focus" or "all".

    Returns:
        A row for each part: `part` (its id), `predicted`, `measured`, `target`, `foil`.
    """
    target, besides = contrasted(trace, answer)
    foil = besides if foil is None else foil
    found = trace.effects(parts, target, foil, action, positions)
    return [
        {"part": name, "predicted": effect.predicted, "measured": effect.measured,
         "target": found.target, "foil": found.foil}
        for name, effect in found.items()
    ]  # fmt: skip


def contrasted(trace: Trace, answer: int | None) -> tuple[int, int]:
    """The token whose logit is followed, the right answer or the first choice, and what the model
    finds most likely besides.
    """
    said = trace.logits()
    target = int(said.argmax()) if answer is None else answer
    return target, next(t for t in said.topk(2).indices.tolist() if t != target)


def rank_effects(
    rows: Iterable[Mapping[str, Any]], n: int = 10, n_prompts: int = 5, seed: int = 0
) -> list[Row]:
    """Parts by their mean measured effect over prompts, with intervals, and the prompts that show
    each best.

    Args:
        rows: of `part_effects` over many prompts, `study["part_effects"]`.
        n: how many parts count as the strongest, of which stability is told.
        n_prompts: how many of its most telling prompts are named of each part.
        seed: of the bootstrap.

    Returns:
        A row for each part, the largest |mean measured effect| first: `part`, `measured`,
        `measured_low`, `measured_high`, `predicted`, `predicted_low`, `predicted_high` (means and
        95 % bootstrap intervals over prompts), `prompts` (numbers of those where |measured| is
        largest), `stability`, `stability_low`, `stability_high` (Jaccard index of the n strongest
        in bootstrap samples; the same in every row).
    """
    table: dict[str, dict[int, tuple[float, float]]] = {}
    for row in rows:
        predicted = float("nan") if row["predicted"] is None else row["predicted"]
        table.setdefault(row["part"], {})[row.get("prompt", 0)] = row["measured"], predicted
    if not table:
        return []
    parts, numbers = list(table), sorted(set().union(*table.values()))
    missing = (float("nan"), float("nan"))
    values = np.array([[table[p].get(i, missing) for p in parts] for i in numbers])
    measured = values[..., 0]
    stable = stability(np.nan_to_num(measured), n, seed=seed)
    found: list[Row] = []
    for column, part in enumerate(parts):
        row = {"part": part}
        for which, name in enumerate(("measured", "predicted")):
            known = values[:, column, which]
            known = known[~np.isnan(known)]
            mean = float(known.mean()) if len(known) else None
            low, high = interval(known, seed=seed)
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        telling = np.argsort(-np.abs(np.nan_to_num(measured[:, column])), kind="stable")
        row["prompts"] = [numbers[i] for i in telling[:n_prompts]]
        for name, value in zip(("", "_low", "_high"), stable, strict=True):
            row[f"stability{name}"] = value
        found.append(row)
    return sorted(found, key=lambda row: -abs(row["measured"] or 0.0))
