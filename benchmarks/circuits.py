"""Whether measures find circuits: those that a task is done by in the demo model, and those that
are known because they were compiled.

A measure's scores of heads and MLPs are averaged over some pairs of prompts, the best make up
circuits of every size, and what those are worth is measured on other pairs (`circuit_metrics`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import visit_widget as vw

from .circuit_metrics import SIZES, circuits, cmd, counts, cpr, faithfulness
from .circuit_runs import Patched
from .circuit_scores import node_names, node_scores
from .circuit_tasks import TASKS, Pair, pairs
from .known_circuits import N_PAIRS, known_circuits
from .ranking import decimals
from .report import Table
from .setting import Setting

N_RANKED, N_SCORED = 4, 8
SEEDS = range(5)
# How many circuits of a task are run once more by `trace.rerun`.
N_COMPARED = 3
# Sizes from this one on have a column.
FROM = 0.01


@dataclass(frozen=True)
class Result:
    """What one measure's circuits of one task are worth.

    Attributes:
        cpr, cmd: areas; of random orders, of each.
        f: (len(SIZES),) of the circuits of the parts that matter most either way.
    """

    cpr: list[float]
    cmd: list[float]
    f: Tensor


def bench(setting: Setting) -> list[Table]:
    n_ranked, n_scored = (2, 3) if setting.quick else (N_RANKED, N_SCORED)
    results, notes = {}, []
    for task in TASKS:
        found, tried = pairs(setting.model, setting.tokenizer, task, n_ranked + n_scored)
        results[task], off = scored(setting.model, found[:n_ranked], found[n_ranked:])
        notes.append(
            f"{task}: {len(found)} of {tried} pairs are answered right; `trace.rerun` says of "
            f"{N_COMPARED} circuits what hooks say, to {off:.0e}."
        )
    tables = [areas(results, notes), *(curves(task, results[task]) for task in TASKS)]
    return [*tables, *known_circuits(2 if setting.quick else N_PAIRS)]


def scored(model: Any, ranked: list[Pair], others: list[Pair]) -> tuple[dict[str, Result], float]:
    """{measure: its result}, and by how much reruns differ from hooks.

    Args:
        model: the demo model.
        ranked: the pairs that parts are scored on.
        others: those that circuits are run on.
    """
    scores = mean_scores(model, ranked)
    n_parts = len(next(iter(scores.values())))
    how_many = counts(n_parts)
    kept = {
        (name, by_size): circuits(values, how_many, by_size)
        for name, values in scores.items()
        for by_size in (False, True)
    }
    for seed in SEEDS:
        order = torch.rand(n_parts, generator=torch.Generator().manual_seed(seed))
        kept[f"random {seed}", True] = circuits(order, how_many, True)
    ends = torch.stack([torch.zeros(n_parts), torch.ones(n_parts)]).bool()
    every = torch.cat([ends, *kept.values()])
    distinct, place = every.unique(dim=0, return_inverse=True)
    runs = [Patched(model, pair) for pair in others]
    said = torch.stack([run.said(distinct) for run in runs], 1)[place]
    f = faithfulness(said[2:], said[0], said[1])
    of = dict(zip(kept, f.split(len(SIZES)), strict=True))
    off = compared(model, others[0], kept["effect", True], runs[0])
    found = {
        name: Result([cpr(of[name, False])], [cmd(of[name, True])], of[name, True])
        for name in scores
    }
    dice = [of[f"random {seed}", True] for seed in SEEDS]
    random = Result([cpr(f) for f in dice], [cmd(f) for f in dice], torch.stack(dice).mean(0))
    return {**found, "random": random}, off


def mean_scores(model: Any, ranked: list[Pair]) -> dict[str, Tensor]:
    """{measure: (n_parts,)} the mean over pairs."""
    every = []
    for pair in ranked:
        clean, corrupted = (vw.trace(model, None, ids) for ids in (pair.clean, pair.corrupted))
        target, foil = vw.Target(pair.target), vw.Target(pair.foil)
        every.append(node_scores(clean, corrupted, target, foil))
    return {name: torch.stack([s[name] for s in every]).mean(0) for name in every[0]}


def compared(model: Any, pair: Pair, kept: Tensor, run: Patched) -> float:
    """By how much m of some circuits differs where the package runs them."""
    clean, corrupted = (vw.trace(model, None, ids) for ids in (pair.clean, pair.corrupted))
    some = kept[[n for n, size in enumerate(SIZES) if size >= FROM][1 : 2 * N_COMPARED : 2]]
    off = 0.0
    for row, theirs in zip(some, run.said(some).tolist(), strict=True):
        outside = [n for n, on in zip(node_names(clean), row.tolist(), strict=True) if not on]
        again = clean.rerun(dict.fromkeys(outside, corrupted), positions="all")
        logits = again.logits().double()
        ours = float(logits[pair.target].mean() - logits[pair.foil].mean())
        off = max(off, abs(ours - theirs))
    return off


def areas(results: Mapping[str, Mapping[str, Result]], notes: list[str]) -> Table:
    """CPR and CMD of every measure and task."""
    table = Table("Circuits in the demo model: CPR (more is better) and CMD (less is better)")
    table.columns = [
        "ranked by",
        *(f"{task}: {what}" for task in results for what in ("CPR", "CMD")),
    ]
    table.columns += ["mean CPR", "mean CMD"]
    names = next(iter(results.values()))
    for name in names:
        row, means = [name], []
        for task in results:
            own = results[task][name]
            row += [spread(own.cpr), spread(own.cmd)]
            means.append((mean(own.cpr), mean(own.cmd)))
        row += [decimals(mean([m[k] for m in means])) for k in (0, 1)]
        table.rows.append(row)
    table.notes += [*notes, f"Random: the mean of {len(SEEDS)} orders ± their standard deviation."]
    return table


def curves(task: str, results: Mapping[str, Result]) -> Table:
    """f of circuits of every size."""
    wide = [n for n, size in enumerate(SIZES) if size >= FROM]
    table = Table(f"f of circuits of the parts that matter most either way: {task}")
    table.columns = ["ranked by", *(f"{SIZES[n]:.0%} of all parts" for n in wide)]
    for name, result in results.items():
        table.rows.append([name, *(decimals(float(result.f[n])) for n in wide)])
    return table


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def spread(values: list[float]) -> str:
    """A number, or the mean of several and their standard deviation."""
    middle = mean(values)
    if len(values) == 1:
        return decimals(middle)
    own = math.sqrt(sum((v - middle) ** 2 for v in values) / (len(values) - 1))
    return f"{decimals(middle)} ± {own:.2f}"
