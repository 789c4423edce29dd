"""Why a head looks there: pairs of parts against scores of the model's own weights."""

from __future__ import annotations

import builtins
import math
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

import visit_widget as vw
from tests.tiny import (
    PROMPT_IDS,
    Seen,
    blocks_of,
    float64_throughout,
    frozen,
    look,
    make_model,
    make_speaker,
    tokenizer,
)
from tests.unit.test_directions import own_rotation
from visit_widget.trace import stream_parts as streams

T = len(PROMPT_IDS)
LAYER = 2
FAMILIES = (
    "gpt2", "gpt2-scaled", "llama", "llama-wide", "gemma2", "phi", "qwen3", "olmo2",
)  # fmt: skip


def own_projection(model: Any, layer: int, x: Tensor, part: Tensor, at: int) -> tuple[Tensor, ...]:
    """What a part of the input x at a position becomes in queries and in keys, (n_heads, d_head)
    each, from the weights, shared keys repeated; norms of queries and keys keep their scale at x.
    """
    a, config = blocks_of(model)[layer].attention, model.config
    n_heads = config.num_attention_heads
    if config.model_type == "gpt2":
        weights = a.c_attn.weight.split(24, dim=1)[:2]
        biases = a.c_attn.bias.split(24)[:2]
    else:
        weights = [p.weight.T for p in (a.q_proj, a.k_proj)]
        biases = [0 if p.bias is None else p.bias for p in (a.q_proj, a.k_proj)]
    width = weights[0].shape[1] // n_heads
    found = []
    for n, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        whole, made = x @ weight + bias, part @ weight
        norm = (a.q_norm, a.k_norm)[n] if config.model_type in ("olmo2", "qwen3") else None
        if config.model_type == "qwen3":
            whole, made = whole.view(-1, width), made.view(-1, width)
        made = frozen(norm, whole, made).reshape(-1, 1, width)
        if config.model_type != "gpt2":
            every = torch.zeros(len(made), T, width, dtype=made.dtype)
            every[:, at] = made[:, 0]
            made = own_rotation(every, config)[:, at, None]
        found.append(made[:, 0].detach())
    query, key = found
    return query, torch.stack([key[h * len(key) // n_heads] for h in range(n_heads)])


def own_parts(model: Any, seen: Seen, at: int) -> dict[str, Tensor]:
    """What wrote the stream before `LAYER` at a position, by plain hooks."""
    found = {"embed": seen.pre[0][at]}
    for layer in range(LAYER if len(seen.pre) > LAYER else 1):
        found[f"L{layer}.attn"] = seen.attention[layer][at]
        found[f"L{layer}.mlp"] = seen.mlp[layer][at]
    return found


def scale_of(model: Any, layer: int, width: int) -> float:
    scale: float = width**-0.5
    if model.config.model_type == "gemma2":
        scale = model.config.query_pre_attn_scalar**-0.5
    if getattr(model.config, "scale_attn_by_inverse_layer_idx", False):
        scale /= layer + 1
    return scale


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_pair_is_the_product_of_what_both_parts_become(family, seed):
    with float64_throughout():
        model = make_model(family, seed=seed)
        trace, seen = vw.trace(model, None, PROMPT_IDS), look(model, PROMPT_IDS)
        layer = min(LAYER, trace.n_layers - 1)
        norm = blocks_of(model)[layer].before_attention
        for position, source in ((T - 1, 4), (T - 1, T - 1), (5, 3)):
            made = {}
            for at in (position, source):
                x, stream = seen.into_attention[layer][at], seen.pre[layer][at]
                made[at] = {
                    name: own_projection(model, layer, x, frozen(norm, stream, part), at)
                    for name, part in own_parts(model, seen, at).items()
                }
            for head in range(trace.n_heads):
                found = trace.score_parts(layer, head, source, position)
                table = found.to_pandas()
                scale = scale_of(model, layer, made[position]["embed"][0].shape[-1])
                for a, (query, _) in made[position].items():
                    for b, (_, key) in made[source].items():
                        expected = float(query[head] @ key[head]) * scale
                        assert table.loc[a, b] == pytest.approx(expected, abs=1e-9)
                assert {*made[position]} == {*found.query_parts} - {"constant"}
                total = float(found.matrix.sum())
                assert total == pytest.approx(found.score, abs=1e-9)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "olmo2", "phi", "qwen3"])
def test_finer_parts_sum_to_coarser_ones(family):
    with float64_throughout():
        trace = vw.trace(make_model(family), None, PROMPT_IDS)
        layer = trace.n_layers - 1
        tables = {
            by: trace.score_parts(layer, 1, 5, by=by).to_pandas()
            for by in ("layer", "part", "head")
        }

        def coarse(name: str) -> str:
            pieces = name.split(".")
            if len(pieces) == 1:
                return name
            attends = pieces[1].startswith("H") or pieces[1] == "attn"
            return f"{pieces[0]}.attn" if attends else name

        summed = tables["head"].groupby(coarse).sum().T.groupby(coarse).sum().T
        for a, b in ((a, b) for a in tables["part"].index for b in tables["part"].columns):
            assert summed.loc[a, b] == pytest.approx(tables["part"].loc[a, b], abs=1e-9)
        summed = tables["part"].groupby(lambda n: n.split(".")[0]).sum()
        summed = summed.T.groupby(lambda n: n.split(".")[0]).sum().T
        for a, b in ((a, b) for a in tables["layer"].index for b in tables["layer"].columns):
            assert summed.loc[a, b] == pytest.approx(tables["layer"].loc[a, b], abs=1e-9)
        assert len(tables["head"]) > len(tables["part"]) > len(tables["layer"])


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_parts_told_by_streams_are_those_that_are_derived(family, monkeypatch):
    with float64_throughout():
        trace = vw.trace(make_model(family), None, PROMPT_IDS)
        quick = streams.stream_parts(trace, 2, [1, 5], "part")
        monkeypatch.setattr(streams, "_told_by_streams", lambda *_: False)
        derived = streams.stream_parts(trace, 2, [1, 5], "part")
        assert quick.names == derived.names
        assert torch.allclose(quick.vectors, derived.vectors, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_in_half_precision_rounding_is_a_part_and_a_small_one(family, dtype):
    trace = vw.trace(make_model(family, dtype), None, PROMPT_IDS)
    for by in ("part", "head"):
        found = trace.score_parts(trace.n_layers - 1, 1, 3, by=by)
        assert float(found.matrix.sum()) == pytest.approx(found.score, abs=1e-4)
        assert "rounding" in found.query_parts
        assert "rounding" in found.key_parts
        small = 30 * torch.finfo(dtype).eps * float(found.matrix.abs().sum())
        assert 0 < abs(found.by_query["rounding"]) < small


def test_what_enters_the_softmax_has_position_bias_and_cap_in_it():
    with float64_throughout():
        capped = vw.trace(make_model("gemma2"), None, PROMPT_IDS).score_parts(1, 0, 5)
        cap = 50.0
        expected = math.tanh(capped.score / cap) * cap
        assert capped.in_softmax == pytest.approx(expected, abs=1e-12)
        assert abs(capped.in_softmax - capped.score) > 1e-6
        plain = vw.trace(make_model("llama"), None, PROMPT_IDS).score_parts(1, 0, 5)
        assert plain.in_softmax == plain.score


def test_position_biases_are_told_from_the_score():
    from tests.families.configs import build

    with float64_throughout():
        model = build("bloom")
        trace = vw.trace(model, None, PROMPT_IDS)
        with torch.no_grad():
            output = model(torch.tensor([PROMPT_IDS]), output_attentions=True)
        found = [trace.score_parts(1, 2, j) for j in (1, 4)]
        logs = [float(output.attentions[1][0, 2, -1, j].log()) for j in (1, 4)]
        entered = [f.in_softmax for f in found]
        assert entered[1] - entered[0] == pytest.approx(logs[1] - logs[0], abs=1e-9)
        assert abs(entered[0] - found[0].score) > 1e-3
        assert found[0].weight == pytest.approx(float(torch.tensor(logs[0]).exp()), rel=1e-6)


def test_what_is_said_of_a_score():
    model = make_speaker("llama")
    trace = vw.trace(model, tokenizer(), "the cat sat on the mat")
    found = trace.score_parts(1, 2, 1)
    assert (found.layer, found.head, found.position, found.source) == (1, 2, len(trace) - 1, 1)
    assert found.tokens == (trace.tokens[-1], trace.tokens[1])
    assert found.query_parts == ("embed", "L0.attn", "L0.mlp", "constant")
    pairs = found.strongest(3)
    largest = sorted(found.matrix.abs().flatten().tolist())[-3:]
    assert [abs(v) for *_, v in pairs] == largest[::-1]
    table = found.to_pandas()
    assert all(table.loc[a, b] == v for a, b, v in pairs)
    assert (table.index.name, table.columns.name) == ("query", "key")
    assert sum(found.by_query.values()) == pytest.approx(found.score, abs=1e-4)
    assert sum(found.by_key.values()) == pytest.approx(found.score, abs=1e-4)
    assert found.strongest(0) == []
    assert len(found.strongest(99)) == 16
    assert "L1.H2" in repr(found)
    assert "␣cat" in repr(found)
    assert f"{pairs[0][0]} × {pairs[0][1]}" in repr(found)
    first = trace.score_parts(0, 0, 1)
    assert first.query_parts == ("embed", "constant")


def test_whoever_asks_for_what_is_not_there_is_told_so(tmp_path):
    trace = vw.trace(make_model("llama"), None, PROMPT_IDS)
    with pytest.raises(vw.VisitError, match="does not see position 5 in layer 1"):
        trace.score_parts(1, 0, 5, position=3)
    with pytest.raises(vw.VisitError, match="use 'layer', 'part' or 'head'"):
        trace.score_parts(1, 0, 3, by="neuron")
    with pytest.raises(vw.VisitError, match="no head 9"):
        trace.score_parts(1, 9, 3)
    with pytest.raises(vw.VisitError, match="outside the prompt"):
        trace.score_parts(1, 0, 70)
    trace.save(tmp_path / "trace.safetensors")
    bare = vw.load_trace(tmp_path / "trace.safetensors")
    with pytest.raises(vw.VisitError, match="A score's parts"):
        bare.score_parts(1, 0, 3)


def test_without_pandas_a_table_is_refused(monkeypatch):
    found = vw.trace(make_model("llama"), None, PROMPT_IDS).score_parts(1, 0, 3)
    usual = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(vw.VisitError, match="pandas is not installed"):
        found.to_pandas()


def test_a_table_is_the_matrix():
    found = vw.trace(make_model("llama"), None, PROMPT_IDS).score_parts(1, 0, 3)
    table = found.to_pandas()
    assert isinstance(table, pd.DataFrame)
    assert torch.equal(torch.tensor(table.to_numpy()), found.matrix)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_scores_are_split_where_gradients_are_off(mode):
    model = make_model("llama", torch.float32)
    expected = vw.trace(model, None, PROMPT_IDS).score_parts(1, 0, 3)
    with mode():
        inside = vw.trace(model, None, PROMPT_IDS).score_parts(1, 0, 3)
    assert torch.allclose(inside.matrix, expected.matrix, atol=1e-6)
    assert all(p.grad is None for p in model.parameters())
