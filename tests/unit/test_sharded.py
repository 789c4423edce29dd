"""A model whose weights lie on two processes is traced as the same model in one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import visit_widget as vw
from tests.families.configs import build
from tests.tiny import make_model
from tests.two_processes import in_two, needs_sharding
from visit_widget.trace.fingerprint import fingerprint

IDS = [3, 17, 42, 5, 17, 60, 0]
LAYER = 1


def everything(trace):
    """What is kept of a pass and what is derived, as tensors and plain values."""
    found = {"logits": trace.logits(), "record": trace.record.logits}
    for layer in range(trace.n_layers):
        found[f"post{layer}"] = trace.residual(layer)
        found[f"mid{layer}"] = trace.mid(layer, 4)
        found[f"heads{layer}"] = trace.head_outputs(layer, 4)
        found[f"attention{layer}"] = trace.attention(layer, 4)
        found[f"mlp{layer}"] = trace.mlp_output(layer, 4)
        found[f"neurons{layer}"] = trace.neurons(layer, 4)
    found["neurons"], found["looks"] = (
        trace.neuron_values(LAYER, 4),
        # Of a mixture, neurons that the position reached.
        trace.neuron_directions(LAYER, [trace.mlp_row(LAYER, 4).number(n) for n in (0, 3)], 4),
    )
    found["parts"] = trace.head_parts(LAYER, 4)
    found["asked"] = trace.query_directions(LAYER, 4)
    found["answered"] = trace.key_directions(LAYER, 4)
    graph = trace.flow(layers=[LAYER])
    found["graph"] = {n.id: (n.label, n.logit, n.norm) for n in graph.nodes}
    effects = trace.effects("heads")
    found["effects"] = {name: (e.predicted, e.measured) for name, e in effects.items()}
    found["audit"] = trace.audit().max_error
    return found


def loaded(path, **options):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64, **options).eval()
    if model.config.model_type == "qwen3_moe":
        # The grouped matrix product of experts knows no float64; this changes no result.
        model.set_experts_implementation("eager")
    return model


def traced_in_two(path):
    import torch.distributed as dist

    model = loaded(path, tp_plan="auto")
    before = {n: m.__dict__.get("forward") for n, m in model.named_modules()}
    trace = vw.trace(model, None, IDS)
    found = everything(trace)
    with torch.no_grad():
        found["own"] = model(torch.tensor([IDS])).logits[0, -1]
    placements = {type(p).__name__ for p in model.parameters()}
    assert "DTensor" in placements, placements
    assert {n: m.__dict__.get("forward") for n, m in model.named_modules()} == before
    found["fingerprint"] = fingerprint(model)
    dist.destroy_process_group()
    return found


def same(ours, theirs, name):
    if isinstance(theirs, torch.Tensor):
        torch.testing.assert_close(
            ours, theirs, rtol=1e-12, atol=1e-12, msg=lambda m: f"{name}: {m}"
        )
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), name
        for key, value in theirs.items():
            same(ours[key], value, f"{name} {key}")
    elif isinstance(theirs, tuple):
        for a, b in zip(ours, theirs, strict=True):
            same(a, b, name)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-10, abs=1e-12), name
    else:
        assert ours == theirs, name


@needs_sharding
@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen3_moe"])
def test_two_processes_trace_what_one_does(family, tmp_path: Path):
    made = build(family) if family == "qwen3_moe" else make_model(family)
    made.save_pretrained(tmp_path / "model")
    model = loaded(tmp_path / "model")
    expected = everything(vw.trace(model, None, IDS))
    for found in in_two(traced_in_two, tmp_path, str(tmp_path / "model")):
        assert found.pop("fingerprint") == fingerprint(model)
        own = found.pop("own")
        torch.testing.assert_close(found["record"], own, rtol=1e-5, atol=1e-6)
        audit = found.pop("audit")
        assert audit < 1e-4
        for name, value in expected.items():
            if name != "audit":
                same(found[name], value, name)


def test_a_sharding_that_is_not_known_is_refused():
    """Not run on one slice as if that were all: a sentence says how to load the model."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    model = make_model("llama")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        part = model.model.layers[1].mlp.down_proj
        part.weight = torch.nn.Parameter(distribute_tensor(part.weight.detach(), mesh, [Shard(0)]))
        with pytest.raises(vw.UnsupportedModelError, match="tp_plan='auto'"):
            vw.trace(model, None, IDS)
    finally:
        dist.destroy_process_group()
