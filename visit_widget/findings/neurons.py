"""Neurons that are active whatever is read.

Katz & Belinkov (2023, arXiv 2305.13417) find that a few neurons of some layers are among the most
activated in nearly every prompt, and take what they write for regularisation: long vectors that
project to function words and rare tokens, with a few outliers among their weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..model import VisitError
from ..model.precision import wide
from ..trace import Trace
from .reading import K, logit_lens
from .results import Row
from .words import share_of_function_words

N_MOST = 100
SHARE = 0.85
# Of all other neurons of a layer so many stand for the rest.
N_AVERAGE = 256
# Weights this many standard deviations from the mean of their vector are outliers.
OUTLIER = 6.0


def top_neurons(trace: Trace, n: int = N_MOST, position: int = -1) -> list[Row]:
    """The most activated neurons of each layer, by |a|.

    Source: Katz & Belinkov (2023), arXiv 2305.13417.

    Args:
        trace: of a prompt.
        n: how many of each layer.
        position: where.

    Returns:
        A row for each layer with an MLP: `layer`, `n_neurons` of the layer, `neurons` (their
        numbers, the most activated first), `activations`.
    """
    rows: list[Row] = []
    for layer, part in enumerate(trace.anatomy.blocks):
        if part.mlp is None:
            continue
        found = trace.mlp_row(layer, position)
        most = found.activations.abs().topk(min(n, len(found.activations))).indices
        rows.append(
            {
                "layer": layer,
                "n_neurons": part.d_mlp,
                "neurons": [found.number(i) for i in most.tolist()],
                "activations": found.activations[most].tolist(),
            }
        )
    return rows


def regularisation_neurons(
    rows: Iterable[Mapping[str, object]], trace: Trace, share: float = SHARE, k: int = K,
    n_average: int = N_AVERAGE,
) -> list[Row]:  # fmt: skip
    """The neurons that are among the most activated in nearly every prompt, and what sets them
    apart from the rest of their layer.

        H = −Σ_t p(t) log p(t)        p = softmax(LL(± value))

    with the sign that the neuron's activation has on average. The entropy is in nats; a weight is
    an outlier where it is more than six standard deviations from the mean of its vector.

    Source: Katz & Belinkov (2023), arXiv 2305.13417 (the share, the norm and the entropy).

    Args:
        rows: of `top_neurons`, over many prompts.
        trace: of any prompt of the model, for its weights.
        share: of the prompts in which a neuron has to be among the most activated.
        k: how many tokens of its projection are looked at.
        n_average: neurons of each layer, drawn at random, that stand for all.

    Returns:
        A row for each such neuron, and one for each layer with one with `neuron` None, which has
        the averages over the layer: `layer`, `neuron`, `frequency` (of 1), `activation` (mean where
        it is among the most activated), `norm` of the value, `entropy`, `function_words` (share of
        the k most likely tokens), `outliers` (number of weights), `largest` (the largest weight, in
        standard deviations), `tokens` (the five most likely).

    Raises:
        VisitError: there are no rows.
    """
    counts: dict[int, Counter[int]] = {}
    sums: dict[tuple[int, int], float] = {}
    prompts: dict[int, int] = Counter()
    for row in rows:
        layer = int(row["layer"])  # type: ignore[call-overload]
        prompts[layer] += 1
        neurons: list[int] = row["neurons"]  # type: ignore[assignment]
        activations: list[float] = row["activations"]  # type: ignore[assignment]
        counts.setdefault(layer, Counter()).update(neurons)
        for neuron, activation in zip(neurons, activations, strict=True):
            sums[layer, neuron] = sums.get((layer, neuron), 0.0) + activation
    if not counts:
        raise VisitError("There are no rows: pass those of top_neurons, study['top_neurons'].")
    found: list[Row] = []
    for layer, count in sorted(counts.items()):
        often = sorted(n for n, c in count.items() if c > share * prompts[layer])
        if often:
            means = torch.tensor([sums[layer, n] / count[n] for n in often], dtype=torch.float64)
            frequencies = [count[n] / prompts[layer] for n in often]
            found += _of_layer(trace, layer, often, frequencies, means, k, n_average)
    return found


def _of_layer(
    trace: Trace, layer: int, often: list[int], frequencies: list[float], means: Tensor, k: int,
    n_average: int,
) -> list[Row]:  # fmt: skip
    values = trace.neuron_values(layer)
    generator = torch.Generator().manual_seed(layer)
    some = torch.randperm(len(values), generator=generator)[:n_average].to(values.device)
    signs = torch.where(means < 0, -1.0, 1.0).to(values)
    mine = _described(trace, values[often] * signs[:, None], layer, k)
    rest = _described(trace, values[some], layer, k)
    rows: list[Row] = [
        {"layer": layer, "neuron": neuron, "frequency": frequency, "activation": mean, **about}
        for neuron, frequency, mean, about in zip(
            often, frequencies, means.tolist(), mine, strict=True
        )
    ]
    average: Row = {"layer": layer, "neuron": None, "frequency": None, "activation": None}
    for name in ("norm", "entropy", "function_words", "outliers", "largest"):
        numbers = [row[name] for row in rest if row[name] is not None]
        average[name] = sum(numbers) / len(numbers) if numbers else None
    return [*rows, {**average, "tokens": []}]


def _described(trace: Trace, vectors: Tensor, layer: int, k: int) -> list[Row]:
    lens, rows = logit_lens(trace), list[Row]()
    for chunk in vectors.split(64):
        logged = wide(lens.logits(chunk, layer=layer, site="neuron")).log_softmax(-1)
        entropies = -(logged.exp() * logged).sum(-1)
        tops = logged.topk(min(k, logged.shape[-1])).indices.tolist()
        spread = wide(chunk)
        scores = (spread - spread.mean(-1, keepdim=True)) / spread.std(-1, keepdim=True)
        for n, vector in enumerate(chunk):
            rows.append(
                {
                    "norm": float(vector.norm()),
                    "entropy": float(entropies[n]),
                    "function_words": share_of_function_words(trace.tokenizer, tops[n]),
                    "outliers": int((scores[n].abs() > OUTLIER).sum()),
                    "largest": float(scores[n].abs().max()),
                    "tokens": trace.texts(tops[n][:5]),
                }
            )
    return rows
