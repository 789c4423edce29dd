"""Prompts of every sort, and the model left as it was found."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import GPT2Model, PreTrainedModel

import visit_widget as vw
from tests.tiny import (
    N_VOCAB,
    PROMPT_IDS,
    blocks_of,
    final_norm_of,
    make_model,
    make_speaker,
    tokenizer,
)

FAMILIES = ("gpt2", "llama")


@pytest.mark.parametrize(
    "prompt",
    [
        PROMPT_IDS,
        tuple(PROMPT_IDS),
        torch.tensor(PROMPT_IDS),
        torch.tensor([PROMPT_IDS]),
        torch.tensor(PROMPT_IDS, dtype=torch.int32),
        np.array(PROMPT_IDS),
        [PROMPT_IDS],
    ],
    ids=["list", "tuple", "tensor", "row", "int32", "numpy", "nested"],
)
def test_ids_come_in_many_forms(prompt):
    trace = vw.trace(make_model("gpt2", torch.float32), None, prompt)
    assert trace.input_ids.tolist() == PROMPT_IDS
    assert trace.input_ids.dtype == torch.int64
    assert trace.prompt == ""


@pytest.mark.parametrize("family", FAMILIES)
def test_text_and_its_ids_trace_alike(family):
    model = make_speaker(family)
    text = vw.trace(model, tokenizer(), "the cat ran")
    ids = vw.trace(model, tokenizer(), tokenizer()("the cat ran")["input_ids"])
    assert text.input_ids.tolist() == ids.input_ids.tolist()
    assert torch.equal(text.logits(), ids.logits())
    assert text.tokens == ids.tokens == ["the", "␣cat", "␣ran"]
    assert text.prompt == ids.prompt == "the cat ran"


@pytest.mark.parametrize("family", FAMILIES)
def test_one_token_is_a_prompt(family):
    trace = vw.trace(make_model(family), None, [7])
    assert torch.equal(trace.attention(0), torch.ones(trace.n_heads, 1).double())
    assert trace.residual(1).shape == (1, 24)
    assert trace.head_parts(1).shape == (trace.n_heads, 1, 24)
    assert trace.audit().exact


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ([], "empty"),
        ("", "empty"),
        (torch.zeros(0, dtype=torch.long), "empty"),
        (torch.zeros(1, 0, dtype=torch.long), "empty"),
        (torch.tensor([[1, 2], [3, 4]]), r"one row of the batch|one prompt"),
        ([[1, 2], [3, 4]], "one prompt"),
        ([[1, 2], [3]], "one prompt"),
        (torch.ones(1, 1, 3, dtype=torch.long), "one prompt"),
        (["the cat", "a dog"], "one string, not a list"),
        (["the cat"], "one string, not a list"),
        ([1.0, 2.0], "whole numbers"),
        (torch.tensor([0.5]), "whole numbers"),
        ([True, False], "whole numbers"),
        ([1, 10**6], "vocabulary"),
        ([-1], "outside the model's vocabulary"),
        ([10**30], "vocabulary"),
        (5, "one prompt"),
        (None, "token ids"),
        ({"ids": [1]}, "input_ids"),
        (b"the cat", "bytes"),
        ("the " * 40, r"at most 16: shorten"),
        ([1] * 17, r"17 tokens but the model reads at most 16"),
    ],
)
def test_a_prompt_that_cannot_be_used_gets_one_sentence(prompt, sentence):
    with pytest.raises(vw.VisitError, match=sentence) as caught:
        vw.trace(make_speaker("gpt2"), tokenizer(), prompt)
    message = str(caught.value)
    assert message.endswith((".", "?"))
    assert "\n" not in message
    assert len(message) < 200


def test_the_first_id_beyond_the_vocabulary_is_refused():
    model = make_model("llama", torch.float32)
    vw.trace(model, None, [N_VOCAB - 1])
    with pytest.raises(vw.VisitError, match=f"Token id {N_VOCAB} is outside"):
        vw.trace(model, None, [0, N_VOCAB])


def test_the_longest_prompt_is_read():
    assert len(vw.trace(make_model("gpt2", torch.float32), None, [1] * 16)) == 16


def test_text_needs_a_tokenizer():
    with pytest.raises(vw.VisitError, match="needs a tokenizer"):
        vw.trace(make_model("gpt2", torch.float32), None, "the cat")


@pytest.mark.parametrize("model", [nn.Linear(2, 2), "gpt2", None], ids=["module", "name", "none"])
def test_only_a_model_of_transformers_is_traced(model):
    with pytest.raises(vw.VisitError, match="model of transformers"):
        vw.trace(model, None, [1])


def test_a_model_without_a_head_is_refused_with_the_way_to_load_it():
    headless = GPT2Model(make_model("gpt2").config)
    with pytest.raises(vw.UnsupportedModelError, match="AutoModelForCausalLM"):
        vw.trace(headless, None, [1])


# Left as found.


def state_of(model: PreTrainedModel) -> dict[str, Any]:
    """Everything about a model that tracing could disturb."""
    stores = [name for name in vars(nn.Module()) if name.endswith("_hooks")]
    return {
        "training": [m.training for m in model.modules()],
        "hooks": [{s: list(getattr(m, s).values()) for s in stores} for m in model.modules()],
        "attributes": [sorted(vars(m)) for m in model.modules()],
        "forward": [m.__dict__.get("forward") for m in model.modules()],
        "config": copy.deepcopy(model.config.to_dict()),
        "implementation": [
            m.config._attn_implementation for m in model.modules() if hasattr(m, "config")
        ],
        "weights": {k: v.clone() for k, v in model.state_dict().items()},
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "grad": [p.grad for p in model.parameters()],
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    weights, others = before.pop("weights"), after.pop("weights")
    assert before == after
    assert weights.keys() == others.keys()
    assert all(torch.equal(v, others[k]) for k, v in weights.items())


def disturb(model: PreTrainedModel) -> None:
    """Makes a model's state a mixed one: hooks, parts in training mode, parts frozen."""
    model.train()
    blocks_of(model)[1].mlp.eval()
    blocks_of(model)[0].attention.register_forward_hook(lambda *_: None)
    model.register_forward_pre_hook(lambda *_: None)
    for parameter in blocks_of(model)[0].block.parameters():
        parameter.requires_grad_(False)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("family", [*FAMILIES, "qwen3"])
