"""Whether the tokens that a lens names for a part are those that the part matters for.

Every sublayer and head, and each layer's strongest neurons, are taken away at the last position by
hooks on the model's modules (nothing of the package is asked), and the log-probabilities of all
tokens are compared with those of the pass as it is. A token's *fall* is how much lower its
log-probability is then, in standard deviations over the vocabulary. A lens's score is the mean fall
of the five tokens that it names. The prompts are none that a lens was fitted on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import visit_widget as vw
from visit_widget.lens import Lens, lens_of

from .report import Table
from .setting import Setting

PROMPTS = (
    "The capital of Japan is the city of",
    "When Mary and John went to the store, John gave a drink to",
    "The opposite of hot is",
    "She opened the door and saw that the room was",
    "def add(a, b):\n    return a +",
    "To be, or not to be, that is the",
    "The chemical symbol for gold is",
    "Barack Obama was born in the state of",
)
N_NAMED = 5
N_NEURONS = 4
AT_ONCE = 60
LENSES = ("logit", "calibrated", "jacobian", "tuned", "local")
TITLES = {
    "logit": "logit", "calibrated": "calibrated", "jacobian": "Jacobian",
    "jacobian, calibrated": "Jacobian, calibrated", "tuned": "tuned", "local": "local",
    "shuffled": "Jacobian, labels shuffled",
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A part of the model at the last position.

    Attributes:
        layer: where it writes.
        kind: "attention", "mlp", "head" or "neuron".
        number: of the head or neuron; 0 of a sublayer.
        vector: (d_model,) what it writes.
    """

    layer: int
    kind: str
    number: int
    vector: Tensor


def bench(setting: Setting) -> list[Table]:
    model, tokenizer = setting.model, setting.tokenizer
    prompts = PROMPTS[:2] if setting.quick else PROMPTS
    lenses = _lenses(model, tokenizer, setting)
    scores: dict[tuple[str, str, int], list[float]] = {}
    correlations: dict[tuple[str, str], list[float]] = {}
    distinct: dict[tuple[str, str], list[float]] = {}
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        trace = vw.trace(model, tokenizer, prompt)
        parts = parts_of(model, ids)
        falls = standardised(falls_of(model, ids, parts))
        for name, lens in lenses.items():
            _score(trace, name, lens, parts, falls, scores, correlations, distinct)
    return [_by_depth(scores, correlations, distinct, lenses), _by_kind(scores, lenses)]


def _lenses(model: Any, tokenizer: Any, setting: Setting) -> dict[str, Lens]:
    trace = vw.trace(model, tokenizer, PROMPTS[0])
    found = {name: lens_of(name, trace, fit=True) for name in LENSES}
    if not setting.quick:
        found["jacobian, calibrated"] = vw.CalibratedLens.fit(
            model, tokenizer, base=found["jacobian"]
        )
    return {**found, "shuffled": found["jacobian"]}


@torch.no_grad()
def parts_of(model: Any, ids: Tensor) -> list[Part]:
    """What every sublayer, every head and the strongest neurons write at the last position."""
    heads, size = model.config.num_attention_heads, model.config.hidden_size
    found: list[Part] = []

    def hear(layer: int, block: Any, stack: ExitStack) -> None:
        def attention(module: Any, args: Any, out: Tensor) -> None:
            found.append(Part(layer, "attention", 0, out[0, -1].clone()))
            mixed = args[0][0, -1].view(heads, -1)
            rows = module.weight.view(size, heads, -1)
            written = (rows[:, head] @ mixed[head] for head in range(heads))
            found.extend(Part(layer, "head", n, vector) for n, vector in enumerate(written))

        def mlp(module: Any, args: Any, out: Tensor) -> None:
            found.append(Part(layer, "mlp", 0, out[0, -1].clone()))
            activations = args[0][0, -1]
            sizes = activations.abs() * module.weight.norm(dim=0)
            strongest = sizes.topk(N_NEURONS).indices.tolist()
            written = {n: activations[n] * module.weight[:, n] for n in strongest}
            found.extend(Part(layer, "neuron", n, vector) for n, vector in written.items())

        for module, listener in ((block.self_attn.o_proj, attention), (block.mlp.down_proj, mlp)):
            stack.callback(module.register_forward_hook(listener).remove)

    with ExitStack() as stack:
        for layer, block in enumerate(model.model.layers):
            hear(layer, block, stack)
        model(input_ids=ids, use_cache=False)
    return found


@torch.no_grad()
def falls_of(model: Any, ids: Tensor, parts: Sequence[Part]) -> Tensor:
    """(n, n_vocab) how much lower each log-probability is without each part."""
    clean = _said(model, ids)
    rows = [clean - _said(model, ids.expand(len(some), -1), some) for some in _chunks(parts)]
    return torch.cat(rows)


def _chunks(parts: Sequence[Part]) -> Iterator[Sequence[Part]]:
    for begin in range(0, len(parts), AT_ONCE):
        yield parts[begin : begin + AT_ONCE]


