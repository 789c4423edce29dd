"""Direct logit attribution: the parts of a logit, against the model's logits and ablations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import visit_widget as vw
from tests.tiny import (
    FAMILIES,
    PROMPT_IDS,
    Block,
    blocks_of,
    final_norm_of,
    float64_throughout,
    frozen,
    look,
    make_model,
    make_speaker,
    matrix_of,
    tokenizer,
)

TARGET, FOIL = 11, 30


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Iterator[PreTrainedModel]:
    with float64_throughout():
        yield make_model(request.param)


def uncapped_logits(model: PreTrainedModel) -> Tensor:
    """(T, n_vocab) before a final softcap."""
    seen = look(model, PROMPT_IDS)
    if not getattr(model.config, "final_logit_softcapping", None):
        return seen.logits
    return (final_norm_of(model)(seen.post[-1]) @ model.lm_head.weight.T).detach()


def own_logit(model: PreTrainedModel, final: Tensor, part: Tensor, target: int) -> float:
    """What a summand of the last stream adds to a logit: own norm frozen at `final`, row of U."""
    row = model.get_output_embeddings().weight[target].detach()
    return float(frozen(final_norm_of(model), final, part) @ row)


@pytest.mark.parametrize("by", ["component", "head", "neuron"])
def test_parts_sum_to_the_models_logit(model, by):
    trace, logits = vw.trace(model, None, PROMPT_IDS), uncapped_logits(model)
    for i in (0, 2, -1):
        for target in (0, TARGET, 60):
            parts = trace.logit_parts(target, position=i, by=by)
            assert sum(parts.values()) == pytest.approx(float(logits[i, target]), abs=1e-9)
        parts = trace.logit_parts(TARGET, FOIL, position=i, by=by)
        difference = float(logits[i, TARGET] - logits[i, FOIL])
        assert sum(parts.values()) == pytest.approx(difference, abs=1e-9)


def names_of(model: PreTrainedModel, by: str) -> set[str]:
    """The node ids that a split has for this model."""
    names = {"embed"}
    for n, block in enumerate(blocks_of(model)):
        heads = [f"L{n}.H{h}" for h in range(model.config.num_attention_heads)]
        bias = block.out.bias is not None
        names |= (
            {*heads, *([f"L{n}.attn.bias"] if bias else [])} if by == "head" else {f"L{n}.attn"}
        )
        neurons = [f"L{n}.N{k}" for k in range(len(matrix_of(block.down)))]
        bias = block.down.bias is not None
        names |= (
            {*neurons, *([f"L{n}.mlp.bias"] if bias else [])} if by == "neuron" else {f"L{n}.mlp"}
        )
    if getattr(final_norm_of(model), "bias", None) is not None:
        names.add("norm.bias")
    if model.get_output_embeddings().bias is not None:
        names.add("logits.bias")
    return names


@pytest.mark.parametrize("by", ["component", "head", "neuron"])
def test_parts_are_named_by_node_ids(model, by):
    parts = vw.trace(model, None, PROMPT_IDS).logit_parts(TARGET, by=by)
    assert set(parts) == names_of(model, by)


def test_a_component_adds_what_it_wrote(model):
    trace, seen = vw.trace(model, None, PROMPT_IDS), look(model, PROMPT_IDS)
    i = 4
    parts = trace.logit_parts(TARGET, position=i)
    final = seen.post[-1][i]
    assert parts["embed"] == pytest.approx(
        own_logit(model, final, seen.pre[0][i], TARGET), abs=1e-9
    )
    for n in range(trace.n_layers):
        for name, written in (("attn", seen.attention[n][i]), ("mlp", seen.mlp[n][i])):
            expected = own_logit(model, final, written, TARGET)
            assert parts[f"L{n}.{name}"] == pytest.approx(expected, abs=1e-9)


def lost(module: torch.nn.Module, x: Tensor, zeroed: slice | int) -> Tensor:
    """What a projection writes less when part of its input is zero."""
    without = x.clone()
    without[zeroed] = 0
    with torch.no_grad():
        return module(x[None])[0] - module(without[None])[0]


def test_a_head_adds_what_its_ablation_takes_from_the_logit(model):
    trace, seen, i = vw.trace(model, None, PROMPT_IDS), look(model, PROMPT_IDS), 5
    parts = trace.logit_parts(TARGET, FOIL, position=i, by="head")
    final = seen.post[-1][i]
    for n, block in enumerate(blocks_of(model)):
        z = seen.heads[n][i]
        width = z.numel() // trace.n_heads
        for h in range(trace.n_heads):
            gone = lost(block.out, z, slice(h * width, (h + 1) * width))
            gone = frozen(block.after_attention, seen.written[n][i], gone)
            expected = own_logit(model, final, gone, TARGET) - own_logit(model, final, gone, FOIL)
            assert parts[f"L{n}.H{h}"] == pytest.approx(expected, abs=1e-9)


def test_a_neuron_adds_what_its_ablation_takes_from_the_logit(model):
    trace, seen, i = vw.trace(model, None, PROMPT_IDS), look(model, PROMPT_IDS), 1
    parts = trace.logit_parts(TARGET, position=i, by="neuron")
    final = seen.post[-1][i]
    block: Block
    for n, block in enumerate(blocks_of(model)):
        for k in range(0, trace.d_mlp, 3):
            gone = lost(block.down, seen.neurons[n][i], k)
            gone = frozen(block.after_mlp, seen.mlp_written[n][i], gone)
            expected = own_logit(model, final, gone, TARGET)
            assert parts[f"L{n}.N{k}"] == pytest.approx(expected, abs=1e-9)


def test_the_constants_are_the_biases(model):
    parts = vw.trace(model, None, PROMPT_IDS).logit_parts(TARGET)
    head = model.get_output_embeddings()
    if head.bias is not None:
        assert parts["logits.bias"] == pytest.approx(float(head.bias.detach()[TARGET]))
    bias = getattr(final_norm_of(model), "bias", None)
    if bias is not None:
        bias = bias.detach()
        assert parts["norm.bias"] == pytest.approx(float(head.weight[TARGET].detach() @ bias))


def test_a_token_against_itself_is_nothing():
    parts = vw.trace(make_model("gpt2"), None, PROMPT_IDS).logit_parts(TARGET, TARGET, by="head")
    assert not any(parts.values())


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_target_may_be_given_as_text(family):
    trace = vw.trace(make_speaker(family), tokenizer(), "the cat sat")
    cat, dog = tokenizer().convert_tokens_to_ids(["Ġcat", "Ġdog"])
    assert trace.logit_parts(" cat", " dog") == trace.logit_parts(cat, dog)
    assert sum(trace.logit_parts(" cat").values()) == pytest.approx(
        float(trace.logits()[cat]), abs=1e-4
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cat dog", "not one token"),
        ("", "nothing"),
        ("ran", "' ran', with a space before it"),
        (" zebra", "not one"),
    ],
)
def test_a_text_that_is_not_one_token_is_refused(text, sentence):
    trace = vw.trace(make_speaker(), tokenizer(), "the cat sat")
    with pytest.raises(vw.VisitError, match=sentence):
        trace.logit_parts(text)
