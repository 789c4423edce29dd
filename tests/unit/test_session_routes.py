"""Routes, attribution and predictions as the browser asks for them; what a change may not cost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import visit_widget as vw
from tests.unit.test_session import PROMPT, ask, make_speaker, tokenizer
from visit_widget.widget.plain import compact


@pytest.fixture(params=["gpt2", "llama"])
def widget(request: pytest.FixtureRequest) -> Iterator[vw.VisitWidget]:
    made = vw.visit(make_speaker(request.param), tokenizer(), PROMPT)
    yield made
    made.close()


def passes_of(widget: vw.VisitWidget) -> list[int]:
    """Grows by one with every pass of the model."""
    passes: list[int] = []
    widget.trace.model.register_forward_pre_hook(lambda *_: passes.append(1))
    return passes


def test_routes_are_those_of_the_trace(widget):
    widget.keep = {"routes": {"threshold": 0.02}}
    graph = widget.trace.routes(measure="logit", keep=vw.Keep(routes=vw.Limit(threshold=0.02)))
    told = ask(widget, "routes", revision=2)["result"]
    assert told["position"] == graph.position
    assert told["total"] == pytest.approx(graph.attribution["total"], rel=1e-5)
    assert [n["id"] for n in told["nodes"]] == [n.id for n in graph.nodes]
    for edge, own in zip(told["edges"], graph.edges, strict=True):
        assert (edge["source"], edge["target"], edge["kind"]) == (own.source, own.target, own.kind)
        assert edge.get("influence", 0.0) == pytest.approx(own.influence, rel=1e-5)
    assert all(value is not None for node in told["nodes"] for value in node.values())
    assert widget.routes() == graph


def test_the_attribution_is_in_logits_whatever_the_measure(widget):
    told = ask(widget, "attribution")["result"]
    parts = [t["value"] for t in told["tokens"]]
    in_all = sum(parts) + told["bias"] + told["opaque"] + told["rest"]
    assert in_all == pytest.approx(told["total"], abs=1e-4)
    assert told["total"] == pytest.approx(widget.graph["target"]["logit"], abs=1e-4)
    widget.measure = "share"
    assert ask(widget, "attribution")["result"] == {**told, "revision": 2}
    assert ask(widget, "routes")["result"]["attribution"]["total"] == 1


def test_predictions_are_what_the_model_says(widget):
    told = ask(widget, "predictions")["result"]["positions"]
    ids = widget.trace.input_ids
    with torch.no_grad():
        chances = widget.trace.model(ids[None]).logits[0].softmax(-1)
    assert [p["position"] for p in told] == list(range(len(ids)))
    for position, row in enumerate(told):
        best = chances[position].topk(3)
        assert [t["id"] for t in row["top"]] == best.indices.tolist()
        assert [t["probability"] for t in row["top"]] == pytest.approx(
            best.values.tolist(), rel=1e-5
        )
        if position + 1 == len(ids):
            assert row["next"] is None
            continue
        after = int(ids[position + 1])
        assert row["next"]["id"] == after
        assert row["next"]["text"] == widget.trace.tokens[position + 1]
        assert row["next"]["probability"] == pytest.approx(
            float(chances[position, after]), rel=1e-5
        )
        assert row["next"]["rank"] == 1 + int((chances[position] > chances[position, after]).sum())


def test_only_another_prompt_takes_a_pass(widget):
    passes = passes_of(widget)
    for method in ("routes", "attribution", "predictions"):
        ask(widget, method)
    widget.measure = "proximity"
    widget.keep = vw.Keep.visit()
    widget.focus, widget.target, widget.foil = 2, 5, 7
    widget.view = "routes"
    ask(widget, "routes")
    ask(widget, "expand", layer=1)
    assert passes == []
    widget.prompt = "a red dog"
    assert passes


def test_a_change_of_measure_prunes_again(widget):
    widget.keep = {"neurons": 3, "heads": 1}
    kept = {}
    for measure in ("logit", "norm"):
        widget.measure = measure
        assert widget.graph["measure"] == measure
        nodes = [n for at in (0, 1) for n in ask(widget, "expand", layer=at)["result"]["nodes"]]
        graph = widget.trace.flow(layers=[0, 1], keep=vw.Keep(neurons=3, heads=1), measure=measure)
        kept[measure] = {n["id"] for n in nodes}
        assert kept[measure] == {n.id for n in graph.nodes} - {
            n["id"] for n in widget.graph["nodes"]
        }
    assert kept["logit"] != kept["norm"]


def test_an_opened_rest_node_shows_the_next_largest(widget):
    widget.keep = {"neurons": 3}
    before = {n["id"]: n for n in ask(widget, "expand", layer=1)["result"]["nodes"]}
    left_alone = ask(widget, "expand", layer=0)["result"]
    widget.keep = {"neurons": 3, "more": {"L1.mlp.rest": 2}}
    after = {n["id"]: n for n in ask(widget, "expand", layer=1)["result"]["nodes"]}
    assert set(before) < set(after)
    new = {i for i in set(after) - set(before) if not i.endswith(".key")}
    assert len(new) == 2
    assert before["L1.mlp.rest"]["rest"]["count"] - after["L1.mlp.rest"]["rest"]["count"] == 2
    every = widget.trace.flow(layers=[1], keep=vw.Keep(neurons=1000), measure="logit")
    sizes = {n.id: abs(n.logit) for n in every.nodes if n.kind == "neuron"}
    shown = {i for i in after if i in sizes}
    assert shown == set(sorted(sizes, key=lambda i: -sizes[i])[:5])
    assert ask(widget, "expand", layer=0)["result"] == {**left_alone, "revision": 3}


def test_routes_too_many_to_read_are_refused_in_a_sentence(widget, monkeypatch):
    monkeypatch.setattr("visit_widget.widget.routed.ROUTES_LIMIT", 5)
    answer = ask(widget, "routes")
    assert not answer["ok"]
    assert "raise the threshold" in answer["error"]["message"]
    assert "visit-data" in widget.to_iframe().data


def test_a_panel_can_ask_about_a_node_of_the_routes(widget):
    routes = ask(widget, "routes")["result"]
    ids = [n["id"] for n in routes["nodes"] if n["id"].startswith("P")]
    details = ask(widget, "project", nodes=ids)["result"]["nodes"]
    assert list(details) == ids
    graph = widget.routes()
    for node_id in ids:
        assert details[node_id]["label"] == compact(graph.node(node_id).label)
        assert len(details[node_id]["top"]) == 10


@pytest.mark.parametrize("view", ["river", None, 3])
def test_a_view_that_there_is_none_of_is_refused(widget, view):
    with pytest.raises((vw.VisitError, Exception), match="view"):
        widget.view = view
    assert widget.view == "block"
    with pytest.raises(vw.VisitError, match="view"):
        vw.visit(widget.trace.model, tokenizer(), PROMPT, view=view)
