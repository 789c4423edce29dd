"""A few families in whatever version of `transformers` is installed: `make test-oldest` runs them
in the oldest one, where `sweep.py`, which is for all families, does not run.
"""

from __future__ import annotations

import pytest
import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import visit_widget as vw
from tests.families.configs import PROMPT, build

FAMILIES = (
    "gpt2", "llama", "gemma2", "qwen2", "qwen3", "mixtral", "qwen2_moe", "gptj", "bloom", "opt",
    "olmo2", "phi", "falcon", "cohere", "deepseek_v3", "gpt_neox", "mistral", "gpt_oss",
)  # fmt: skip


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_traced_exactly(family: str, implementation: str):
    if family not in CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {family}")
    if implementation == "sdpa" and family == "gemma2":
        pytest.skip("gemma2 has its softcap in eager attention only")
    try:
        model = build(family, torch.float32, implementation=implementation)
    except ValueError as error:
        if "does not support an attention implementation" not in str(error):
            raise
        pytest.skip(f"{family} has no {implementation} attention")
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
