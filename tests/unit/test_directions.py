"""The q/k lens: what a query asks for and what a key answers to, against the scores themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import visit_widget as vw
from tests.tiny import (
    PROMPT_IDS,
    SUPPORTED,
    blocks_of,
    float64_throughout,
    frozen,
    look,
    make_model,
    matrix_of,
)
from visit_widget.trace import projection
from visit_widget.trace.directions import key_directions, query_directions

T = len(PROMPT_IDS)
WITH_INNER_NORMS = ("qwen3", "olmo2")
EVERY = (*SUPPORTED, "gemma2", "phi", *WITH_INNER_NORMS)


@pytest.fixture(params=EVERY)
def model(request: pytest.FixtureRequest) -> Iterator[PreTrainedModel]:
    with float64_throughout():
        yield make_model(request.param)


def own_queries_and_keys(model: PreTrainedModel, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """(n_heads, T, d_head) each, from the weights, shared keys repeated; own norms as at x."""
    a, config = blocks_of(model)[layer].attention, model.config
    n_heads = config.num_attention_heads
    if config.model_type == "gpt2":
        flat = x @ a.c_attn.weight + a.c_attn.bias
        both = [flat[:, :24], flat[:, 24:48]]
    else:
        both = [x @ p.weight.T + (0 if p.bias is None else p.bias) for p in (a.q_proj, a.k_proj)]
    if config.model_type == "olmo2":
        both = [frozen(norm, y, y) for norm, y in zip((a.q_norm, a.k_norm), both, strict=True)]
    width = both[0].shape[1] // n_heads
    by_head = [y.reshape(T, -1, width).transpose(0, 1) for y in both]
    if config.model_type == "qwen3":
        by_head = [
            frozen(norm, y, y) for norm, y in zip((a.q_norm, a.k_norm), by_head, strict=True)
        ]
    if config.model_type != "gpt2":
        by_head = [own_rotation(y, config) for y in by_head]
    query, key = by_head
    return query.detach(), torch.stack(
        [key[h * len(key) // n_heads] for h in range(n_heads)]
    ).detach()


def own_rotation(y: Tensor, config: object) -> Tensor:
    """Rotary embedding, as complex numbers: the pair (n, n + half) turned by position and step."""
    rope = getattr(config, "rope_parameters", None) or vars(config)  # where transformers 4 has them
    width = int(y.shape[-1] * rope.get("partial_rotary_factor", 1))
    half = width // 2
    # Frequencies are float32 in transformers, and so part of the model.
    steps = torch.arange(0, width, 2).float() / width
    frequency = 1.0 / (rope["rope_theta"] ** steps)
    angle = torch.arange(T).double()[:, None] * frequency.double()
    turned = torch.complex(y[..., :half], y[..., half:width]) * torch.polar(
        torch.ones_like(angle), angle
    )
    return torch.cat([turned.real, turned.imag, y[..., width:]], dim=-1)


def own_scores(model: PreTrainedModel, layer: int, x: Tensor) -> Tensor:
    """(n_heads, T, T) before mask, softcap and softmax."""
    query, key = own_queries_and_keys(model, layer, x)
    scale = query.shape[-1] ** -0.5
    if model.config.model_type == "gemma2":
        scale = model.config.query_pre_attn_scalar**-0.5
    if getattr(model.config, "scale_attn_by_inverse_layer_idx", False):
        scale /= layer + 1
    return query @ key.transpose(1, 2) * scale


def test_own_scores_are_the_models(model):
    """The reference of this file, checked: its softmax is the model's attention."""
    seen = look(model, PROMPT_IDS)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    for layer in range(len(seen.pre)):
        scores = own_scores(model, layer, seen.into_attention[layer])
        cap = getattr(model.config, "attn_logit_softcapping", None)
        if cap:
            scores = torch.tanh(scores / cap) * cap
        hidden = future.clone()
        if model.config.model_type == "gemma2" and model.config.layer_types[layer].startswith(
            "sliding"
        ):
            hidden |= torch.ones_like(future).tril(-model.config.sliding_window)
        theirs = seen.attentions[layer]
        ours = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        assert torch.allclose(ours, theirs, atol=1e-9)


