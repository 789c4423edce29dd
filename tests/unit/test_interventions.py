"""Interventions of a widget: the trait, the graph of the pass run again, and what it was before."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import visit_widget as vw
from tests.tiny import FAMILIES, PROMPT_IDS, float64_throughout, make_model, make_speaker, tokenizer
from tests.whole import assert_data

PROMPT = "the cat sat on the mat"


@pytest.fixture
def widget() -> Any:
    made = vw.visit(make_speaker(), tokenizer(), PROMPT, lens="logit")
    yield made
    made.close()


def asked(widget: Any, method: str, **params: Any) -> dict[str, Any]:
    """The answer to a request from the browser."""
    sent: list[Any] = []
    widget._desk.send = sent.append
    widget._desk.receive({"kind": "visit-request", "id": "1", "method": method, "params": params})
    return sent[-1]


def test_the_graph_is_of_the_run_and_says_what_was(widget):
    plain = widget.graph
    assert widget.interventions == []
    widget.interventions = {"L1.H0": "zero"}
    assert widget.interventions == [{"id": "L1.H0", "action": "zero", "positions": "focus"}]
    graph, again = widget.graph, widget.trace.rerun({"L1.H0": "zero"})
    assert graph["interventions"] == widget.interventions
    assert graph["revision"] > plain["revision"]
    assert graph["target"]["id"] == plain["target"]["id"], "what is followed stays"
    now = float(again.record.logits[graph["target"]["id"]])
    assert graph["target"]["logit"] == pytest.approx(now, rel=1e-4)
    assert graph["before"]["target"]["logit"] == plain["target"]["logit"]
    assert graph["before"]["prediction"] == plain["prediction"]
    was = {n["id"]: n for n in plain["nodes"]}
    assert graph["before"]["streams"]["L1.post"]["label"] == was["L1.post"]["label"]
    assert_data(widget.flow([0, 1]))
    assert "L1.H0.edit" in {n.id for n in widget.flow([1]).nodes}
    widget.interventions = []
    assert {k: v for k, v in widget.graph.items() if k != "revision"} == {
        k: v for k, v in plain.items() if k != "revision"
    }


def test_from_the_browser_and_what_cannot_be_is_put_back(widget):
    good = [{"id": "L0.mlp", "action": 0.5, "positions": "all"}]
    widget.set_state({"interventions": good})
    assert widget.graph["interventions"] == good
    for wrong in (
        [{"id": "L9.H0", "action": "zero"}], [{"id": "L0.H0", "action": "halve"}], "L0.H0",
        [{"id": "L0.H0", "action": "patch", "label": "patch 7"}], [{"action": "zero"}],
    ):  # fmt: skip
        widget.set_state({"interventions": wrong})
        assert widget.interventions == good
        assert widget.graph["interventions"] == good
        assert widget.status["state"] == "error"
    widget.set_state({"interventions": []})
    assert "before" not in widget.graph
    assert widget.status["state"] == "ready"


def test_vectors_and_traces_are_set_from_python_and_stay(widget):
    model = widget.trace.model
    other = vw.trace(model, tokenizer(), "the dog sat on the mat")
    widget.interventions = {"L0.post": other, "L1.mlp": torch.zeros(widget.trace.d_model)}
    kinds = [(i["action"], i["label"]) for i in widget.interventions]
    assert [kind for kind, _ in kinds] == ["patch", "replace"]
    theirs = widget.trace.rerun(
        {"L0.post": other, "L1.mlp": torch.zeros(widget.trace.d_model)}
    ).record.logits[widget.graph["target"]["id"]]
    assert widget.graph["target"]["logit"] == pytest.approx(float(theirs), rel=1e-4)
    widget.set_state({"interventions": widget.interventions[:1]})
    assert [i["action"] for i in widget.interventions] == ["patch"]


OTHERS = ["a dog sat on a mat", "the big dog sat on the red mat", "the dog"]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", ["L0.post", "L1.H0", "L1.mlp", "L0.H1.Q", "L1.N3"])
def test_a_part_is_taken_from_another_prompt(widget, other, name):
    patch = [{"id": name, "action": "patch", "positions": "focus", "prompt": other}]
    widget.set_state({"interventions": patch})
    assert widget.graph["interventions"] == patch
    trace, theirs = widget.trace, vw.trace(widget.trace.model, tokenizer(), other)
    again = trace.rerun({name: theirs})
    now = float(again.record.logits[widget.graph["target"]["id"]])
    assert widget.graph["target"]["logit"] == pytest.approx(now, rel=1e-4)
    # All that the last token has by then comes from the other prompt's last.
    stream = {"L0.post": (0, "post"), "L1.mlp": None}.get(name)
    if stream:
        assert torch.equal(again.residual(*stream)[-1], theirs.residual(*stream)[-1])
    state = json.loads(json.dumps(widget.view_state))
    copy = vw.visit(trace.model, tokenizer(), view_state=state)
    assert copy.graph["target"] == widget.graph["target"]
    copy.close()
    widget.prompt = "the cat sat on the red mat"
    assert widget.interventions == patch, "it names no token, so it goes on"


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        ({"id": "L0.post", "action": "patch", "prompt": "the dog", "positions": "all"}, "partner"),
        ({"id": "L0.H0.V0", "action": "patch", "prompt": "the dog"}, "partner"),
        ({"id": "L0.post", "action": "zero", "prompt": "the dog"}, "that prompt's pass"),
        ({"id": "L0.post", "action": "patch", "prompt": ""}, "that prompt's pass"),
        ({"id": "L0.post", "action": "patch", "prompt": ["the"]}, "that prompt's pass"),
    ],
)
def test_what_cannot_be_taken_from_another_prompt(widget, patch, told):
    with pytest.raises(vw.VisitError, match=told):
        widget.interventions = [patch]
    assert widget.interventions == []
    assert "before" not in widget.graph


def test_focus_target_measure_and_prompt_go_on(widget):
    widget.interventions = [
        {"id": "L0.H1", "action": "zero"}, {"id": "L1.H0.V2", "action": "zero"},
        {"id": "L1.mlp", "action": "zero", "positions": [3]},
    ]  # fmt: skip
    widget.focus = 3
    assert len(widget.graph["interventions"]) == 3
    for measure in ("share", "effect", "norm"):
        widget.measure = measure
        assert widget.graph["measure"] == measure
    widget.prompt = "the dog sat"
    assert [i["id"] for i in widget.interventions] == ["L0.H1"], "what names no token"


def test_the_state_makes_the_picture_again(widget):
    widget.interventions = {"L1.H0": 0.5}
    state, graph = widget.view_state, widget.graph
    again = vw.visit(widget.trace.model, tokenizer(), view_state=state)
    assert again.interventions == widget.interventions
    assert again.graph["before"] == graph["before"]
    again.close()
    del state["interventions"]
    plain = vw.visit(widget.trace.model, tokenizer(), view_state=state)
    assert plain.interventions == []
    plain.close()


def test_what_is_of_the_pass_as_it_is_says_so(widget, tmp_path):
    widget.interventions = {"L1.H0": "zero"}
    for method in ("routes", "attribution", "audit", "effects", "effects_map"):
        answer = asked(widget, method, **({"layer": 1} if method == "effects" else {}))
        assert not answer["ok"]
        assert "take the interventions off" in answer["error"]["message"]
    for method in ("expand", "project", "predictions"):
        params = {"expand": {"layer": 1}, "project": {"nodes": ["L1.attn"]}}.get(method, {})
        assert asked(widget, method, **params)["ok"], method
    assert widget.save_html(tmp_path / "page.html", expand="all").exists()


def test_why_a_head_looks_there(widget):
    trace, position = widget.trace, widget.focus
    for source in range(position + 1):
        told = asked(widget, "score_parts", head="L1.H1", source=source)["result"]
        attention = trace.attention_record(1)
        query = attention.query[1, position].double()
        key = attention.key[1, source].double()
        score = float(query @ key) * attention.scaling
        assert told["score"] == pytest.approx(score, rel=1e-4, abs=1e-5)
        matrix = torch.tensor(told["matrix"], dtype=torch.float64)
        assert float(matrix.sum()) == pytest.approx(score, rel=1e-3, abs=1e-4)
        for dim, side in ((1, told["query"]), (0, told["key"])):
            sums = [part["sum"] for part in side]
            assert matrix.sum(dim).tolist() == pytest.approx(sums, rel=1e-3, abs=1e-4)
            assert {"embed", "L0.mlp"} & {part["id"] for part in side}
        assert told["weight"] == pytest.approx(float(trace.attention(1)[1, source]), rel=1e-4)
    for wrong in ("L1.mlp", "L1.H9", "L7.H0"):
        answer = asked(widget, "score_parts", head=wrong, source=0)
        assert not answer["ok"]
        assert "log has the details" not in answer["error"]["message"]


def test_the_map_of_streams(widget):
    told = asked(widget, "effects_map", over="streams")["result"]
    position, n_layers = widget.focus, widget.trace.n_layers
    assert told["columns"] == [f"P{p}" for p in range(position + 1)]
    assert told["ids"][1][2] == "P2.L1.post"
    assert len(told["measured"]) == n_layers
    target = widget.graph["target"]["id"]
    as_it_is = float(widget.trace.record.logits[target])
    for layer, p in ((0, 0), (0, position), (1, 2)):
        again = widget.trace.rerun({f"P{p}.L{layer}.post": "zero"})
        loss = as_it_is - float(again.record.logits[target])
        assert told["measured"][layer][p] == pytest.approx(loss, rel=1e-3, abs=1e-4)


def test_how_far_a_map_is_is_told_and_it_can_be_called_off(widget, monkeypatch):
    monkeypatch.setattr("visit_widget.widget.requests.TELLS_EVERY", 0)
    sent: list[Any] = []
    widget._desk.send = sent.append
    ask = {"kind": "visit-request", "id": "7", "method": "effects_map", "params": {}}
    widget._desk.receive(ask)
    *told, last = sent
    assert last["ok"]
    assert told
    assert {m["kind"] for m in told} == {"visit-progress"}
    assert told[-1]["done"] == told[-1]["total"] == widget.trace.n_layers * widget.trace.n_heads
    sent.clear()

    def stop(message: dict[str, Any]) -> None:
        sent.append(message)
        widget._desk.receive({"kind": "visit-cancel", "id": "8"})

    widget._desk.send = stop
    widget._desk.receive({**ask, "id": "8", "params": {"over": "streams"}})
    assert [m["kind"] for m in sent] == ["visit-progress"], "nothing more is done or said"


def test_effects_of_a_layer_and_the_map(widget):
    found = asked(widget, "effects", layer=1)["result"]
    assert {"L1.attn", "L1.mlp"} <= set(found["nodes"])
    drawn = {n["id"] for n in asked(widget, "expand", layer=1)["result"]["nodes"]}
    assert set(found["nodes"]) <= drawn | {"L1.attn", "L1.mlp"}
    target = widget.graph["target"]["id"]
    for name, effect in found["nodes"].items():
        again = widget.trace.rerun({name: "zero"})
        theirs = float(widget.trace.logits()[target] - again.logits()[target])
        assert effect["measured"] == pytest.approx(theirs, abs=2e-4 * max(1, abs(theirs)))
    for over in ("heads", "sublayers"):
        table = asked(widget, "effects_map", over=over)["result"]
        assert len(table["layers"]) == len(table["ids"]) == len(table["measured"])
        assert all(len(row) == len(table["columns"]) for row in table["predicted"])
        assert table["measured"][1][0] == pytest.approx(
            widget.trace.effects([table["ids"][1][0]], target)[table["ids"][1][0]].measured,
            abs=1e-4,
        )
    assert not asked(widget, "effects_map", over="all")["ok"]


@pytest.mark.parametrize(
    "done", [{"L0.H1": "zero"}, {"L1.H0.K2": "zero"}, {"L0.post": 0.7, "L1.N3": "zero"}], ids=str
)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_a_rerun_are_its_own(family, done):
    """What effects foretell of a run with interventions, against differences of further runs."""
    with float64_throughout():
        trace = vw.trace(make_model(family, torch.float64), None, PROMPT_IDS)
        again, step = trace.rerun(done), 1e-5
        graph = again.flow(target=7, measure="effect", lens="local")
        last = f"L{trace.n_layers - 1}"
        # What is scaled with the stream after it is drawn before it is scaled.
        first = [] if "L0.post" in done else ["L0.mlp"]
        for name in (*first, f"{last}.mlp", f"{last}.attn"):
            further = trace.rerun({**done, name: 1 - step})
            fallen = float(again.logits()[7] - further.logits()[7]) / step
            node = next(n for n in graph.nodes if n.id == name)
            assert abs(node.effect - fallen) < 1e-3 * max(1.0, abs(fallen)), name
