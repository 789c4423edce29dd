"""The influences of a routes graph, against a walk along every single path.

A path leads from the prediction back to an embedding or a constant. By share, length or proximity
it carries the product of what each of its edges is of its whole, and an edge's influence is the sum
over all paths down to it. In logits a path carries a direction until it enters an MLP, and a number
from there on. The vectors are those of `tests.ways`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache

import pytest
from torch import Tensor
from transformers import PreTrainedModel

import visit_widget as vw
from tests.tiny import final_norm_of, float64_throughout, make_model
from tests.ways import Part, Taken, near, reading, take_apart

IDS = [3, 17, 42, 5, 60]
TARGET, FOIL = 11, 30
MODELS = {
    "gpt2": {}, "llama": {"num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 6},
    "llama-wide": {"num_hidden_layers": 2}, "gemma2": {"num_hidden_layers": 2, "sliding_window": 2},
    "phi": {}, "qwen3": {"num_hidden_layers": 2},
}  # fmt: skip
EVERYTHING = vw.Keep(routes={"count": None, "threshold": 0})
MEASURES = ("share", "norm", "proximity")

Influences = dict[tuple[str, str], float]


@cache
def made(family: str) -> tuple[PreTrainedModel, vw.Trace, Taken]:
    model = make_model(family, **MODELS[family])
    with float64_throughout():
        return model, vw.trace(model, None, IDS), take_apart(model, IDS)


@pytest.fixture(params=MODELS)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def sizes(measure: str, parts: Sequence[Tensor], whole: Tensor) -> list[float]:
    """What each part is of the whole; they sum to 1. Where all proximities are 0, lengths count."""
    if measure in ("share", "logit"):
        return [float(p @ whole / (whole @ whole)) for p in parts]
    of = [near(p, whole) for p in parts]
    if measure == "norm" or not any(of):
        of = [float(p.norm()) for p in parts]
    return [value / (sum(of) or 1) for value in of]


class Paths:
    """Every path from a stream.

    Attributes:
        found: {edge: influence}.
    """

    def __init__(self, taken: Taken, measure: str) -> None:
        self.taken: Taken = taken
        self.found: Counter[tuple[str, str]] = Counter()
        self._of_whole = {
            name: sizes(measure, [p.vector for p in parts], taken.wholes[name])
            for name, parts in taken.parts.items()
        }
        self._of_value = {
            p.node: sizes(measure, [p.vector - p.constant, p.constant], p.vector)
            for parts in taken.parts.values()
            for p in parts
            if p.made_of is not None and p.through is not None
        }

    def carry(self, stream: str, carried: float) -> None:
        """Follow what is carried as a number."""
        parts = self.taken.parts.get(stream, [])
        for part, size in zip(parts, self._of_whole.get(stream, []), strict=True):
            own = carried * size
            self.found[part.node, stream] += own
            if part.made_of is None:
                continue
            if part.node == part.made_of:
                self.carry(part.made_of, own)
            elif part.through is None:
                self.found[part.made_of, part.node] += own
                self.carry(part.made_of, own)
            else:
                read = self._of_value[part.node][0]
                self._constant(part, own - own * read)
                self.found[part.made_of, part.node] += own * read
                self.carry(part.made_of, own * read)

    def read(self, stream: str, direction: Tensor) -> None:
        """Follow what is carried as a direction, a number from an MLP on."""
        for part in self.taken.parts.get(stream, []):
            own = float(part.vector @ direction)
            self.found[part.node, stream] += own
            if part.made_of is None:
                continue
            if part.node == part.made_of:
                self.read(part.made_of, direction)
            elif part.through is None:
                self.found[part.made_of, part.node] += own
                self.carry(part.made_of, own)
            else:
                constant = float(part.constant @ direction)
                self._constant(part, constant)
                self.found[part.made_of, part.node] += own - constant
                self.read(part.made_of, part.through @ direction)

    def _constant(self, part: Part, influence: float) -> None:
        if bool(part.constant.any()):
            self.found[f"{part.node}.bias", part.node] += influence


def edges_of(family: str, measure: str, position: int, foil: int | None) -> Influences:
    """{(source, target): influence} of the graph."""
    with float64_throughout():
        graph = made(family)[1].routes(position, TARGET, foil, measure, EVERYTHING)
    return {(e.source, e.target): e.influence for e in graph.edges}


def constants(model: PreTrainedModel, target: int, foil: int | None) -> dict[str, float]:
    """What is added to the logit after the last stream, by node."""
    head, norm = model.get_output_embeddings(), final_norm_of(model)

    def difference(values: Tensor) -> Tensor:
        return values[target] - (0 if foil is None else values[foil])

    found = {}
    if getattr(norm, "bias", None) is not None:
        found["norm.bias"] = float(difference(head.weight.detach()) @ norm.bias.detach())
    if head.bias is not None:
        found["logits.bias"] = float(difference(head.bias.detach()))
    return found


@pytest.mark.parametrize("measure", MEASURES)
def test_influence_is_the_sum_over_all_paths(family, measure):
    model, _, taken = made(family)
    paths = Paths(taken, measure)
    paths.carry(taken.final[-1], 1.0)
    expected = {**paths.found, (taken.final[-1], "logits"): 1.0}
    expected |= dict.fromkeys(((c, "logits") for c in constants(model, TARGET, None)), 0.0)
    assert edges_of(family, measure, -1, None) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("position", "foil"), [(-1, None), (3, FOIL)])
def test_in_logits_it_is_what_paths_read_and_what_comes_through_mlps(family, position, foil):
    model, _, taken = made(family)
    name = taken.final[position]
    direction = reading(model, taken.wholes[name], TARGET, foil)
    paths = Paths(taken, "logit")
    paths.read(name, direction)
    expected = {**paths.found, (name, "logits"): float(taken.wholes[name] @ direction)}
    for constant, influence in constants(model, TARGET, foil).items():
        expected[constant, "logits"] = influence
    assert edges_of(family, "logit", position, foil) == pytest.approx(expected, abs=1e-9)


def test_what_comes_through_mlps_matters(family):
    """Else the rule for MLPs would not have been tested."""
    model, _, taken = made(family)
    direction = reading(model, taken.wholes[taken.final[-1]], TARGET, None)
    every, without = Paths(taken, "logit"), Paths(taken, "logit")
    every.read(taken.final[-1], direction)
    without.carry = lambda stream, carried: None
    without.read(taken.final[-1], direction)
    assert any(
        abs(value - without.found[edge]) > 0.01 * abs(value) for edge, value in every.found.items()
    )