def test_direction_times_input_plus_constant_is_the_score(model):
    trace = vw.trace(model, None, PROMPT_IDS)
    seen = look(model, PROMPT_IDS)
    heads, sources = range(trace.n_heads), range(T)
    for layer in range(trace.n_layers):
        x = seen.into_attention[layer]
        scores = own_scores(model, layer, x)
        for i in (0, 3, T - 1):
            d, c = query_directions(trace, layer, i, heads, sources)
            assert torch.equal(d, trace.query_directions(layer, i))
            assert torch.allclose(torch.einsum("hjd,jd->hj", d, x) + c(), scores[:, i], atol=1e-9)
            d, c = key_directions(trace, layer, i, heads, sources)
            assert torch.equal(d, trace.key_directions(layer, i))
            assert torch.allclose(d @ x[i] + c(), scores[:, i], atol=1e-9)


@pytest.mark.parametrize("family", [f for f in EVERY if f not in WITH_INNER_NORMS])
def test_another_input_moves_the_score_by_the_direction(family):
    with float64_throughout():
        model = make_model(family)
        trace = vw.trace(model, None, PROMPT_IDS)
        x = look(model, PROMPT_IDS).into_attention[1]
        step = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        query, key = own_queries_and_keys(model, 1, x)
        query_moved, key_moved = own_queries_and_keys(model, 1, x + step)
        unit = own_scores(model, 1, x)[0, 0, 0] / (query @ key.transpose(1, 2))[0, 0, 0]
        for i in (2, T - 1):
            asked = torch.einsum("hjd,jd->hj", trace.query_directions(1, i), step)
            change = torch.einsum("hd,hjd->hj", query[:, i], key_moved - key) * unit
            assert torch.allclose(asked, change, atol=1e-9)
            answered = trace.key_directions(1, i) @ step[i]
            change = torch.einsum("hd,hjd->hj", query_moved[:, i] - query[:, i], key) * unit
            assert torch.allclose(answered, change, atol=1e-9)


@contextmanager
def shifted(model: PreTrainedModel, layer: int, part: str, at: int, step: Tensor) -> Iterator[None]:
    """Within the block a query or key projection reads its input plus `step` at one position."""
    attention = blocks_of(model)[layer].attention
    if model.config.model_type == "gpt2":
        columns = slice(0, 24) if part == "query" else slice(24, 48)

        def move(_module: object, _args: object, output: Tensor) -> Tensor:
            output = output.clone()
            output[0, at, columns] += step @ attention.c_attn.weight[:, columns]
            return output

        handle = attention.c_attn.register_forward_hook(move)
    else:

        def enter(_module: object, args: tuple[Tensor, ...]) -> tuple[Tensor]:
            moved = args[0].clone()
            moved[0, at] += step
            return (moved,)

        projection = attention.q_proj if part == "query" else attention.k_proj
        handle = projection.register_forward_pre_hook(enter)
    try:
        yield
    finally:
        handle.remove()


def log_attention(model: PreTrainedModel, layer: int, i: int) -> Tensor:
    """(n_heads, i + 1): the scores up to one number a head, from the model's own attention."""
    return look(model, PROMPT_IDS).attentions[layer][:, i, : i + 1].log()


@pytest.mark.parametrize("family", SUPPORTED)
@pytest.mark.parametrize("j", [0, 2, 5])
def test_the_models_own_attention_follows_query_directions(family, j):
    """Moving what the key projection reads at j moves log α[j] − log α[4] by ⟨direction, step⟩."""
    layer, i, other = 1, T - 1, 4
    with float64_throughout():
        model = make_model(family)
        found = vw.trace(model, None, PROMPT_IDS).query_directions(layer, i)
        step = torch.linspace(-1, 1, 24, dtype=torch.float64).cos()
        before = log_attention(model, layer, i)
        with shifted(model, layer, "key", j, step):
            after = log_attention(model, layer, i)
        change = (after - before)[:, j] - (after - before)[:, other]
        assert float(change.abs().max()) > 1e-2
        assert torch.allclose(change, found[:, j] @ step, atol=1e-9)


