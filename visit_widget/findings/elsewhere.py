"""What a head or a neuron does in other prompts, and which show it best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..model import VisitError
from ..trace import Trace
from ..trace.target import followed
from ..what_if.actions import action_of
from ..what_if.parts import part_of
from ..what_if.variants import Variants
from .effects import contrasted
from .reading import top_tokens
from .results import Row

KINDS = ("head", "neuron")


def part_at_work(
    trace: Trace, answer: int | None = None, part: str = "L0.H0", n_tokens: int = 5
) -> list[Row]:
    """What one head or neuron does in a prompt, at the last position.

        effect = m(as it is) − m(without the part)

    with m the right answer's logit (the model's first choice's, where no answer is known) less that
    of what the model finds most likely besides.

    Args:
        trace: of a prompt.
        answer: token id of the right answer, where there is one.
        part: its id: "L23.H4", "L12.N300".
        n_tokens: how many of the tokens that it says are named.

    Returns:
        One row: `part`, `effect`, `target` and `foil` (the two tokens), `says` (what it writes, by
        the logit lens); of heads `source`, `token` and `attention` (the token that it looks at
        most), of neurons `activation`.

    Raises:
        VisitError: it is no head and no neuron.
    """
    found = part_of(trace, part)
    if found.kind not in KINDS:
        raise VisitError(f"{part!r} is no head and no neuron: ask with 'L3.H4' or 'L3.N919'.")
    layer, told = found.layer, contrasted(trace, answer)
    # Measured alone: what is foretold takes a pass back through the model.
    measured = Variants(trace, action_of(trace, "zero"), len(trace) - 1).losses(
        [found], [len(trace) - 1], [followed(trace, token) for token in told]
    )[0]
    row: Row = {"part": part, "effect": float(measured[0] - measured[1])}
    row["target"], row["foil"] = trace.texts(told)
    if found.kind == "head":
        (head,) = found.heads
        weights = trace.attention(layer)[head]
        source = int(weights.argmax())
        row |= {"source": source, "token": trace.tokens[source]}
        row["attention"] = float(weights[source])
        written = trace.head_outputs(layer)[head]
    else:
        fires = trace.mlp_row(layer, -1)
        # A neuron of an expert that was not chosen is not among them.
        index = fires.index
        here = [found.number] if index is None else (index == found.number).nonzero()[:, 0].tolist()
        row["activation"] = float(fires.activations[here].sum())
        written = fires.outlet.to_stream(fires.activations[here] @ fires.matrix[here])
    row["says"] = trace.texts(top_tokens(trace, written[None], n_tokens)[0].tolist())
    return [row]


def most_telling(rows: Iterable[Mapping[str, Any]], n: int = 5) -> list[Row]:
    """The rows of the prompts in which a part's effect is largest, largest first.

    Args:
        rows: of `part_at_work`, or of `part_effects` of one part.
        n: how many.
    """

    def size(row: Mapping[str, Any]) -> float:
        return abs(float(row["effect"] if "effect" in row else row["measured"]))

    return [dict(row) for row in sorted(rows, key=size, reverse=True)[:n]]
