"""The logit lens against plain code on the model's norm and unembedding."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import visit_widget as vw
from tests.tiny import (
    FAMILIES,
    N_VOCAB,
    PROMPT_IDS,
    SUPPORTED,
    final_norm_of,
    float64_throughout,
    frozen,
    look,
    make_model,
)


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Iterator[PreTrainedModel]:
    with float64_throughout():
        yield make_model(request.param)


def some_vectors(n: int = 9, dtype: torch.dtype = torch.float64) -> Tensor:
    x = torch.randn(n, 24, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return (x * torch.logspace(-2, 2, n, dtype=torch.float64)[:, None]).to(dtype)


def own_logits(model: PreTrainedModel, x: Tensor) -> Tensor:
    """U · N_f(x) + b, the norm computed on x itself; capped where the model caps."""
    norm, head = final_norm_of(model), model.get_output_embeddings()
    normed = frozen(norm, x, x)
    if getattr(norm, "bias", None) is not None:
        normed = normed + norm.bias
    logits = torch.einsum("nd,vd->nv", normed, head.weight)
    if head.bias is not None:
        logits = logits + head.bias
    cap = getattr(model.config, "final_logit_softcapping", None)
    return (cap * torch.tanh(logits / cap) if cap else logits).detach()


def own_stream_logits(model: PreTrainedModel, x: Tensor, stream: Tensor) -> Tensor:
    """The same with the norm frozen at a stream, and no constants."""
    weight = model.get_output_embeddings().weight
    return (frozen(final_norm_of(model), stream, x) @ weight.T).detach()


def test_own_norm_is_the_models_head_on_the_vector_itself(model):
    x = some_vectors()
    assert torch.allclose(vw.LogitLens(model).logits(x), own_logits(model, x), atol=1e-9)
    shaped = vw.LogitLens(model).logits(x.reshape(3, 3, 24))
    assert shaped.shape == (3, 3, N_VOCAB)
    assert torch.allclose(shaped.reshape(9, -1), own_logits(model, x), atol=1e-9)
    one = vw.LogitLens(model).logits(x[4])
    assert torch.allclose(one, own_logits(model, x[4:5])[0], atol=1e-9)


def test_stream_norm_is_frozen_at_the_stream(model):
    x, stream = some_vectors(), some_vectors()[6] + 1
    lens = vw.LogitLens(model)
    ours = lens.logits(x, norm="stream", stream=stream)
    assert torch.allclose(ours, own_stream_logits(model, x, stream), atol=1e-9)
    assert not torch.allclose(ours, lens.logits(x), atol=1e-3), "the two readings differ"


def test_stream_logits_of_parts_add_up(model):
    parts, lens = some_vectors(), vw.LogitLens(model)
    whole = parts.sum(0)
    summed = lens.logits(parts, "stream", whole).sum(0)
    assert torch.allclose(summed, lens.logits(whole, "stream", whole), atol=1e-9)
    assert not lens.logits(torch.zeros(1, 24).double(), "stream", whole).any(), "no constants"


@pytest.mark.parametrize("norm", ["own", "stream"])
def test_project_reads_top_bottom_and_targets(model, norm):
    x, stream, targets = some_vectors(), some_vectors()[3], [0, 60, 17, 17]
    logits = own_logits(model, x) if norm == "own" else own_stream_logits(model, x, stream)
    said = vw.LogitLens(model).project(x, 7, 4, targets, norm, stream)
    probabilities = logits.softmax(-1)
    for row in range(len(x)):
        order = sorted(range(N_VOCAB), key=lambda t: -float(logits[row, t]))
        assert said.top_ids[row].tolist() == order[:7]
        assert said.bottom_ids[row].tolist() == order[::-1][:4]
        for ids, values, chances in (
            (said.top_ids, said.top_logits, said.top_probabilities),
            (said.bottom_ids, said.bottom_logits, said.bottom_probabilities),
            (torch.tensor([targets] * 9), said.target_logits, said.target_probabilities),
        ):
            assert torch.allclose(values[row], logits[row, ids[row]], atol=1e-9)
            assert torch.allclose(chances[row], probabilities[row, ids[row]], atol=1e-9)
        assert said.target_ranks[row].tolist() == [order.index(t) + 1 for t in targets]


def test_the_lens_of_the_last_stream_is_the_models_prediction(model):
    trace, logits = vw.trace(model, None, PROMPT_IDS), look(model, PROMPT_IDS).logits
    said = vw.LogitLens(model).project(trace.residual(trace.n_layers - 1), k=N_VOCAB)
    assert torch.equal(said.top_ids[:, 0], logits.argmax(-1))
    assert torch.allclose(said.top_logits, logits.sort(descending=True).values, atol=1e-9)
    chances = logits.softmax(-1).sort(descending=True).values
    assert torch.allclose(said.top_probabilities, chances, atol=1e-9)
    assert torch.allclose(said.top_probabilities.sum(-1), torch.ones(len(PROMPT_IDS)).double())


@pytest.mark.parametrize("memory", [1, 2000, 2 * N_VOCAB * 8 * 4])
@pytest.mark.parametrize("family", SUPPORTED)
def test_a_tiny_memory_bound_changes_nothing(family, memory):
    model, x, stream = make_model(family), some_vectors(), some_vectors()[2]
    wide, narrow = vw.LogitLens(model), vw.LogitLens(model, memory=memory)
    for norm in ("own", "stream"):
        assert torch.allclose(
            wide.logits(x, norm, stream), narrow.logits(x, norm, stream), atol=1e-12
        )
        a = wide.project(x, 5, 5, [1, 2], norm, stream)
        b = narrow.project(x, 5, 5, [1, 2], norm, stream)
        for name, column in vars(a).items():
            assert column.shape[0] == len(x)
            assert torch.allclose(column, getattr(b, name), atol=1e-12), name


@pytest.mark.parametrize("memory", [4096, 2**20])
def test_no_more_logits_are_made_at_once_than_memory_allows(monkeypatch, memory):
    model, lens = make_model("llama"), vw.LogitLens(make_model("llama"), memory=memory)
    largest = []
    make = lens.readout._unembed
    monkeypatch.setattr(
        lens.readout, "_unembed", lambda *a: largest.append(make(*a)) or largest[-1]
    )
    lens.project(some_vectors(100))
    assert sum(len(made) for made in largest) == 100
    assert max(made.numel() * made.element_size() for made in largest) <= memory
    assert len(largest) == (25 if memory == 4096 else 1)
    assert model.config.vocab_size == N_VOCAB


@pytest.mark.parametrize("memory", [2**28, 3000])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ["gpt2", "llama", "llama-head-bias"])
def test_half_precision_weights_are_read_in_float32(family, dtype, memory):
    """Against the same rounded weights in float32: nothing else is rounded."""
    half = make_model(family, dtype)
    wide = make_model(family, dtype).float()
    x, stream = some_vectors(dtype=torch.float32), some_vectors(dtype=torch.float32)[3]
    lens = vw.LogitLens(half, memory=memory)
    assert lens.logits(x).dtype == torch.float32
    assert torch.allclose(lens.logits(x), own_logits(wide, x), atol=1e-4)
    ours = lens.logits(x, "stream", stream)
    theirs = own_stream_logits(wide, x, stream)
    assert torch.allclose(ours, theirs, atol=1e-4 * float(theirs.abs().max()))
    assert torch.equal(lens.project(x, 3).top_ids, own_logits(wide, x).topk(3).indices)
    assert lens.logits(x.to(dtype)).dtype == torch.float32


class OtherLinear(torch.nn.Linear):
    """A head of a kind of its own, as adapters and quantisation bring."""


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_a_head_of_another_kind_is_applied_as_it_is(dtype):
    usual, other = make_model("llama-head-bias", dtype), make_model("llama-head-bias", dtype)
    other.lm_head.__class__ = OtherLinear
    x, tolerance = some_vectors(), 1e-9 if dtype == torch.float64 else 0.1
    for norm in ("own", "stream"):
        a = vw.LogitLens(usual).logits(x, norm, x[2])
        b = vw.LogitLens(other).logits(x, norm, x[2])
        assert float((a - b).norm() / a.norm()) < tolerance
    trace, expected = vw.trace(other, None, PROMPT_IDS), vw.trace(usual, None, PROMPT_IDS)
    parts, theirs = trace.logit_parts(3, 4, by="head"), expected.logit_parts(3, 4, by="head")
    assert parts == pytest.approx(theirs, abs=1e-6 if dtype == torch.float64 else 0.1)


def test_equal_logits_share_a_rank():
    model = make_model("llama")
    with torch.no_grad():
        model.lm_head.weight[7] = model.lm_head.weight[9]
    said = vw.LogitLens(model).project(some_vectors(), targets=[7, 9])
    assert torch.equal(said.target_ranks[:, 0], said.target_ranks[:, 1])


def test_nothing_and_more_than_there_is_can_be_asked():
    lens = vw.LogitLens(make_model("llama"))
    said = lens.project(some_vectors(), k=1000, bottom=1000)
    assert said.top_ids.shape == said.bottom_ids.shape == (9, N_VOCAB)
    assert said.target_ranks.shape == (9, 0)
    none = lens.project(torch.zeros(0, 24), k=3, targets=[1])
    assert none.top_ids.shape == (0, 3)
    assert none.target_ranks.shape == (0, 1)
    assert lens.project(some_vectors(), k=0).top_ids.shape == (9, 0)
    assert lens.logits(torch.zeros(0, 24)).shape == (0, N_VOCAB)


def test_a_zero_vector_says_the_constants_alone():
    for family in SUPPORTED:
        logits = vw.LogitLens(make_model(family)).logits(torch.zeros(24))
        assert bool(logits.isfinite().all())


def test_the_models_own_hooks_and_weights_are_left_alone():
    model = make_model("gpt2")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    calls = []
    handle = final_norm_of(model).register_forward_hook(lambda *_: calls.append(1))
    vw.LogitLens(model).project(some_vectors())
    handle.remove()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda lens, x: lens.project(x[:, :23]), "24 numbers, not 23"),
        (lambda lens, x: lens.logits(x[:, :23]), "24 numbers, not 23"),
        (lambda lens, x: lens.logits(x, norm="none"), "use 'own' or 'stream'"),
        (lambda lens, x: lens.logits(x, norm="stream"), "pass that stream"),
        (lambda lens, x: lens.logits(x, "stream", x[0, :9]), "24 numbers, not 9"),
        (lambda lens, x: lens.project(x[0]), r"\(n, 24\)"),
        (lambda lens, x: lens.project(x, targets=[N_VOCAB]), "vocabulary of 61"),
        (lambda lens, x: lens.project(x, targets=[-1]), "vocabulary of 61"),
        (lambda lens, x: lens.project(x, k=-1), "k=-1"),
        (lambda lens, x: lens.project(x, bottom=-2), "bottom=-2"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(ask, sentence):
    with pytest.raises(vw.VisitError, match=sentence):
        ask(vw.LogitLens(make_model("llama")), some_vectors())


@pytest.mark.parametrize("at", [-1, 3])
def test_what_the_model_says_at_a_position_is_its_own(model, at):
    trace, lens = vw.trace(model, None, PROMPT_IDS), vw.LogitLens(model)
    said = lens.readout.said(trace, trace.position(at))
    assert torch.allclose(said, look(model, PROMPT_IDS).logits[at], atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_coarse_pass_is_read_finer_than_it_spoke(dtype):
    model = make_model("llama", dtype)
    trace = vw.trace(model, None, PROMPT_IDS)
    said = vw.LogitLens(model).readout.said(trace, len(trace) - 1)
    assert said.dtype == torch.float32
    assert not torch.equal(said, trace.record.logits.float())
    near = torch.finfo(dtype).eps * 8 * float(said.abs().max())
    assert torch.allclose(said, trace.record.logits.float(), atol=near)


def test_the_slope_of_all_logits_is_what_differences_say(model):
    """∂ log Σ exp (logits) / ∂ stream, by the model's own head on streams moved a little."""
    lens, stream = vw.LogitLens(model), some_vectors()[2]
    slope = lens.readout.slope(stream, lens.logits(stream))
    for direction in torch.eye(24).double()[[0, 5, 23]] + some_vectors()[:3] / 9:
        step = 1e-5 * direction
        up, down = (own_logits(model, (stream + s)[None]).logsumexp(-1) for s in (step, -step))
        assert float(slope @ direction) == pytest.approx(float((up - down) / 2e-5), abs=1e-6)
