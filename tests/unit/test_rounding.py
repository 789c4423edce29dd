"""In half precision rounding is a part: with it, everything sums to what the model itself says."""

from __future__ import annotations

import jsonschema
import pytest
import torch

import visit_widget as vw
from tests.families.configs import PROMPT, VARIANTS, build
from tests.families.sweep import quiet

FAMILIES = (
    "gpt2", "gpt_neox", "gemma2", "llama", "olmo2", "bloom", "mixtral", "bart", "granite",
    "falcon_h1", "gptj", "minicpm3", "cohere",
)  # fmt: skip
HALF = (torch.bfloat16, torch.float16)


def traced(family, dtype, seed=0):
    name, changes = VARIANTS.get(family, (family, {}))
    with quiet():
        model = build(name, dtype, seed, **changes)
        return model, vw.trace(model, None, PROMPT)


def own_logits(model):
    with torch.no_grad():
        return model(torch.tensor([PROMPT]), use_cache=False).logits[0].float()


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_logit_parts_sum_to_the_logit_of_the_model_itself(family, dtype):
    for seed in (0, 1):
        model, trace = traced(family, dtype, seed)
        said, cap = own_logits(model), trace.anatomy.softcap
        eps = torch.finfo(dtype).eps
        for position in range(len(PROMPT)):
            target = int(said[position].argmax())
            for by in ("component", "head", "neuron"):
                total = sum(trace.logit_parts(target, position=position, by=by).values())
                theirs = float(said[position, target])
                if cap is not None:
                    total = cap * float(torch.tanh(torch.tensor(total / cap)))
                # At the last position it is the very number, but for logits at their cap; else the
                # same modules gave it for one row, which may round another way.
                exact = position == len(PROMPT) - 1 and (cap is None or theirs < 0.95 * cap)
                near = 1e-5 if exact else 4 * eps
                assert abs(total - theirs) <= near * float(said[position].abs().max()), (seed, by)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_flows_into_a_node_sums_to_it(family, dtype):
    _, trace = traced(family, dtype)
    for position in (-1, 3):
        graph = trace.flow(position, layers=range(trace.n_layers))
        assert any(n.kind == "rounding" for n in graph.nodes)
        wholes = {e.target for e in graph.edges if e.share is not None}
        for whole in wholes:
            into = [e for e in graph.into(whole) if e.share is not None]
            assert sum(e.share for e in into) == pytest.approx(1, abs=1e-4), whole
        logits = graph.node("logits")
        flowing = sum(e.logit for e in graph.into("logits"))
        assert flowing == pytest.approx(logits.logit, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "gemma2", "bart", "mixtral"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_there_is_none_in_single_and_double_precision(family, dtype):
    _, trace = traced(family, dtype)
    assert not any("rounding" in part for part in trace.logit_parts(5, by="neuron"))
    graph = trace.flow(layers=range(trace.n_layers))
    assert not any(n.kind == "rounding" for n in graph.nodes)
    assert "rounding" not in trace.routes(measure="logit").attribution
    assert not trace.rounding(0, "post").any()


def test_rounding_is_what_the_stream_has_over_its_exact_sum():
    model, trace = traced("llama", torch.bfloat16)
    layer, heard = model.model.layers[1], {}
    for name in ("self_attn", "mlp"):
        module = getattr(layer, name)
        module.register_forward_hook(
            lambda _m, _a, out, name=name: heard.__setitem__(name, out[0] if name != "mlp" else out)
        )
    own_logits(model)
    pre, mid, post = (trace.residual(1, at)[-1] for at in ("pre", "mid", "post"))
    attention, mlp = (heard[n].reshape(len(PROMPT), -1)[-1].float() for n in ("self_attn", "mlp"))
    assert torch.equal(trace.rounding(1, "mid"), mid - (pre + attention))
    assert torch.equal(trace.rounding(1, "post"), post - (mid + mlp))
    assert torch.equal(trace.rounding(1, "attn"), attention - trace.attention_output(1))
    with pytest.raises(vw.VisitError, match="'attn', 'mid', 'mlp' or 'post'"):
        trace.rounding(1, "pre")


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("measure", ["logit", "share", "norm"])
def test_routes_sum_to_the_prediction(dtype, measure):
    _, trace = traced("gemma2", dtype)
    graph = trace.routes(measure=measure, keep=vw.Keep(routes=vw.Limit(threshold=0.0)))
    found = graph.attribution
    ends = sum(t["value"] for t in found["tokens"])
    ends += found["bias"] + found["opaque"] + found["rest"] + found["rounding"]
    assert ends == pytest.approx(found["total"], rel=1e-3, abs=1e-3)
    if measure == "logit":
        assert found["rounding"] != 0
        assert found["total"] == pytest.approx(graph.node("logits").logit, rel=1e-4)
    nodes = [n.id for n in graph.nodes if n.kind == "rounding"]
    assert nodes
    jsonschema.validate(graph.to_dict(), vw.FlowGraph.schema())
    assert "rounding" in graph.explain(nodes[0])


def test_with_a_foil_and_with_several_tokens_it_sums_as_well():
    model, trace = traced("olmo2", torch.bfloat16)
    said = own_logits(model)[-1]
    parts = trace.logit_parts(5, foil=9)
    assert sum(parts.values()) == pytest.approx(float(said[5] - said[9]), rel=1e-4, abs=1e-4)
    several = trace.logit_parts(vw.Target([5, 9, 11], combine="logsumexp"))
    assert sum(several.values()) == pytest.approx(float(said[[5, 9, 11]].logsumexp(-1)), rel=1e-4)


def test_a_node_of_rounding_says_what_it_is():
    _, trace = traced("llama", torch.bfloat16)
    graph = trace.flow(layers=[1])
    for node_id in ("L1.mid.rounding", "L1.post.rounding", "L1.attn.rounding", "logits.rounding"):
        node = graph.node(node_id)
        assert (node.kind, node.label) == ("rounding", None)
        assert "rounding to half precision" in graph.explain(node_id)
    jsonschema.validate(graph.to_dict(), vw.FlowGraph.schema())
