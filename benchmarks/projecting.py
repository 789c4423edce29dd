"""The lens over the bare matrix product of the same size."""

from __future__ import annotations

import torch

import visit_widget as vw

from .report import Table
from .setting import Setting
from .timing import race

N_VECTORS = 3000
N_TARGETS = 2
PRODUCT = "matrix product"


def bench(setting: Setting) -> list[Table]:
    model = setting.model
    lens = vw.LogitLens(model)
    trace = vw.trace(model, setting.tokenizer, setting.prompt(100))
    vectors = torch.cat([trace.residual(layer) for layer in range(trace.n_layers)])[:N_VECTORS]
    matrix = lens.anatomy.unembedding.weight.detach().T
    at_once = max(1, lens.memory // (2 * lens.n_vocab * vectors.element_size()))
    out = torch.empty(at_once, lens.n_vocab)

    def product() -> None:
        for chunk in vectors.split(at_once):
            torch.mm(chunk, matrix, out=out[: len(chunk)])

    targets = list(range(N_TARGETS))
    everything = f"{len(vectors):,} vectors: top 10, bottom 10, {N_TARGETS} targets with ranks"
    top = f"{len(vectors):,} vectors: top 5"
    labels = f"{len(vectors):,} vectors: top 5 without probabilities, as labels need"
    result = race(
        {
            PRODUCT: product,
            everything: lambda: lens.project(vectors, 10, 10, targets),
            top: lambda: lens.project(vectors, 5),
            labels: lambda: lens.project(vectors, 5, probabilities=False),
        },
        setting.rounds(7),
        warm_ups=1,
    )
    table = Table("The lens")
    table.compare(result, everything, PRODUCT)
    table.compare(result, top, PRODUCT)
    table.compare(result, labels, PRODUCT)
    table.notes.append(
        f"The product is of ({len(vectors):,}, {lens.d_model}) and "
        f"({lens.d_model}, {lens.n_vocab:,}), in chunks, into memory that is there; the lens "
        "goes through the vocabulary a slab at a time."
    )
    return [table]
