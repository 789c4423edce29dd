"""Generation in many families: the passes that said each token are those that full traces take."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

import visit_widget as vw
from tests.families.configs import PROMPT, build
from tests.same import off_by
from tests.tiny import float64_throughout

# Whether the passes are heard as they run.
FAMILIES = {
    "llama": True,
    "gpt2": True,
    "gemma2": True,  # every second layer sees 3 tokens; softcaps
    "gemma3_text": True,
    "mistral": True,  # a window in every layer
    "gpt_oss": True,  # sinks, windows, experts
    "llama4_text": True,  # chunks
    "deepseek_v3": True,  # latent attention, experts
    "mixtral": True,
    "beam": True,  # gated heads, a factor for each position
    "jamba": True,  # states beside attention
    "qwen3_next": True,
    "bloom": False,  # ALiBi
    "mpt": False,
    "falcon": False,
    "gptj": False,
    "gemma4_text": False,  # leaves out rows
}
SAMPLED: dict[str, Any] = {
    "max_new_tokens": 8, "do_sample": True, "pad_token_id": 0, "eos_token_id": None,
}  # fmt: skip


def own(model: PreTrainedModel, ids: list[int], seed: int, **options: Any) -> list[int]:
    """What the model's own generate gives."""
    prompt = torch.tensor([ids])
    torch.manual_seed(seed)
    mask = torch.ones_like(prompt)
    found: list[int] = model.generate(prompt, attention_mask=mask, **options)[0].tolist()
    return found[len(ids) :]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_trace_of_a_generation_is_a_full_one(family):
    with float64_throughout():
        model = build(family)
        said = vw.generate(model, None, PROMPT, seed=3, **SAMPLED)
        assert said.token_ids == own(model, PROMPT, 3, **SAMPLED)
        assert said.notes == ()
        for n in (0, 2, 7):
            trace = said.traces[n]
            assert trace.next_token == said.token_ids[n]
            assert off_by(trace, vw.trace(model, None, [*PROMPT, *said.token_ids[:n]])) < 1e-9
            assert trace.in_steps is FAMILIES[family]
        assert said.traces[7].audit().max_error < 1e-9


@pytest.mark.parametrize("family", ["llama", "gemma2", "deepseek_v3", "bloom", "jamba", "gpt_oss"])
def test_a_branch_is_a_fresh_generation(family):
    with float64_throughout():
        model = build(family, seed=1)
        said = vw.generate(model, None, PROMPT, seed=3, **SAMPLED)
        other = (said.token_ids[3] + 1) % 20
        branch = said.branch(3, other, seed=5)
        before = [*PROMPT, *said.token_ids[:3], other]
        assert branch.token_ids == [
            *said.token_ids[:3],
            other,
            *own(model, before, 5, **{**SAMPLED, "max_new_tokens": 4}),
        ]
        for n in (1, 3, 4, 7):
            fresh = vw.trace(model, None, [*PROMPT, *branch.token_ids[:n]])
            assert off_by(branch.traces[n], fresh) < 1e-9
            assert branch.traces[n].next_token == branch.token_ids[n]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["gemma2", "mistral", "mixtral", "jamba"])
def test_steps_in_half_precision_are_exact_to_their_rounding(family, dtype):
    model = build(family, dtype, weights="fresh")
    said = vw.generate(model, None, PROMPT, seed=3, **SAMPLED)
    assert said.token_ids == own(model, PROMPT, 3, **SAMPLED)
    for n in (0, 3, 7):
        assert said.traces[n].in_steps
        audit = said.traces[n].audit()
        assert audit.exact, audit


# The last chooses each query's sources, ties among them by how many there are.
@pytest.mark.parametrize("family", ["minimax", "nemotron_h", "deepseek_v32"])
def test_whoever_computes_something_else_with_a_cache_gets_full_traces(family):
    with float64_throughout():
        model = build(family)
        said = vw.generate(model, None, PROMPT, seed=3, **SAMPLED)
        assert said.token_ids == own(model, PROMPT, 3, **SAMPLED)
        assert any("with its cache" in note for note in said.notes)
        full = vw.trace(model, None, [*PROMPT, *said.token_ids[:5]])
        assert off_by(said.traces[5], full) < 1e-9