@pytest.mark.parametrize("family", SUPPORTED)
@pytest.mark.parametrize("i", [3, T - 1])
def test_the_models_own_attention_follows_key_directions(family, i):
    """Moving what the query projection reads moves log α[j] − log α[0] by ⟨d[j] − d[0], step⟩."""
    layer = 1
    with float64_throughout():
        model = make_model(family)
        found = vw.trace(model, None, PROMPT_IDS).key_directions(layer, i)[:, : i + 1]
        step = torch.linspace(-2, 1, 24, dtype=torch.float64).sin()
        before = log_attention(model, layer, i)
        with shifted(model, layer, "query", i, step):
            after = log_attention(model, layer, i)
        change = after - before
        expected = (found - found[:, :1]) @ step
        assert float(expected.abs().max()) > 1e-2
        assert torch.allclose(change - change[:, :1], expected, atol=1e-9)


@pytest.mark.parametrize("family", ["gpt2", "llama", "llama-wide", "qwen3"])
def test_chosen_heads_and_sources_are_rows_of_all(family):
    with float64_throughout():
        trace = vw.trace(make_model(family), None, PROMPT_IDS)
        for derive in (trace.query_directions, trace.key_directions):
            every = derive(1, 5)
            assert every.shape == (trace.n_heads, T, trace.d_model)
            some = derive(1, 5, heads=[2, 0], sources=[4, 1, 5])
            assert torch.allclose(some, every[[2, 0]][:, [4, 1, 5]], atol=1e-12)
            assert torch.equal(derive(1, 5, sources=[-1]), derive(1, 5, sources=[T - 1]))
            assert derive(1, 5, heads=[]).shape == (0, T, trace.d_model)
            assert derive(1, 5, sources=[]).shape == (trace.n_heads, 0, trace.d_model)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("asks", [[(0, 2), (1, 5), (1, 2), (0, 2)], []])
