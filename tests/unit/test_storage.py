"""Traces copied, pickled, saved and loaded: the same numbers to the last bit, or a sentence."""

from __future__ import annotations

import copy
import json
import pickle
import threading

import pytest
import torch
from safetensors.torch import safe_open, save_file

import visit_widget as vw
from tests.families.configs import build
from tests.tiny import PROMPT_IDS, make_model, make_speaker, tokenizer
from visit_widget.trace.record import HIDDEN

IDS = [3, 17, 42, 5, 17, 6, 1]
# Heard through the attention interface and by operations, sequential and parallel, with softcaps,
# biases by distance, sinks, experts, and layers that do not attend.
FAMILIES = ["gpt2", "gptj", "bloom", "falcon", "mixtral", "gemma2", "gpt_oss", "jamba", "falcon_h1"]


@pytest.fixture(scope="module", params=FAMILIES)
def traced(request):
    torch.manual_seed(0)
    return vw.trace(build(request.param), None, IDS)


def everything(trace: vw.Trace) -> dict[str, torch.Tensor]:
    """All that a trace derives at its last position and an earlier one."""
    found = {"logits": trace.logits(), "parts": torch.tensor([*trace.logit_parts(3).values()])}
    for layer in range(trace.n_layers):
        found[f"post {layer}"] = trace.residual(layer)
        found[f"mixer {layer}"] = trace.mixer_output(layer)
        for position in (-1, 3):
            at = f"{layer} {position}"
            found[f"mid {at}"] = trace.mid(layer, position)
            if trace.attends(layer):
                found[f"rows {at}"] = trace.attention(layer, position)
                found[f"heads {at}"] = trace.head_outputs(layer, position)
            if trace.anatomy.blocks[layer].mlp is not None:
                found[f"neurons {at}"] = trace.neurons(layer, position)
        if trace.attends(layer):
            found[f"queries {layer}"] = trace.query_directions(layer)
            found[f"keys {layer}"] = trace.key_directions(layer)
    return found


def assert_same(ours: vw.Trace, theirs: vw.Trace) -> None:
    ours_found, theirs_found = everything(ours), everything(theirs)
    assert ours_found.keys() == theirs_found.keys()
    for name, value in ours_found.items():
        assert torch.equal(value, theirs_found[name]), name


def test_a_pickle_gives_the_same_to_the_last_bit(traced):
    everything(traced)  # what was derived already is no hindrance
    assert_same(pickle.loads(pickle.dumps(traced)), traced)


def test_a_deep_copy_gives_the_same_with_tensors_of_its_own(traced):
    made = copy.deepcopy(traced)
    assert_same(made, traced)
    assert made.model is traced.model
    assert made.record.final.data_ptr() != traced.record.final.data_ptr()


def test_a_file_and_the_model_give_the_same_to_the_last_bit(traced, tmp_path):
    path = traced.save(tmp_path / "a.safetensors")
    assert_same(vw.load_trace(path, model=traced.model), traced)


def test_without_its_model_a_trace_gives_what_is_right_or_says_what_it_needs(traced, tmp_path):
    bare = vw.load_trace(traced.save(tmp_path / "a.safetensors"))
    last, given = traced.n_layers - 1, 0
    for layer in range(traced.n_layers):
        assert torch.equal(bare.residual(layer), traced.residual(layer))
        assert bare.attends(layer) == traced.attends(layer)
        for name in ("mid", "attention", "attention_output", "mlp_output", "mixer_output"):
            for position in (-1, 2):
                try:
                    ours = getattr(bare, name)(layer, position)
                except vw.VisitError:
                    continue
                theirs = getattr(traced, name)(layer, position)
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
                given += 1
    assert given >= 2 * traced.n_layers
    for ask in (
        lambda: bare.mlp_row(last), lambda: bare.logit_parts(3), bare.flow,
        bare.routes, bare.audit, lambda: bare.logits(0), lambda: vw.visit(bare),
        lambda: bare.attention_input(0), lambda: bare.final_norm,
    ):  # fmt: skip
        with pytest.raises(vw.VisitError, match=r"load_trace\(path, model=model"):
            ask()


@pytest.mark.parametrize("family", ["gemma2", "gpt_oss"])
def test_attention_that_is_no_plain_softmax_is_not_given_without_its_model(family, tmp_path):
    torch.manual_seed(0)
    trace = vw.trace(build(family), None, IDS)
    bare = vw.load_trace(trace.save(tmp_path / "a.safetensors"))
    with pytest.raises(vw.VisitError, match="no plain softmax"):
        bare.attention(0)


def test_a_trace_without_its_model_is_saved_and_copied_too(tmp_path):
    trace = vw.trace(make_speaker("llama"), tokenizer(), "the cat sat on the")
    bare = vw.load_trace(trace.save(tmp_path / "a.safetensors"))
    again = vw.load_trace(bare.save(tmp_path / "b.safetensors"), trace.model, trace.tokenizer)
    assert_same(again, trace)
    for made in (bare, pickle.loads(pickle.dumps(bare)), copy.deepcopy(bare), copy.copy(bare)):
        assert made.tokens == trace.tokens
        assert made.prompt == trace.prompt
        assert torch.equal(made.attention(1), bare.attention(1))
        assert "without its model" in repr(made)
        with pytest.raises(vw.VisitError, match="needs the model"):
            made.head_outputs(0)


