"""One model without and with its adapters: both traces hold, and the model is left as it was."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import visit_widget as vw
from tests.tiny import PROMPT_IDS, make_model
from visit_widget.trace.fingerprint import fingerprint

peft = pytest.importorskip("peft")
TARGETS = {
    "llama": ["q_proj", "v_proj", "o_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"],
    "gemma2": ["q_proj", "gate_proj"], "phi": ["q_proj", "fc1"],
}  # fmt: skip


def adapted(family: str, dtype: torch.dtype = torch.float32, seed: int = 0, **more: Any) -> Any:
    torch.manual_seed(seed)
    options = {"r": 2, "target_modules": TARGETS[family], "init_lora_weights": False, **more}
    config = peft.LoraConfig(fan_in_fan_out=family == "gpt2", **options)
    return peft.get_peft_model(make_model(family, dtype, seed=seed), config).eval()


def state(model: Any) -> Any:
    """All that could be left otherwise."""
    tensors = {n: (t.data_ptr(), t.requires_grad, t._version) for n, t in model.named_parameters()}
    switches = [
        (n, type(m), m.training, getattr(m, "_disable_adapters", None),
         str(getattr(m, "_active_adapter", None)), len(m._forward_hooks))
        for n, m in model.named_modules()
    ]  # fmt: skip
    return tensors, switches, model.config._attn_implementation


def said(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([PROMPT_IDS])).logits[0, -1]


def close(ours: torch.Tensor, theirs: torch.Tensor, dtype: torch.dtype) -> bool:
    within = 3e-2 if dtype == torch.bfloat16 else 1e-4
    return float((ours.float() - theirs.float()).norm()) <= within * float(theirs.float().norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("family", "seed"), [("llama", 0), ("gpt2", 1), ("gemma2", 2), ("phi", 3)])
def test_both_are_what_the_model_says_switched_off_and_on(family, seed, dtype):
    model = adapted(family, dtype, seed)
    on = said(model)
    with model.disable_adapter():
        off = said(model)
    assert not close(on, off, dtype)
    before = state(model)
    without, with_them = vw.adapter_pair(model, None, PROMPT_IDS)
    assert state(model) == before
    for trace, theirs in ((without, off), (with_them, on)):
        cap = trace.anatomy.softcap
        ours = trace.logits() if cap is None else torch.tanh(trace.logits() / cap) * cap
        assert close(ours, theirs, dtype)
    # What is derived later is of each one's own weights, whatever the model's switches are now.
    with model.disable_adapter():
        found = vw.compare(without, with_them, layers=[1], target=3, measure="effect")
        assert with_them.audit().exact
    assert without.audit().exact
    for graph, trace in ((found.a, without), (found.b, with_them)):
        whole = trace.residual(1)[-1]
        assert abs(graph.node("L1.post").norm - float(whole.norm())) < 1e-3 * float(whole.norm())
    assert found.changed("heads")[0].change > 0
    assert state(model) == before
    assert torch.equal(said(model), on)


def test_no_weight_is_there_twice():
    model = adapted("llama")
    without, with_them = vw.adapter_pair(model, None, PROMPT_IDS)
    places = {t.data_ptr() for t in model.parameters()}
    for trace in (without, with_them):
        assert {t.data_ptr() for t in trace.model.parameters()} <= places


@pytest.mark.parametrize("asked", [{"adapters": "other"}, {"attention_mask": "x"}])
def test_it_is_left_so_after_an_error_too(asked):
    model = adapted("llama").train()
    model.disable_adapter_layers()
    before = state(model)
    with pytest.raises(vw.VisitError):
        vw.adapter_pair(model, None, PROMPT_IDS, **asked)
    assert state(model) == before


def test_adapters_that_are_off_are_on_in_one():
    model = adapted("llama")
    on = said(model)
    model.disable_adapter_layers()
    before = state(model)
    _, with_them = vw.adapter_pair(model, None, PROMPT_IDS)
    assert close(with_them.logits(), on, torch.float32)
    assert state(model) == before


def test_one_of_several_by_its_name():
    model = adapted("llama")
    torch.manual_seed(5)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    model.add_adapter("second", config)
    before = state(model)
    _, first = vw.adapter_pair(model, None, PROMPT_IDS)
    _, second = vw.adapter_pair(model, None, PROMPT_IDS, adapters="second")
    assert state(model) == before
    assert close(first.logits(), said(model), torch.float32)
    model.set_adapter("second")
    assert close(second.logits(), said(model), torch.float32)
    assert not close(first.logits(), second.logits(), torch.float32)


def test_weights_that_are_saved_whole():
    """`modules_to_save` are trained copies, which are off with the adapters."""
    model = adapted("llama", modules_to_save=["lm_head"])
    with torch.no_grad():
        model.base_model.model.lm_head.modules_to_save["default"].weight.mul_(1.5)
    on = said(model)
    with model.disable_adapter():
        off = said(model)
    without, with_them = vw.adapter_pair(model, None, PROMPT_IDS)
    assert close(without.logits(), off, torch.float32)
    assert close(with_them.logits(), on, torch.float32)


def test_switches_are_told_by_the_fingerprint():
    """So that no lens that was fitted with an adapter reads without it."""
    model = adapted("llama")
    on = fingerprint(model.get_base_model())
    with model.disable_adapter():
        assert fingerprint(model.get_base_model()) != on
    assert fingerprint(model.get_base_model()) == on
    without, with_them = vw.adapter_pair(model, None, PROMPT_IDS)
    assert fingerprint(without.model) != on == fingerprint(with_them.model)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: make_model("llama"), "has no adapters"),
        (lambda: _merged(adapted("llama")), "unmerge_adapter"),
    ],
)
def test_what_has_no_two_sides(make, sentence):
    with pytest.raises(vw.VisitError, match=re.escape(sentence)):
        vw.adapter_pair(make(), None, PROMPT_IDS)


def _merged(model: Any) -> Any:
    model.merge_adapter()
    return model
