"""A few families in whatever version of `transformers` is installed: `make test-oldest` runs them in
the oldest one. What `configs.py` and `sweep.py` do for all families needs the newest.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import visit_widget as vw
from tests.families import tables

PROMPT = [3, 17, 42, 5, 17, 60, 9]
FAMILIES = (
    "gpt2", "llama", "gemma2", "qwen2", "qwen3", "mixtral", "qwen2_moe", "gptj", "bloom", "opt", "olmo2",
    "phi", "falcon", "cohere", "deepseek_v3", "gpt_neox", "mistral", "gpt_oss",
)  # fmt: skip
# Gemma 2 caps its scores softly in eager attention only.
EAGER = {"gemma2"}


def build(family: str, implementation: str) -> PreTrainedModel:
    if family not in CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {family}")
    cls = CONFIG_MAPPING[family]
    declared = inspect.signature(cls).parameters
    sizes = {**tables.SIZES, **(tables.LATENT if "qk_rope_head_dim" in declared else {})}
    options = {name: value for name, value in sizes.items() if name in declared}
    config = cls(**{**options, **tables.FAMILIES.get(family, {})})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = AutoModelForCausalLM.from_config(config, attn_implementation=implementation)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim < 2:  # biases and gains
                    weight += 0.4 * torch.randn_like(weight)
                elif weight.shape[0] != config.vocab_size:
                    weight.copy_(torch.randn_like(weight) * 1.3 / weight.shape[-1] ** 0.5)
    return model.eval()


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_traced_exactly(family: str, implementation: str):
    if implementation == "sdpa" and family in EAGER:
        pytest.skip(f"{family} runs in eager attention only")
    try:
        model = build(family, implementation)
    except ValueError as error:
        if "does not support an attention implementation" not in str(error):
            raise
        pytest.skip(f"{family} knows no {implementation} attention here")
    trace = vw.trace(model, None, PROMPT)
    for position in (-1, 3):
        assert trace.audit(position).max_error <= 1e-4
    trace.flow(layers=range(trace.n_layers))
    if implementation == "eager":
        with torch.no_grad():
            output = model(torch.tensor([PROMPT]), use_cache=False, output_attentions=True)
        for layer, weights in enumerate(output.attentions):
            ours = trace.attention(layer, -1)
            torch.testing.assert_close(ours, weights[0, :, -1, : len(PROMPT)], rtol=1e-4, atol=1e-5)