def test_text_is_read_with_the_tokenizer_alone(tmp_path):
    trace = vw.trace(make_speaker("gpt2"), tokenizer(), "the cat sat")
    path = trace.save(tmp_path / "a.safetensors")
    assert vw.load_trace(path, tokenizer=tokenizer()).token(" dog") == trace.token(" dog")
    with pytest.raises(vw.VisitError, match="tokenizer"):
        vw.load_trace(path).token(" dog")


def test_another_model_is_refused(tmp_path):
    path = vw.trace(make_model("llama"), None, PROMPT_IDS).save(tmp_path / "a.safetensors")
    nudged = make_model("llama")
    with torch.no_grad():
        nudged.model.layers[1].mlp.up_proj.weight.mul_(1.001)
    others = [
        make_model("llama", seed=1), make_model("gpt2"), make_model("llama", dtype=torch.float32),
        make_model("llama", num_hidden_layers=2), nudged,
    ]  # fmt: skip
    for other in others:
        with pytest.raises(vw.VisitError, match="not the model that the trace was made of"):
            vw.load_trace(path, model=other)
    with pytest.raises(vw.VisitError, match="model of transformers"):
        vw.load_trace(path, model=torch.nn.Linear(2, 2))


def test_a_model_that_computes_something_else_with_the_same_weights_is_refused(tmp_path):
    model = make_model("llama")
    path = vw.trace(model, None, PROMPT_IDS).save(tmp_path / "a.safetensors")
    model.model.layers[1].mlp.down_proj.register_forward_hook(lambda _m, _a, output: output + 1)
    with pytest.raises(vw.VisitError, match="what it computes is off"):
        vw.load_trace(path, model=model)


def test_what_is_no_trace_gets_a_sentence(tmp_path):
    good = vw.trace(make_model("gpt2"), None, PROMPT_IDS).save(tmp_path / "good.safetensors")
    with safe_open(str(good), "pt") as file:
        about = json.loads(file.metadata()["visit_widget"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def written(name: str, header: dict[str, str], kept: dict[str, torch.Tensor]) -> str:
        save_file(kept, tmp_path / name, header)
        return str(tmp_path / name)

    (tmp_path / "text").write_text("hello")
    (tmp_path / "cut").write_bytes(good.read_bytes()[:-100])
    damaged = json.dumps({**about, "layers": [*about["layers"][:1], {}]})
    newer = json.dumps({**about, "version": 99})
    for path, sentence in [
        (tmp_path / "none", "no file"),
        (tmp_path, "no file"),
        (tmp_path / "text", "no trace"),
        (tmp_path / "cut", "no trace"),
        (written("weights", {}, {"a": torch.ones(2)}), "no trace"),
        (written("other", {"visit_widget": "[1]"}, {"a": torch.ones(2)}), "no trace"),
        (written("newer", {"visit_widget": newer}, tensors), "version 99"),
        (written("damaged", {"visit_widget": damaged}, tensors), "damaged"),
        (written("fewer", {"visit_widget": json.dumps(about)}, {"a": torch.ones(2)}), "damaged"),
    ]:
        with pytest.raises(vw.VisitError, match=sentence):
            vw.load_trace(path)


def test_a_file_that_cannot_be_written_gets_a_sentence_and_leaves_nothing(tmp_path):
    trace = vw.trace(make_model("gpt2"), None, PROMPT_IDS)
    for place in (tmp_path / "none" / "a", tmp_path):
        with pytest.raises(vw.VisitError, match="another place"):
            trace.save(place)
    assert list(tmp_path.iterdir()) == []


def test_a_file_holds_each_tensor_once(tmp_path):
    trace = vw.trace(make_model("llama"), None, PROMPT_IDS)
    with safe_open(str(trace.save(tmp_path / "a")), "pt") as file:
        names = set(file.keys())
    # All layers share one rotary embedding.
    assert len([n for n in names if ".arguments." in n and n.startswith("0.")]) >= 2
    assert not [n for n in names if ".arguments." in n and not n.startswith("0.")]


def test_a_model_that_cannot_be_pickled_is_left_behind_with_a_warning():
    model = make_model("gpt2")
    trace = vw.trace(model, None, PROMPT_IDS)
    lock = threading.Lock()
    model.transformer.register_forward_hook(lambda *_: lock.locked() and None)
    with pytest.warns(UserWarning, match="pickled without it"):
        made = pickle.loads(pickle.dumps(trace))
    assert torch.equal(made.residual(1), trace.residual(1))
    with pytest.raises(vw.VisitError, match="needs the model"):
        made.neurons(0)


def test_a_tokenizer_that_cannot_be_pickled_leaves_its_texts():
    class Locked:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __getattr__(self, name):
            return getattr(tokenizer(), name)

        def __call__(self, *given, **options):
            return tokenizer()(*given, **options)

        def __len__(self) -> int:
            return len(tokenizer())

    trace = vw.trace(make_speaker("gpt2"), Locked(), "the cat sat on")
    made = pickle.loads(pickle.dumps(trace))
    assert made.tokens == trace.tokens
    assert made.prompt == "the cat sat on"
    assert_same(made, trace)


def test_what_stands_for_the_hidden_state_stays_itself():
    for made in (pickle.loads(pickle.dumps(HIDDEN)), copy.deepcopy(HIDDEN), copy.copy(HIDDEN)):
        assert made is HIDDEN


def test_what_is_copied_along_stays_together():
    trace = vw.trace(make_model("gpt2"), None, PROMPT_IDS)
    model, made = copy.deepcopy((trace.model, trace))
    assert made.model is model
    assert model is not trace.model
    assert made.anatomy.blocks[0].block is model.transformer.h[0]
    assert_same(made, trace)
