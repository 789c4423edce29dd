"""How the final prediction, and the right answer, come up through the layers."""

from __future__ import annotations

import torch

from ..trace import Trace
from .reading import logit_lens, target_of
from .results import Row


def prediction_by_layer(trace: Trace, answer: int | None = None, position: int = -1) -> list[Row]:
    """The probability and rank that the stream gives, layer by layer, to what the model says in
    the end, and to the right answer.

        p(t | x) = softmax(LL x)[t]

    Source: Katz & Belinkov (2023), arXiv 2305.13417; the reading is the logit lens of
    nostalgebraist (2020).

    Args:
        trace: of a prompt.
        answer: token id of the right answer, where there is one.
        position: where.

    Returns:
        A row for each place in the stream: `layer`, `at` ("pre" of layer 0 alone, "mid", "post"),
        `probability` and `rank` of the prediction, `answer_probability` and `answer_rank`, None
        without an answer.
    """
    places = [(0, "pre", trace.residual(0, "pre")[position])]
    for layer, part in enumerate(trace.anatomy.blocks):
        if part.mlp is not None and part.attention is not None:
            places.append((layer, "mid", trace.mid(layer, position)))
        places.append((layer, "post", trace.residual(layer)[position]))
    asked = [target_of(trace, position), *([] if answer is None else [answer])]
    vectors = torch.stack([vector for _, _, vector in places])
    read = logit_lens(trace).project(vectors, 1, targets=asked)
    chances, ranks = read.target_probabilities.tolist(), read.target_ranks.tolist()
    rows: list[Row] = []
    for n, (layer, at, _) in enumerate(places):
        theirs = (None, None) if answer is None else (chances[n][1], ranks[n][1])
        rows.append(
            {"layer": layer, "at": at, "probability": chances[n][0], "rank": ranks[n][0],
             "answer_probability": theirs[0], "answer_rank": theirs[1]}
        )  # fmt: skip
    return rows
