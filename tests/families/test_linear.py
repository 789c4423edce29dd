"""The linear reading of an MLP against the formulas of its family, written out with what is held:
plain and gated neurons, mixtures of experts, offsets and clamps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import visit_widget as vw
from tests.families.configs import PROMPT, build
from tests.families.independent import frozen
from tests.families.sweep import quiet
from tests.tiny import float64_throughout
from visit_widget.trace.linear_reading import LinearMlp

# A module's linear map with what is held at the input that it is made for.
Map = Callable[[Tensor], Tensor]


def plain(first: Any, act: Any, last: Any, x: Tensor) -> Map:
    """z ↦ φ(z₀) / z₀ · z between two projections."""
    z = first(x).detach()
    secant = act(z) / z
    return lambda x: last(secant * first(x))


def gated(gate: Any, up: Any, act: Any, last: Any, x: Tensor) -> Map:
    """½ (φ(g₀) / g₀ · u₀) · g + ½ φ(g₀) · u."""
    g, u = gate(x).detach(), up(x).detach()
    acted = act(g)
    return lambda x: last((acted / g * u * gate(x) + acted * up(x)) / 2)


def gated_module(m: Any, x: Tensor) -> Map:
    return gated(m.gate_proj, m.up_proj, m.act_fn, m.down_proj, x)


def fused(m: Any, x: Tensor) -> Map:
    """Gate and up in one projection."""
    halves = [lambda x, n=n: m.gate_up_proj(x).chunk(2, -1)[n] for n in (0, 1)]
    act = m.activation_fn
    return gated(*halves, act, m.down_proj, x)


def experts(m: Any, weights: Tensor, chosen: Tensor, x: Tensor) -> Map:
    """Σ over the chosen of weight · gated expert, weights and choice held; token by token."""
    linear = nn.functional.linear
    maps: list[list[tuple[Tensor, Map]]] = []
    for row, (some, ids) in enumerate(zip(weights, chosen, strict=True)):
        own = []
        for weight, e in zip(some, ids.tolist(), strict=True):
            w_gate, w_up = m.gate_up_proj[e].chunk(2, 0)
            own.append((weight, gated(
                lambda x, w=w_gate: linear(x, w), lambda x, w=w_up: linear(x, w), m.act_fn,
                lambda a, e=e: linear(a, m.down_proj[e]), x[row],
            )))  # fmt: skip
        maps.append(own)
    return lambda x: torch.stack(
        [sum(w * f(x[row]) for w, f in own) for row, own in enumerate(maps)]
    )


def mixtral(m: Any, x: Tensor) -> Map:
    _, weights, chosen = m.gate(x)
    return experts(m.experts, weights.detach(), chosen, x)


def qwen2_moe(m: Any, x: Tensor) -> Map:
    if not hasattr(m, "experts"):
        return gated_module(m, x)
    routed, shared = mixtral(m, x), gated_module(m.shared_expert, x)
    weight = torch.sigmoid(m.shared_expert_gate(x)).detach()
    return lambda x: routed(x) + weight * shared(x)


def deepseek_v3(m: Any, x: Tensor) -> Map:
    if not hasattr(m, "experts"):
        return gated_module(m, x)
    _, weights, chosen = m.gate(x[None])
    routed = experts(m.experts, weights.detach(), chosen, x)
    shared = gated_module(m.shared_experts, x)
    return lambda x: routed(x) + shared(x)


def gpt_oss(m: Any, x: Tensor) -> Map:
    """(up + 1) · gate · σ(α gate), both clamped: the 1 multiplies the other branch whole."""
    _, weights, chosen = m.router(x)
    m = m.experts
    maps: list[list[tuple[Tensor, Map]]] = []

    def both(x: Tensor, e: int) -> tuple[Tensor, Tensor]:
        made = x @ m.gate_up_proj[e] + m.gate_up_proj_bias[e]
        return made[..., ::2], made[..., 1::2]

    def expert(x: Tensor, e: int) -> Map:
        g, u = (t.detach() for t in both(x, e))
        g_cut, u_cut = g.clamp(max=m.limit), u.clamp(-m.limit, m.limit)
        acted = g_cut * torch.sigmoid(g_cut * m.alpha)

        def follow(x: Tensor) -> Tensor:
            gate, up = both(x, e)
            neurons = acted / g * gate * (u_cut / 2 + 1) + acted * (u_cut / u * up) / 2
            return neurons @ m.down_proj[e] + m.down_proj_bias[e]

        return follow

    for row, (some, ids) in enumerate(zip(weights.detach(), chosen.tolist(), strict=True)):
        maps.append([(w, expert(x[row], e)) for w, e in zip(some, ids, strict=True)])
    return lambda x: torch.stack(
        [sum(w * f(x[row]) for w, f in own) for row, own in enumerate(maps)]
    )


def modules(*names: str) -> Callable[[Any, Tensor], Map]:
    return lambda m, x: plain(*(getattr(m, name) for name in names), x)


FORMULAS: dict[str, Callable[[Any, Tensor], Map]] = {
    "gpt2": modules("c_fc", "act", "c_proj"),
    "gpt_neox": modules("dense_h_to_4h", "act", "dense_4h_to_h"),
    "gptj": modules("fc_in", "act", "fc_out"),
    "gpt_neo": modules("c_fc", "act", "c_proj"),
    "falcon": modules("dense_h_to_4h", "act", "dense_4h_to_h"),
    "phi": modules("fc1", "activation_fn", "fc2"),
    "starcoder2": modules("c_fc", "act", "c_proj"),
    "nemotron": modules("up_proj", "act_fn", "down_proj"),
    "llama": gated_module,
    "qwen2": gated_module,
    "stablelm": gated_module,
    "cohere": gated_module,
    "phi3": fused,
    "mixtral": mixtral,
    "qwen2_moe": qwen2_moe,
    "deepseek_v3": deepseek_v3,
    "gpt_oss": gpt_oss,
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("family", FORMULAS)
def test_a_direction_comes_back_as_the_familys_formula_says(family, seed):
    with float64_throughout():
        with quiet():
            model = build(family, torch.float64, seed)
        trace = vw.trace(model, None, PROMPT)
        random = torch.Generator().manual_seed(seed)
        for layer, part in enumerate(trace.anatomy.blocks):
            read: list[Tensor] = []
            handle = part.mlp.register_forward_pre_hook(lambda _m, a, r=read: r.append(a[0]))
            with torch.no_grad():
                model(torch.tensor([PROMPT]), use_cache=False)
            handle.remove()
            x = read[0].reshape(len(PROMPT), -1).detach().requires_grad_()
            held = FORMULAS[family](part.mlp, x.detach())
            written = held(x)
            theirs = part.mlp(x.detach()[None])
            theirs = theirs[0] if isinstance(theirs, tuple) else theirs
            assert torch.allclose(written, theirs.view_as(written), atol=1e-9)

            directions = torch.randn(x.shape, generator=random, dtype=torch.float64)
            (at_input,) = torch.autograd.grad((written * directions).sum(), x)
            ours = LinearMlp(trace, layer, range(len(PROMPT)))
            assert torch.allclose(ours.added, written.detach(), atol=1e-9)
            back = ours.pull_back(directions)
            assert back is not None
            norm, fixed = part.mlp_norm, torch.zeros_like(x)
            if norm is not None and getattr(norm, "bias", None) is not None:
                fixed = fixed + norm.bias.detach()
            assert torch.allclose(ours.constants, held(fixed).detach(), atol=1e-9)
            for row in range(len(PROMPT)):
                step = torch.randn(x.shape[1], generator=random, dtype=torch.float64)
                stream = ours.before[row]
                inside = step if norm is None else frozen(norm, stream, step)
                expected = float(at_input[row] @ inside)
                assert float(back[row] @ step) == pytest.approx(expected, abs=1e-9)
