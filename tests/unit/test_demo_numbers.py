"""Numbers that independent code found on the demo model, before there was a package."""

from __future__ import annotations

import pytest
import torch

import visit_widget as vw
from tests.conftest import DEMO_PROMPT

pytestmark = pytest.mark.demo


@pytest.fixture(scope="module")
def trace(demo) -> vw.Trace:
    return vw.trace(*demo, DEMO_PROMPT)


def test_the_model_says_tokyo(trace):
    said = trace.flow().prediction[0]
    assert (said["text"], round(said["probability"], 2)) == ("␣Tokyo", 0.85)


@pytest.mark.parametrize(
    ("by", "part", "value"),
    [
        ("component", "L23.attn", 3.98),
        ("head", "L23.H4", 2.68),
        ("component", "L23.mlp", 1.63),
        ("component", "L27.mlp", 2.69),
        ("component", "L28.mlp", 5.07),
        ("component", "L29.mlp", 2.82),
    ],
)
def test_what_parts_add_to_tokyo(trace, by, part, value):
    parts = trace.logit_parts(" Tokyo", by=by)
    assert round(parts[part], 2) == value
    if by == "component":
        assert round(trace.flow(target=" Tokyo").node(part).logit, 2) == value


@pytest.mark.parametrize(("layer", "rank"), [(22, 15307), (23, 1164), (26, 88), (29, 1)])
def test_where_tokyo_stands_after_a_layer(trace, layer, rank):
    lens, target = vw.LogitLens(trace.model), trace.token(" Tokyo")
    said = lens.project(trace.residual(layer)[-1:], targets=[target])
    assert said.target_ranks.tolist() == [[rank]]
    assert trace.flow(target=" Tokyo").node(f"L{layer}.post").target_rank == rank


def test_where_tokyo_stands_by_plain_code(demo):
    """The ranks above without the package: hidden states through the model's own norm and head."""
    model, tokenizer = demo
    ids = tokenizer(DEMO_PROMPT, return_tensors="pt").input_ids
    target = tokenizer(" Tokyo")["input_ids"][0]
    with torch.no_grad():
        hidden = model(ids, output_hidden_states=True).hidden_states
        for layer, rank in ((22, 15307), (23, 1164), (26, 88)):
            logits = model.lm_head(model.model.norm(hidden[layer + 1][0, -1]))
            assert int((logits > logits[target]).sum()) + 1 == rank


def test_the_audit_is_exact(trace):
    audit = trace.audit()
    print(audit)
    assert audit.max_error < 1e-4
    assert audit.exact


def test_the_parts_of_every_kind_sum_to_the_logit(trace, demo):
    model, tokenizer = demo
    with torch.no_grad():
        logits = model(tokenizer(DEMO_PROMPT, return_tensors="pt").input_ids).logits[0, -1]
    tokyo, kyoto = trace.token(" Tokyo"), trace.token(" Kyoto")
    for by in ("component", "head", "neuron"):
        parts = trace.logit_parts(tokyo, by=by)
        assert sum(parts.values()) == pytest.approx(float(logits[tokyo]), abs=1e-3)
        parts = trace.logit_parts(tokyo, kyoto, by=by)
        difference = float(logits[tokyo] - logits[kyoto])
        assert sum(parts.values()) == pytest.approx(difference, abs=1e-3)


def test_visits_layer_is_whole(trace):
    graph = trace.flow(target=" Tokyo", layers=[23], keep=vw.Keep.visit(), measure="logit")
    kinds = [n.kind for n in graph.nodes]
    assert (kinds.count("neuron"), kinds.count("row")) == (25, 25)
    for whole in ("L23.attn", "L23.mlp", "L23.mid", "L23.post", "L23.H4"):
        edges = [e for e in graph.into(whole) if e.share is not None]
        assert sum(e.share for e in edges) == pytest.approx(1, abs=1e-4)
        assert sum(e.logit for e in edges) == pytest.approx(graph.node(whole).logit, abs=1e-4)
