"""Summands that are ranked without being made, against what the model's own matrices write."""

from __future__ import annotations

import pytest
import torch

import visit_widget as vw
from tests.tiny import FAMILIES, PROMPT_IDS, float64_throughout, make_model
from visit_widget.trace import summands
from visit_widget.trace.summands import Summands


@pytest.fixture(params=FAMILIES)
def row_of(request):
    """A layer's neurons, W_O rows and memories of each kind, and all of them written out."""
    with float64_throughout():
        trace = vw.trace(make_model(request.param, seed=3), None, PROMPT_IDS)
        mlp, attention = trace.mlp_row(1, 4), trace.attention_row(1, 4)
        # Gemma and OLMo bring what is written to the stream through a norm.
        written = mlp.outlet.to_stream(torch.diag(mlp.activations) @ mlp.matrix)
        rows = torch.cat([attention.rows(h) for h in range(trace.n_heads)])
        sources = attention.sources(1)[[3, 0, 4]]
        yield [
            (mlp.neurons, written),
            (attention.output_rows, rows),
            (attention.memories(1, [3, 0, 4]), sources),
            (Summands.of(sources), sources),
        ]


@pytest.mark.parametrize("at_once", [1, 30, 2**22])
def test_what_is_told_of_summands_is_that_of_the_vectors(row_of, monkeypatch, at_once):
    monkeypatch.setattr(summands, "AT_ONCE", at_once)
    direction = torch.randn(24, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for ours, theirs in row_of:
        assert len(ours) == len(theirs)
        near = {"rtol": 1e-9, "atol": 1e-11}
        torch.testing.assert_close(ours.every(), theirs, **near)
        torch.testing.assert_close(ours[[2, 0, 2]], theirs[[2, 0, 2]], **near)
        assert ours[[]].shape == (0, 24)
        torch.testing.assert_close(ours.total(), theirs.sum(0), **near)
        torch.testing.assert_close(ours.along(direction), theirs @ direction, **near)
        torch.testing.assert_close(ours.lengths(), theirs.norm(dim=-1), **near)
        signed = theirs.norm(dim=-1) * ours.factors.sign()
        torch.testing.assert_close(ours.signed_lengths(), signed, **near)


def test_a_chosen_summand_keeps_no_other_in_memory():
    trace = vw.trace(make_model("llama"), None, PROMPT_IDS)
    chosen = trace.mlp_row(1, -1).neurons[[5, 3]]
    assert chosen.untyped_storage().nbytes() == chosen.nbytes