@pytest.mark.parametrize("answers", [[(0, 6), (1, 0), (1, 3), (0, 3)], []])
def test_what_looks_ask_and_find_is_that_of_the_grids(model, monkeypatch, alone, asks, answers):
    """Those asked for, whether a row can be run by itself or not."""
    if not alone:
        cut = projection._cut
        monkeypatch.setattr(
            projection, "_cut", lambda value, rows, n: cut(value, [(r + 1) % n for r in rows], n)
        )
    trace = vw.trace(model, None, PROMPT_IDS)
    for layer in range(trace.n_layers):
        asked, answered = trace.look_directions(layer, 6, asks, answers)
        every = trace.query_directions(layer, 6), trace.key_directions(layer, 6)
        assert asked.shape == (len(asks), trace.d_model)
        assert answered.shape == (len(answers), trace.d_model)
        for found, looks, grid in zip((asked, answered), (asks, answers), every, strict=True):
            for row, (head, source) in zip(found, looks, strict=True):
                torch.testing.assert_close(row, grid[head, source], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_arguments_cut_to_the_wrong_rows_are_noticed(family, monkeypatch):
    """Which dimension counts tokens is a guess; a wrong one must not become a wrong direction."""
    with float64_throughout():
        model = make_model(family)
        trace = vw.trace(model, None, PROMPT_IDS)
        expected = trace.query_directions(1, 5, sources=[3, 1]), trace.key_directions(1, 5)
        # What a trace has found once it does not ask again.
        trace = vw.trace(model, None, PROMPT_IDS)
        cut = projection._cut
        monkeypatch.setattr(
            projection, "_cut", lambda value, rows, n: cut(value, list(range(len(rows))), n)
        )
        ours = trace.query_directions(1, 5, sources=[3, 1]), trace.key_directions(1, 5)
        for a, b in zip(ours, expected, strict=True):
            assert torch.allclose(a, b, atol=1e-9)


def test_directions_leave_no_gradients_behind():
    model = make_model("llama", torch.float32)
    trace = vw.trace(model, None, PROMPT_IDS)
    trace.query_directions(1)
    trace.key_directions(1)
    trace.neuron_directions(1, [0])
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not trace.residual(1).requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_directions_work_where_gradients_are_off(mode):
    model = make_model("llama", torch.float32)
    expected = vw.trace(model, None, PROMPT_IDS)
    with mode():
        trace = vw.trace(model, None, PROMPT_IDS)
        inside = trace.query_directions(1), trace.key_directions(1), trace.neuron_directions(1, [3])
    outside = trace.query_directions(1), trace.key_directions(1), trace.neuron_directions(1, [3])
    plain = (
        expected.query_directions(1),
        expected.key_directions(1),
        expected.neuron_directions(1, [3]),
    )
    for a, b, c in zip(inside, outside, plain, strict=True):
        assert torch.allclose(a, c)
        assert torch.allclose(b, c)


def test_values_are_told_where_a_prompt_has_as_many_tokens_as_there_are_heads():
    from tests.families.configs import build
    from visit_widget.trace.values import values_of

    # BLOOM adds a tensor of (heads, 1, tokens) to its scores, whose first dimension looks like the
    # tokens then.
    model = build("bloom")
    trace = vw.trace(model, None, [3, 17, 42, 5][: model.config.n_head])
    assert len(trace) == trace.n_heads
    assert values_of(trace, 1, [0, 2]) is not None
    graph = trace.routes(measure="logit")
    told = graph.attribution
    parts = told["bias"] + told["opaque"] + told["rest"] + sum(t["value"] for t in told["tokens"])
    assert parts == pytest.approx(told["total"], abs=1e-5)


def _doubled(_module, _args, output):
    return 2 * output


def _doubled_in_place(_module, args):
    args[0].mul_(2)


def _cut_off(_module, args):
    return (args[0].clamp(max=0.1),)


@pytest.mark.parametrize("change", [None, _doubled, _doubled_in_place, _cut_off])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_what_neurons_look_for_has_in_it_what_lies_before_their_activation(family, change):
    """Where the activation function reads a matrix as it comes, directions are its columns; a hook
    that changes it on the way is part of what a neuron looks for.
    """
    with float64_throughout():
        model = make_model(family)
        mlp = blocks_of(model)[1].mlp
        entry = mlp.c_fc if family == "gpt2" else mlp.gate_proj
        columns = matrix_of(entry).T[[3, 0, 7]]
        act = mlp.act if family == "gpt2" else mlp.act_fn
        if change is not None:
            where = entry.register_forward_hook if change is _doubled else None
            (where or act.register_forward_pre_hook)(change)
        trace = vw.trace(model, None, PROMPT_IDS)
        found = trace.neuron_directions(1, [3, 0, 7])
        if change is _cut_off:
            normed = trace.mlp_row(1, -1).input
            bias = entry.bias[[3, 0, 7]] if entry.bias is not None else 0
            passes = (columns @ normed + bias) < 0.1
            columns = columns * passes[:, None]
        elif change is not None:
            columns = 2 * columns
        torch.testing.assert_close(found, columns.detach(), rtol=1e-9, atol=1e-11)


def test_what_a_neuron_reads_is_not_derived_where_it_can_be_read(monkeypatch):
    trace = vw.trace(make_model("llama", torch.float32), None, PROMPT_IDS)
    monkeypatch.setattr(torch.autograd, "grad", lambda *_, **__: pytest.fail("a derivative"))
    rows = blocks_of(trace.model)[1].mlp.gate_proj.weight[[1, 2]]
    assert torch.equal(trace.neuron_directions(1, [1, 2]), rows)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_a_row_alone_that_asks_otherwise_is_noticed(family, monkeypatch):
    """A module that counts positions by itself gets them wrong on one row, by little."""
    from visit_widget.trace.alone import Alone, NotAloneError

    with float64_throughout():
        trace = vw.trace(make_model(family), None, PROMPT_IDS)
        Alone(trace, 4).verify()
        trace.alone_at.clear()
        attend = projection.Projection.attend

        def scaled(self, x, rows, **listen):
            def hear(call):
                query = call.query * 1.0001 if self.layer == 1 else call.query
                return listen["listener"](dataclasses.replace(call, query=query))

            return attend(self, x, rows, **{**listen, "listener": hear})

        monkeypatch.setattr(projection.Projection, "attend", scaled)
        with pytest.raises(NotAloneError, match="layer 1 needs every position"):
            Alone(trace, 4).verify()
        assert not trace.alone_at
