"""What docs/models.md shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import visit_widget as vw
from tests.tiny import PROMPT_IDS, blocks_of, final_norm_of, make_model

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")


def _example(starts_with: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    return next(block for block in blocks if block.startswith(starts_with))


def test_the_anatomy_by_hand_of_the_page_is_exact():
    scope = {
        "vw": vw, "model": make_model("gpt2"), "tokenizer": None, "prompt": PROMPT_IDS,
    }  # fmt: skip
    exec(_example("from visit_widget import Anatomy"), scope)
    trace = scope["trace"]
    assert trace.anatomy is scope["anatomy"]
    found = vw.trace(scope["model"], None, PROMPT_IDS)
    assert trace.logit_parts(5, by="neuron") == found.logit_parts(5, by="neuron")


def _gemma2_by_hand(model, **join) -> vw.Anatomy:
    blocks = tuple(
        vw.BlockAnatomy(
            block=b.block,
            attention=b.attention,
            output_projection=b.out,
            mlp=b.mlp,
            down_projection=b.down,
            attention_norm=b.before_attention,
            mlp_norm=b.before_mlp,
            attention_join=vw.Join(post_norm=b.after_attention, **join),
            mlp_join=vw.Join(post_norm=b.after_mlp),
            d_mlp=20,
        )
        for b in blocks_of(model)
    )
    return vw.Anatomy(
        blocks=blocks,
        final_norm=final_norm_of(model),
        unembedding=model.lm_head,
        d_model=24,
        n_vocab=61,
        softcap=model.config.final_logit_softcapping,
    )


def test_joins_by_hand_are_exact_and_wrong_ones_are_seen():
    model = make_model("gemma2")
    right = vw.trace(model, None, PROMPT_IDS, anatomy=_gemma2_by_hand(model))
    assert right.audit().exact, str(right.audit())
    wrong = vw.trace(model, None, PROMPT_IDS, anatomy=_gemma2_by_hand(model, scale=0.9))
    audit = wrong.audit()
    assert not audit.exact
    assert audit.errors["mid = pre + attention, post = mid + MLP"] > 1e-3
    with pytest.raises(vw.UnsupportedModelError, match="does not sum to it"):
        wrong.flow()


def test_every_kind_of_join_of_the_page_can_be_made():
    block = torch.nn.Module()
    block.post_attention_layernorm, block.ln_1 = torch.nn.LayerNorm(4), torch.nn.LayerNorm(4)
    exec(_example("from visit_widget import Join"), {"block": block})