def test_everything_asked_of_a_trace_leaves_the_model_as_found(family, implementation):
    model = make_model(family, torch.float32, implementation)
    # The first such call makes transformers put hooks of its own on the model, for good.
    model(torch.tensor([[1]]), output_attentions=True, output_hidden_states=True)
    disturb(model)
    before = state_of(model)
    trace = vw.trace(model, None, PROMPT_IDS)
    assert_same(dict(before), state_of(model))
    trace.audit()
    trace.logit_parts(3, by="neuron")
    trace.query_directions(0)
    trace.key_directions(1)
    trace.flow(layers=[0, 1])
    vw.LogitLens(model).project(trace.residual(1))
    assert_same(before, state_of(model))


class BrokenError(Exception):
    """What a test's hook raises."""


PLACES: dict[str, Callable[[PreTrainedModel], nn.Module]] = {
    "embedding": lambda m: m.get_input_embeddings(),
    "first attention": lambda m: blocks_of(m)[0].attention,
    "second attention": lambda m: blocks_of(m)[1].attention,
    "output projection": lambda m: blocks_of(m)[1].out,
    "down projection": lambda m: blocks_of(m)[0].down,
    "final norm": final_norm_of,
    "unembedding": lambda m: m.get_output_embeddings(),
}


@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_pass_that_fails_leaves_the_model_as_found(family, place, error):
    model = make_model(family, torch.float32, "sdpa")
    disturb(model)
    vw.trace(model, None, PROMPT_IDS)  # so that what fails is the pass itself, not the search

    def fail(*_: Any) -> None:
        raise error

    handle = PLACES[place](model).register_forward_hook(fail)
    before = state_of(model)
    with pytest.raises(error):
        vw.trace(model, None, PROMPT_IDS)
    assert_same(before, state_of(model))
    handle.remove()
    assert vw.trace(model, None, PROMPT_IDS).audit().exact


@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_search_that_fails_leaves_the_model_as_found(family, error):
    model = make_model(family, torch.float32, "sdpa")
    disturb(model)

    def fail(*_: Any) -> None:
        raise error

    handle = blocks_of(model)[1].mlp.register_forward_hook(fail)
    before = state_of(model)
    with pytest.raises(error):
        vw.trace(model, None, PROMPT_IDS)
    assert_same(before, state_of(model))
    handle.remove()
    vw.trace(model, None, PROMPT_IDS)


