"""What a trace says of a forward pass, against hooks on the modules and the model's outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import visit_widget as vw
from tests.tiny import (
    FAMILIES,
    PROMPT_IDS,
    Block,
    Seen,
    blocks_of,
    final_norm_of,
    float64_throughout,
    frozen,
    look,
    make_model,
    matrix_of,
)


@dataclass
class Case:
    model: PreTrainedModel
    trace: vw.Trace
    seen: Seen
    blocks: list[Block]
    tolerance: float

    def agree(self, ours: Tensor, theirs: Tensor) -> None:
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        size = float(theirs.abs().max())
        assert float((ours - theirs).abs().max()) <= self.tolerance * max(size, 1e-3)

    def places(self, *positions: int) -> list[tuple[int, int]]:
        """(layer, position) of every layer at these positions, at all by default."""
        at = positions or range(len(PROMPT_IDS))
        return [(layer, i) for layer in range(len(self.blocks)) for i in at]

    def heads_of(self, layer: int) -> Tensor:
        """(n_heads, d_head, d_model): W_O in slices, whichever way the module lays it out."""
        whole = matrix_of(self.blocks[layer].out)
        return whole.reshape(self.model.config.num_attention_heads, -1, whole.shape[1])


CASES = [(family, "float64", "eager") for family in FAMILIES]
CASES += [(family, "float64", "sdpa") for family in ("gpt2", "llama")]
CASES += [(family, "float32", "sdpa") for family in ("gpt2", "llama")]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def made(request: pytest.FixtureRequest) -> Case:
    family, dtype, implementation = request.param
    model = make_model(family, getattr(torch, dtype), implementation)
    with float64_throughout() if dtype == "float64" else nullcontext():
        seen = look(model, PROMPT_IDS)
        trace = vw.trace(model, None, PROMPT_IDS)
    return Case(model, trace, seen, blocks_of(model), 1e-9 if dtype == "float64" else 1e-4)


@pytest.fixture
def case(made: Case) -> Iterator[Case]:
    with float64_throughout() if made.trace.dtype == torch.float64 else nullcontext():
        yield made


def test_sizes_are_the_configs(case):
    trace, config = case.trace, case.model.config
    assert trace.input_ids.tolist() == PROMPT_IDS
    assert trace.tokens == [f"#{i}" for i in PROMPT_IDS]
    assert (trace.n_layers, trace.n_heads) == (config.num_hidden_layers, config.num_attention_heads)
    assert (trace.d_model, trace.n_vocab) == (config.hidden_size, config.vocab_size)
    assert trace.d_mlp == matrix_of(case.blocks[0].down).shape[0]
    assert len(trace) == len(PROMPT_IDS)


def test_residual_is_what_blocks_get_and_give(case):
    for layer in range(len(case.blocks)):
        case.agree(case.trace.residual(layer, "pre"), case.seen.pre[layer])
        case.agree(
            case.trace.residual(layer, "mid"), case.seen.pre[layer] + case.seen.attention[layer]
        )
        case.agree(case.trace.residual(layer, "post"), case.seen.post[layer])
        case.agree(case.trace.residual(layer), case.seen.post[layer])
        case.agree(case.trace.residual(layer, "pre"), case.seen.hidden[layer])


def test_logits_are_the_models_at_every_position(case):
    cap = getattr(case.model.config, "final_logit_softcapping", None)
    for position in range(len(PROMPT_IDS)):
        ours = case.trace.logits(position)
        case.agree(torch.tanh(ours / cap) * cap if cap else ours, case.seen.logits[position])
    case.agree(case.trace.logits(), case.trace.logits(len(PROMPT_IDS) - 1))
    if cap:
        final = final_norm_of(case.model)(case.seen.post[-1])
        case.agree(case.trace.logits(2), (final @ case.model.lm_head.weight.T)[2].detach())


def test_attention_is_the_eager_models_output_attentions(case):
    for layer, i in case.places():
        ours = case.trace.attention(layer, i)
        case.agree(ours, case.seen.attentions[layer][:, i])
        assert not ours[:, i + 1 :].any(), "the future is not seen"


def test_head_outputs_are_slices_of_the_output_projection(case):
    for layer, i in case.places():
        block, width = case.blocks[layer], matrix_of(case.blocks[layer].out).shape[0]
        z = case.seen.heads[layer][i].reshape(case.model.config.num_attention_heads, -1)
        assert z.numel() == width
        written = torch.stack([z[h] @ case.heads_of(layer)[h] for h in range(len(z))])
        theirs = frozen(block.after_attention, case.seen.written[layer][i], written)
        case.agree(case.trace.head_outputs(layer, i), theirs)


def test_a_head_is_what_its_ablation_takes_away(case):
    for layer, i in case.places(0, 4):
        block = case.blocks[layer]
        z = case.seen.heads[layer][i]
        width = z.numel() // case.model.config.num_attention_heads
        for h, ours in enumerate(case.trace.head_outputs(layer, i)):
            without = z.clone()
            without[h * width : (h + 1) * width] = 0
            with torch.no_grad():
                lost = (block.out(z[None]) - block.out(without[None]))[0]
            case.agree(ours, frozen(block.after_attention, case.seen.written[layer][i], lost))


def test_head_parts_sum_to_heads_and_weigh_the_values(case):
    for layer, i in case.places(0, 3, 6):
        parts = case.trace.head_parts(layer, i)
        case.agree(parts.sum(1), case.trace.head_outputs(layer, i))
        block = case.blocks[layer]
        values = own_values(block, case.seen.into_attention[layer], case.model.config)
        weights = case.seen.attentions[layer][:, i]
        written = torch.einsum("ht,htv,hvd->htd", weights, values, case.heads_of(layer))
        case.agree(parts, frozen(block.after_attention, case.seen.written[layer][i], written))


def own_values(block: Block, x: Tensor, config: object) -> Tensor:
    """(n_heads, T, d_head) from the weights, heads that share a value repeated."""
    n_heads = config.num_attention_heads
    if config.model_type == "gpt2":
        n_kv, projection = n_heads, block.attention.c_attn
        weight, bias = projection.weight[:, -config.n_embd :], projection.bias[-config.n_embd :]
    else:
        n_kv, projection = config.num_key_value_heads, block.attention.v_proj
        weight, bias = projection.weight.T, projection.bias
    flat = x @ weight.detach()
    if bias is not None:
        flat = flat + bias.detach()
    by_head = flat.reshape(len(x), n_kv, -1).transpose(0, 1)
    return torch.stack([by_head[h * n_kv // n_heads] for h in range(n_heads)])


def test_attn_bias_is_the_output_projections(case):
    for layer, i in case.places():
        block = case.blocks[layer]
        bias = block.out.bias
        bias = (
            torch.zeros(case.trace.d_model).to(case.trace.dtype) if bias is None else bias.detach()
        )
        ours = case.trace.attn_bias(layer, i)
        case.agree(ours, frozen(block.after_attention, case.seen.written[layer][i], bias))
        case.agree(case.trace.head_outputs(layer, i).sum(0) + ours, case.seen.attention[layer][i])
        case.agree(case.trace.attention_output(layer, i), case.seen.attention[layer][i])


def test_neurons_enter_the_down_projection(case):
    for layer, i in case.places():
        case.agree(case.trace.neurons(layer, i), case.seen.neurons[layer][i])


def test_neuron_values_and_bias_are_the_down_projections(case):
    for layer, i in case.places():
        block, whole = case.blocks[layer], case.seen.mlp_written[layer][i]
        values = case.trace.neuron_values(layer, i)
        case.agree(values, frozen(block.after_mlp, whole, matrix_of(block.down)))
        bias = block.down.bias
        bias = (
            torch.zeros(case.trace.d_model).to(case.trace.dtype) if bias is None else bias.detach()
        )
        case.agree(case.trace.mlp_bias(layer, i), frozen(block.after_mlp, whole, bias))
        total = case.trace.neurons(layer, i) @ values + case.trace.mlp_bias(layer, i)
        case.agree(total, case.seen.mlp[layer][i])
        case.agree(case.trace.mlp_output(layer, i), case.seen.mlp[layer][i])


def test_a_neuron_is_what_its_ablation_takes_away(case):
    layer, i = 1, 3
    block, a = case.blocks[layer], case.seen.neurons[layer][i]
    values = case.trace.neuron_values(layer, i)
    for n in range(0, a.numel(), 5):
        without = a.clone()
        without[n] = 0
        with torch.no_grad():
            lost = (block.down(a[None]) - block.down(without[None]))[0]
        theirs = frozen(block.after_mlp, case.seen.mlp_written[layer][i], lost)
        case.agree(case.trace.neurons(layer, i)[n] * values[n], theirs)


def test_the_stream_is_the_sum_of_what_was_written(case):
    for layer, i in case.places():
        trace = case.trace
        heads, neurons = trace.head_parts(layer, i), trace.neurons(layer, i)
        total = trace.residual(layer, "pre")[i] + heads.sum((0, 1)) + trace.attn_bias(layer, i)
        case.agree(total, case.trace.residual(layer, "mid")[i])
        total = total + neurons @ trace.neuron_values(layer, i) + trace.mlp_bias(layer, i)
        case.agree(total, case.seen.post[layer][i])


def test_neuron_directions_are_rows_of_the_input_projection(case):
    config = case.model.config
    for layer, block in enumerate(case.blocks):
        entry = {"gpt2": "c_fc", "phi": "fc1"}.get(config.model_type, "gate_proj")
        rows = matrix_of(getattr(block.mlp, entry)).T
        case.agree(case.trace.neuron_directions(layer, [0, 7, 19, 7]), rows[[0, 7, 19, 7]])
        assert case.trace.neuron_directions(layer, []).shape == (0, config.hidden_size)


def test_negative_positions_count_from_the_end(case):
    n = len(PROMPT_IDS)
    for derive in (case.trace.attention, case.trace.head_outputs, case.trace.neurons):
        assert torch.equal(derive(1, -2), derive(1, n - 2))
        assert torch.equal(derive(1), derive(1, n - 1))


def test_the_audit_finds_nothing(case):
    audit = case.trace.audit(4)
    assert not any(e != e for e in audit.errors.values()), "every identity was asked"
    assert audit.max_error < case.tolerance, str(audit)
    assert audit.exact
    table = str(audit).splitlines()
    for name, error in audit.errors.items():
        row = next(line for line in table if line.startswith(name))
        assert f"{error:.1e}" in row
    assert f"position 4 of {len(PROMPT_IDS)} tokens" in table[0]
    assert audit.to_markdown().count("\n|") == len(audit.errors) + 2


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_without_help_float64_models_agree_to_float32s_rounding(family):
    audit = vw.trace(make_model(family), None, PROMPT_IDS).audit()
    assert audit.exact
    assert audit.max_error < 1e-6


def test_an_audit_sees_a_wrong_trace():
    trace = vw.trace(make_model("llama", torch.float32), None, PROMPT_IDS)
    trace.record.layers[1].attention.value[0, 2] += 0.5
    audit = trace.audit()
    assert not audit.exact
    assert audit.worst["attention = Σ heads + bias"] == 1
    assert "NOT exact" in str(audit)


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_what_is_kept_goes_where_it_is_told(family):
    model = make_model(family)
    here, told = (vw.trace(model, None, PROMPT_IDS, keep_on=d) for d in (None, "cpu"))
    assert told.logit_parts(3, by="neuron") == here.logit_parts(3, by="neuron")
    # No second device to be had everywhere: the one without numbers shows that all of it moves.
    away = vw.trace(model, None, PROMPT_IDS, keep_on="meta")
    for layer in away.record.layers:
        kept = layer.attention
        assert {
            t.device.type for t in (layer.pre, layer.mid, kept.query, kept.key, kept.value)
        } == {"meta"}
    assert away.record.final.device.type == "meta"
    assert away.device == here.device


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "gemma2"])
def test_half_precision_models_are_traced_in_float32(family, dtype):
    model = make_model(family, dtype)
    trace = vw.trace(model, None, PROMPT_IDS)
    seen = look(model, PROMPT_IDS)
    assert trace.dtype == torch.float32
    assert (
        trace.attention(1).dtype == trace.residual(1).dtype == trace.logits().dtype == torch.float32
    )
    for layer in range(trace.n_layers):
        error = (trace.attention(layer) - seen.attentions[layer][:, -1].float()).abs().max()
        assert float(error) < 0.06
    audit = trace.audit()
    assert audit.exact, str(audit)


@pytest.mark.parametrize("n_tokens", [1, 2, 4, 6, 20])
@pytest.mark.parametrize("family", ["gpt2", "llama", "llama-wide", "qwen3", "olmo2"])
def test_prompts_of_any_length(family, n_tokens):
    ids = [(7 * i + 3) % 61 for i in range(n_tokens)][: 16 if family == "gpt2" else None]
    with float64_throughout():
        trace = vw.trace(make_model(family), None, ids)
        assert trace.audit().max_error < 1e-9


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda t: t.residual(0, "post-ish"), "use 'pre', 'mid' or 'post'"),
        (lambda t: t.residual(3), "layers 0 to 2"),
        (lambda t: t.attention(-1), "layers 0 to 2"),
        (lambda t: t.attention(0, 7), "has 7 tokens"),
        (lambda t: t.logits(-8), "has 7 tokens"),
        (lambda t: t.logit_parts(61), "vocabulary of 61"),
        (lambda t: t.logit_parts(-1), "vocabulary of 61"),
        (lambda t: t.logit_parts(1, 99), "vocabulary of 61"),
        (lambda t: t.logit_parts("the"), "Without a tokenizer"),
        (lambda t: t.logit_parts(1, by="layer"), "use 'component', 'head' or 'neuron'"),
        (lambda t: t.query_directions(0, heads=[4]), "head"),
        (lambda t: t.query_directions(0, sources=[7]), "has 7 tokens"),
        (lambda t: t.key_directions(0, sources=[-8]), "has 7 tokens"),
        (lambda t: t.neuron_directions(0, [20]), "neuron"),
    ],
)
def test_what_does_not_exist_is_named(ask, sentence):
    trace = vw.trace(make_model("llama", torch.float32), None, PROMPT_IDS)
    with pytest.raises(vw.VisitError, match=sentence):
        ask(trace)
