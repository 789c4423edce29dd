"""Effects through families of every make: against differences of the model's own passes, and every
sum of what is drawn.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import visit_widget as vw
from tests.families.configs import PROMPT, build
from tests.families.test_gradients import FAMILIES, STEP, first
from tests.tiny import float64_throughout
from tests.whole import assert_sum
from visit_widget.trace.effect import effects_everywhere
from visit_widget.trace.logit import logit_value
from visit_widget.trace.target import followed

TARGET, FOIL = 11, 30
LAST = len(PROMPT) - 1


def last_streams(model: Any, blocks: list[nn.Module], layer: int, add: Tensor) -> Tensor:
    """(d_model,) the last stream at the last position, (T, d_model) added after a block."""
    found: list[Tensor] = []

    def change(_m: Any, _a: Any, out: Any) -> Any:
        stream = first(out) + add
        return type(out)([stream, *out[1:]]) if isinstance(out, (tuple, list)) else stream

    def keep(_m: Any, _a: Any, out: Any) -> None:
        found.append(first(out).reshape(-1, add.shape[-1])[-1].clone())

    hooks = [
        blocks[layer].register_forward_hook(change), blocks[-1].register_forward_hook(keep),
    ]  # fmt: skip
    try:
        with torch.no_grad():
            model(input_ids=torch.tensor([PROMPT]), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return found[-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_effects_are_what_differences_say(family):
    """Of a little less of the streams at every position, and of the sums that are drawn."""
    random = torch.Generator().manual_seed(5)
    with float64_throughout():
        model = build(family).double().eval()
        trace = vw.trace(model, None, PROMPT)
        blocks = [part.block for part in trace.anatomy.blocks]
        target, foil = followed(trace, TARGET), followed(trace, FOIL)
        ours = effects_everywhere(trace, target, foil, LAST)
        for layer in range(trace.n_layers - 1):
            stream = trace.residual(layer)
            part = torch.randn(*stream.shape, generator=random, dtype=torch.float64)
            part *= stream.norm(dim=-1, keepdim=True) / part.norm(dim=-1, keepdim=True)
            values = []
            for sign in (1, -1):
                last = last_streams(model, blocks, layer, sign * STEP * part)
                values.append(value_of(trace, last))
            theirs = (values[0] - values[1]) / (2 * STEP)
            found = ours.at(layer, "post", range(len(PROMPT)))
            effects = (found * part).sum(-1)
            assert float(effects.sum()) == pytest.approx(theirs, rel=1e-5, abs=1e-6), layer
            # Later layers of some take keys and values from earlier ones.
            assert layer or float(effects[:LAST].abs().max()) > 0
        layers = range(trace.n_layers)
        graph = trace.flow(-1, TARGET, FOIL, layers, vw.Keep(heads=2, neurons=3), "effect")
        assert_whole(graph)
        for layer in range(trace.n_layers):
            whole = trace.residual(layer)[LAST]
            expected = float(whole @ ours.at(layer, "post", [LAST])[0])
            assert graph.node(f"L{layer}.post").effect == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frugal_pass_gives_the_same(family):
    trace = vw.trace(build(family).eval(), None, PROMPT)
    target = followed(trace, TARGET)
    ours, theirs = (
        effects_everywhere(trace, target, None, LAST, frugal).streams for frugal in (True, False)
    )
    for place, found in ours.items():
        off = (found - theirs[place]).norm() / theirs[place].norm().clamp_min(1e-30)
        assert float(off) < 1e-5, place


def value_of(trace: vw.Trace, last: Tensor) -> float:
    """What the target's logit minus the foil's is of a last stream."""
    kept = trace.record.final[LAST].clone()
    try:
        trace.record.final[LAST] = last
        return logit_value(trace, TARGET, LAST) - logit_value(trace, FOIL, LAST)
    finally:
        trace.record.final[LAST] = kept


def assert_whole(graph: Any) -> None:
    into: dict[str, list[float]] = {}
    for edge in graph.edges:
        if edge.logit is not None:
            into.setdefault(edge.target, []).append(edge.effect)
    for name, effects in into.items():
        assert_sum(effects, graph.node(name).effect, 1e-8, name)
