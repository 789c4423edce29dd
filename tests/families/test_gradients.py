"""How a prediction hangs on the streams, against differences of the model's own passes: in float64,
for families of every make.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import visit_widget as vw
from tests.families.configs import PROMPT, build
from tests.tiny import float64_throughout
from visit_widget.trace.gradients import gradients

# Plain and parallel blocks, post-norms, norms on the stream, shared and grouped keys, biases of
# position, gates, mixtures, masks that depend on the text, mixers in and beside attention's place.
FAMILIES = (
    "llama", "gpt2", "gpt_neox", "gptj", "bloom", "mpt", "falcon", "opt", "gemma2", "gemma3_text",
    "olmo2", "cohere", "openai-gpt", "phi3", "qwen3_next", "granite", "mixtral", "deepseek_v3",
    "gpt_oss", "llama4_text", "gemma4_text", "doge", "bamba", "falcon_h1", "lfm2",
)  # fmt: skip
STEP = 1e-5


def first(value: Any) -> Tensor:
    tensor: Tensor = value[0] if isinstance(value, (tuple, list)) else value
    return tensor


def last_stream(model: Any, blocks: list[nn.Module], layer: int, add: Tensor) -> Tensor:
    """(d_model,) the last stream at the last position, something added after a block there."""
    found: list[Tensor] = []

    def change(_m: Any, _a: Any, out: Any) -> Any:
        stream = first(out).clone()
        stream[..., -1, :] += add
        if isinstance(out, (tuple, list)):
            return type(out)([stream, *out[1:]])
        return stream

    def keep(_m: Any, _a: Any, out: Any) -> None:
        found.append(first(out).reshape(-1, add.numel())[-1].clone())

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
def test_gradients_are_what_differences_say(family):
    random = torch.Generator().manual_seed(3)
    with float64_throughout():
        model = build(family).double().eval()
        trace = vw.trace(model, None, PROMPT)
        directions = torch.randn(3, trace.d_model, generator=random, dtype=torch.float64)
        found = gradients(trace, directions, len(PROMPT) - 1)
        blocks = [part.block for part in trace.anatomy.blocks]
        for layer in range(trace.n_layers - 1):
            way = torch.randn(trace.d_model, generator=random, dtype=torch.float64)
            way *= trace.residual(layer)[-1].norm() / way.norm()
            higher, lower = (
                last_stream(model, blocks, layer, sign * STEP * way) for sign in (1, -1)
            )
            theirs = directions @ (higher - lower) / (2 * STEP)
            for ours in (found.post[layer] @ way, found.pre[layer + 1] @ way):
                assert float((ours - theirs).norm() / theirs.norm()) < 1e-5, layer