@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "ask",
    [
        lambda t: t.audit(),
        lambda t: t.neurons(1),
        lambda t: t.neuron_directions(1, [2]),
        lambda t: t.query_directions(1),
        lambda t: t.key_directions(1),
        lambda t: t.flow(layers=[1]),
    ],
    ids=["audit", "neurons", "neuron directions", "queries", "keys", "flow"],
)
def test_a_question_that_fails_leaves_the_model_as_found(ask, error):
    model = make_model("llama", torch.float32, "sdpa")
    disturb(model)
    trace = vw.trace(model, None, PROMPT_IDS)

    def fail(*_: Any) -> None:
        raise error

    handles = [
        part.register_forward_hook(fail)
        for part in (blocks_of(model)[1].attention.k_proj, blocks_of(model)[1].mlp.gate_proj)
    ]
    before = state_of(model)
    with pytest.raises(error):
        ask(trace)
    assert_same(before, state_of(model))
    for handle in handles:
        handle.remove()
    ask(trace)


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_is_off_while_tracing_a_model_in_training(family):
    options = {"attention_dropout": 0.5}
    if family == "gpt2":
        options = {"attn_pdrop": 0.5, "resid_pdrop": 0.5, "embd_pdrop": 0.5}
    model = make_model(family, torch.float32, "sdpa", **options)
    expected = vw.trace(model, None, PROMPT_IDS)
    model.train()
    trace = vw.trace(model, None, PROMPT_IDS)
    for layer in range(trace.n_layers):
        assert torch.equal(trace.residual(layer), expected.residual(layer))
        assert torch.equal(trace.attention(layer), expected.attention(layer))
        assert torch.equal(trace.neurons(layer), expected.neurons(layer))
        directions = trace.query_directions(layer), expected.query_directions(layer)
        assert torch.equal(*directions)
    assert torch.equal(trace.logits(), expected.logits())
    assert trace.audit().exact
    assert model.training


def test_dropout_was_not_off_before():
    """The test above can fail: this model in training mode says something else each time."""
    options = {"attn_pdrop": 0.5, "resid_pdrop": 0.5, "embd_pdrop": 0.5}
    model = make_model("gpt2", torch.float32, "sdpa", **options).train()
    ids = torch.tensor([PROMPT_IDS])
    with torch.no_grad():
        assert not torch.equal(model(ids).logits, model(ids).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trace_keeps_what_it_saw_when_the_model_is_trained_on(family):
    model = make_model(family, torch.float32)
    trace = vw.trace(model, None, PROMPT_IDS)
    before = trace.residual(1).clone()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    assert torch.equal(trace.residual(1), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_users_hook_that_edits_the_stream_is_part_of_the_traced_pass(family):
    model = make_model(family, torch.float32)
    plain = vw.trace(model, None, PROMPT_IDS)

    def double_the_mlp(_module: nn.Module, _args: Any, output: torch.Tensor) -> torch.Tensor:
        return output * 2

    blocks_of(model)[0].mlp.register_forward_hook(double_the_mlp)
    with torch.no_grad():
        expected = model(torch.tensor([PROMPT_IDS])).logits[0]
    trace = vw.trace(model, None, PROMPT_IDS)
    assert not torch.allclose(plain.logits(), expected[-1])
    assert torch.allclose(trace.logits(), expected[-1], atol=1e-5)


def test_two_threads_trace_one_model_without_mixing():
    model = make_model("llama", torch.float32, "sdpa")
    prompts = [[3, 5, 7, 9], [11, 2, 60, 1, 8], [4], [9, 9, 9]]
    expected = [vw.trace(model, None, p).residual(2) for p in prompts]
    wrong: list[Any] = []

    def work(which: int) -> None:
        for _ in range(8):
            trace = vw.trace(model, None, prompts[which])
            ok = torch.equal(trace.residual(2), expected[which]) and trace.audit().exact
            trace.query_directions(1)
            if not ok:
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert model.config._attn_implementation == "sdpa"


def test_two_models_of_one_family_do_not_mix():
    a, b = make_model("gpt2", torch.float32), make_model("gpt2", torch.float32, seed=1)
    first, second = vw.trace(a, None, PROMPT_IDS), vw.trace(b, None, PROMPT_IDS)
    assert not torch.allclose(first.attention(0), second.attention(0))
    assert first.audit().exact
    assert second.audit().exact


def test_a_changed_model_is_searched_anew():
    model = make_model("llama", torch.float32)
    vw.trace(model, None, PROMPT_IDS)
    old = blocks_of(model)[0].mlp
    model.model.layers[0].mlp = copy.deepcopy(old)
    trace = vw.trace(model, None, PROMPT_IDS)
    assert trace.anatomy.blocks[0].mlp is not old
    assert trace.audit().exact


def test_a_trace_keeps_no_tensor_of_tokens_by_tokens():
    n = 300
    model = make_model("llama", torch.float32, "sdpa", max_position_embeddings=512)
    trace = vw.trace(model, None, [i % N_VOCAB for i in range(n)])
    kept: list[torch.Tensor] = []
    todo: list[Any] = [trace.record]
    while todo:
        value = todo.pop()
        if isinstance(value, torch.Tensor):
            kept.append(value)
        elif isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, (list, tuple)):
            todo += value
        elif hasattr(value, "__dataclass_fields__"):
            todo += [getattr(value, f) for f in value.__dataclass_fields__]
    assert len(kept) > 10
    assert not [t.shape for t in kept if list(t.shape).count(n) > 1]
    assert max(t.untyped_storage().nbytes() for t in kept) < n * n * 4
