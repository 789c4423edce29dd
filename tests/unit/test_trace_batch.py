"""Traces of a padded batch are the traces of its prompts, and padding is nowhere in them."""

from __future__ import annotations

import pytest
import torch

import visit_widget as vw
from tests.tiny import float64_throughout, make_model, make_speaker, tokenizer
from visit_widget.trace import trace_batch

PROMPTS = [[3, 17, 42], [5, 17, 60, 0, 9, 11, 2], [8], [1, 2, 3, 4, 5]]
# What is derived through streams, queries and keys, masks, arguments of attention, and norms.
DERIVED = {
    "pre": lambda t, layer: t.residual(layer, "pre"),
    "mid": lambda t, layer: t.residual(layer, "mid"),
    "weights": lambda t, layer: t.attention(layer, 0),
    "head parts": lambda t, layer: t.head_parts(layer),
    "mlp": lambda t, layer: t.mlp_output(layer, 0),
    "query": lambda t, layer: t.query_directions(layer),
    "key": lambda t, layer: t.key_directions(layer, 0),
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "qwen3", "phi"])
def test_a_row_is_the_prompt_alone(family, side):
    with float64_throughout():
        model = make_model(family, seed=3)
        rows = trace_batch(model, None, PROMPTS, padding=side)
        for ids, row in zip(PROMPTS, rows, strict=True):
            alone = vw.trace(model, None, ids)
            assert row.input_ids.tolist() == ids
            pairs = (row.record.logits, alone.record.logits), (row.logits(), alone.logits())
            for ours, theirs in pairs:
                torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
            for layer in range(alone.n_layers):
                for derive in DERIVED.values():
                    ours, theirs = derive(row, layer), derive(alone, layer)
                    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_in_float32_too_and_the_audit_holds(implementation):
    model = make_model("llama", torch.float32, implementation)
    for row in trace_batch(model, None, PROMPTS, padding="left"):
        assert row.audit().exact
        parts = row.logit_parts(7)
        assert sum(parts.values()) == pytest.approx(float(row.logits()[7]), abs=1e-4)


def test_effects_of_a_row_are_those_of_the_prompt():
    model = make_model("gpt2", seed=1)
    ids = PROMPTS[3]
    row = trace_batch(model, None, PROMPTS, padding="left")[3]
    ours, theirs = row.effects("heads", target=4), vw.trace(model, None, ids).effects("heads", 4)
    for name, effect in theirs.items():
        assert ours[name].measured == pytest.approx(effect.measured, abs=1e-9)
        assert ours[name].predicted == pytest.approx(effect.predicted, abs=1e-9)


def test_texts_are_read_as_trace_reads_them():
    model = make_speaker()
    texts = ["the cat sat on a mat", "the dog"]
    for text, row in zip(texts, trace_batch(model, tokenizer(), texts), strict=True):
        alone = vw.trace(model, tokenizer(), text)
        assert (row.prompt, row.tokens, row.special) == (text, alone.tokens, alone.special)


def test_a_batch_of_as_many_columns_as_heads_is_not_confused():
    """Every number of columns from 1 to 12 meets heads, widths and rows of the same number."""
    model = make_model("llama")
    for n in range(1, 12):
        ids = [list(range(n)), [1, 2]]
        row = trace_batch(model, None, ids, padding="left", check=False)[0]
        torch.testing.assert_close(
            row.query_directions(1), vw.trace(model, None, ids[0]).query_directions(1)
        )


class Looks(torch.nn.Module):
    """A block's MLP that reads what stands at the end of the row, padding or not."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) + x[:, -1:].mean() * (x.shape[0] > 1)


def test_a_model_that_padding_changes_is_refused():
    model = make_model("gpt2", implementation="sdpa")
    vw.trace(model, None, [1, 2])
    model.transformer.h[1].mlp.c_proj = Looks(model.transformer.h[1].mlp.c_proj)
    with pytest.raises(vw.VisitError, match="Padding on the right changes what GPT2LMHeadModel"):
        trace_batch(model, None, PROMPTS)


def test_sides_are_right_and_left():
    with pytest.raises(vw.VisitError, match="use 'right' or 'left'"):
        trace_batch(make_model("gpt2"), None, PROMPTS, padding="both")