def _said(model: Any, ids: Tensor, without: Sequence[Part] = ()) -> Tensor:
    """(n, n_vocab) log-probabilities at the last position, each row without one part."""
    with ExitStack() as stack:
        for layer, block in enumerate(model.model.layers):
            rows = [(n, p) for n, p in enumerate(without) if p.layer == layer]
            for module, kinds in (
                (block.self_attn.o_proj, ("attention", "head")),
                (block.mlp.down_proj, ("mlp", "neuron")),
            ):
                mine = [(n, p.vector) for n, p in rows if p.kind in kinds]
                if not mine:
                    continue

                def take(_m: Any, _a: Any, out: Tensor, mine: Any = mine) -> Tensor:
                    out = out.clone()
                    for n, vector in mine:
                        out[n, -1] -= vector
                    return out

                stack.callback(module.register_forward_hook(take).remove)
        logits: Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1]
    return logits.log_softmax(-1)


def standardised(rows: Tensor) -> Tensor:
    return (rows - rows.mean(-1, keepdim=True)) / rows.std(-1, keepdim=True)


def _score(
    trace: vw.Trace,
    name: str,
    lens: Lens,
    parts: Sequence[Part],
    falls: Tensor,
    scores: dict[tuple[str, str, int], list[float]],
    correlations: dict[tuple[str, str], list[float]],
    distinct: dict[tuple[str, str], list[float]],
) -> None:
    here = lens.at(trace, -1)
    vectors = torch.stack([p.vector for p in parts])
    where = {"layer": [p.layer for p in parts], "site": [p.kind for p in parts]}
    named = here.project(vectors, N_NAMED, probabilities=False, **where).top_ids
    if name == "shuffled":
        groups: dict[str, list[int]] = {}
        for n, part in enumerate(parts):
            groups.setdefault(part.kind, []).append(n)
        named = named.clone()
        for numbers in groups.values():
            other = numbers.copy()
            random.Random(0).shuffle(other)
            named[numbers] = named[other]
    found = falls.gather(-1, named).mean(-1).tolist()
    for part, score in zip(parts, found, strict=True):
        scores.setdefault((name, part.kind, part.layer), []).append(score)
    for kind in ("attention", "mlp"):
        rows = [n for n, p in enumerate(parts) if p.kind == kind]
        labels = named[rows, 0].tolist()
        distinct.setdefault((name, kind), []).append(len(set(labels)) / len(labels))
        if name not in ("local", "shuffled"):
            order = here.project(
                vectors[rows], trace.n_vocab, probabilities=False,
                layer=[parts[n].layer for n in rows], site=kind,
            ).top_ids  # fmt: skip
            ranks = torch.empty(order.shape, dtype=torch.double)
            ranks.scatter_(1, order, -torch.arange(order.shape[1]).double().expand(order.shape))
            theirs = falls[rows].argsort(-1).argsort(-1).double()
            rho = (standardised(ranks) * standardised(theirs)).mean(-1)
            correlations.setdefault((name, kind), []).append(float(rho.mean()))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _over(
    scores: dict[tuple[str, str, int], list[float]], name: str, kinds: Sequence[str],
    layers: range,
) -> str:  # fmt: skip
    return f"{_mean([v for k in kinds for n in layers for v in scores[name, k, n]]):.2f}"


def _by_depth(
    scores: dict[tuple[str, str, int], list[float]],
    correlations: dict[tuple[str, str], list[float]],
    distinct: dict[tuple[str, str], list[float]],
    lenses: dict[str, Lens],
) -> Table:
    n_layers = 1 + max(layer for _, _, layer in scores)
    thirds = [range(n_layers * k // 3, n_layers * (k + 1) // 3) for k in range(3)]
    spans = [f"{t.start}–{t.stop - 1}" for t in thirds]
    table = Table(
        "Sublayers: the mean fall of the five tokens that a lens names",
        ["lens", *(f"attention {s}" for s in spans), *(f"MLP {s}" for s in spans), "all",
         f"all, {spans[1]}", "rank correlation", "distinct labels"],
    )  # fmt: skip
    both, every = ("attention", "mlp"), range(n_layers)
    for name in lenses:
        rho = [v for k in both for v in correlations.get((name, k), [])]
        row = [_over(scores, name, [kind], third) for kind in both for third in thirds]
        row += [_over(scores, name, both, every), _over(scores, name, both, thirds[1])]
        row += [f"{_mean(rho):.2f}" if rho else "–"]
        row += [f"{_mean([v for k in both for v in distinct[name, k]]):.0%}"]
        table.rows.append([TITLES[name], *row])
    return table


def _by_kind(scores: dict[tuple[str, str, int], list[float]], lenses: dict[str, Lens]) -> Table:
    n_layers = 1 + max(layer for _, _, layer in scores)
    table = Table(
        "Heads and neurons: likewise",
        ["lens", "heads", "heads, middle third", "neurons", "neurons, middle third"],
    )
    every, middle = range(n_layers), range(n_layers // 3, n_layers * 2 // 3)
    for name in lenses:
        cells = [_over(scores, name, [k], s) for k in ("head", "neuron") for s in (every, middle)]
        table.rows.append([TITLES[name], *cells])
    return table
