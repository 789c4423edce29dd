"""The widget beside another prompt, without a browser."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import torch

import visit_widget as vw
from tests.pages import data_in
from tests.tiny import make_speaker, tokenizer

FIRST, OTHER, LONGER = "the cat sat on", "the dog sat on", "the old cat sat on"


@pytest.fixture(scope="module")
def model():
    return make_speaker("llama", torch.float32, seed=1)


@pytest.fixture
def widget(model):
    return vw.visit(model, tokenizer(), FIRST, against=OTHER, lens="logit")


def request(widget, method, **params):
    sent = []
    widget._desk.send = sent.append
    widget._desk.receive({"kind": "visit-request", "id": "1", "method": method, "params": params})
    assert sent[0]["ok"], sent
    return sent[0]["result"]


def sides(widget):
    """What `compare` says of the same."""
    other = vw.trace(widget.trace.model, tokenizer(), widget.against)
    return vw.compare(
        widget.trace, other, target=widget.target["id"],
        foil=None if widget.foil is None else widget.foil["id"], lens="logit",
        keep=vw.Keep.of(widget.keep), layers=range(widget.trace.n_layers),
    )  # fmt: skip


def close(ours, theirs):
    return ours == theirs or abs(ours - theirs) <= 1e-5 * max(abs(theirs), 1e-3)


@pytest.mark.parametrize("other", [OTHER, LONGER])
def test_the_graph_carries_the_other_side(model, other):
    widget = vw.visit(model, tokenizer(), FIRST, against=other, lens="logit")
    assert widget.against == other
    told, found = widget.graph["against"], sides(widget)
    assert told["prompt"] == other
    assert [t["id"] for t in told["tokens"]] == tokenizer()(other)["input_ids"]
    assert [tuple(p) for p in told["pairs"]] == list(found.alignment.pairs)
    assert told["parting"] == found.parting
    assert told["position"] == found.b.position
    assert close(told["target"]["logit"], found.b.target["logit"])
    nodes = {n["id"]: n for n in told["nodes"]}
    layer = request(widget, "expand", layer=1)
    nodes.update({n["id"]: n for n in layer["against"]["nodes"]})
    mine = {n["id"] for n in (*widget.graph["nodes"], *layer["nodes"])}
    seen = 0
    for name, pair in found.nodes.items():
        if name.startswith("L1.") or "." not in name or name in nodes:
            assert (name in mine, name in nodes) == (pair.a is not None, pair.b is not None)
            if pair.b is not None and pair.b.logit is not None:
                assert close(nodes[name].get("logit"), pair.b.logit)
                seen += 1
    assert seen > 20
    edges = {(e["source"], e["target"]) for e in layer["against"]["edges"]}
    assert edges == {
        ends for ends, e in found.edges.items()
        if e.b is not None and (ends[1].startswith("L1.") and ends in edges)
    }  # fmt: skip
    schema = vw.FlowGraph.schema()
    plain = {k: v for k, v in widget.graph.items() if k not in ("against", "revision")}
    jsonschema.validate(plain, schema)
    assert len(json.dumps(widget.graph)) < 1_000_000


def test_the_panel_has_both_sides(model):
    widget = vw.visit(model, tokenizer(), FIRST, against=LONGER, lens="logit",
                      keep=vw.Keep.everything())  # fmt: skip
    layer = request(widget, "expand", layer=0)
    alone = [n["id"] for n in layer["against"]["nodes"] if "b" in n["id"].rpartition(".")[2][:2]]
    assert any(i.startswith("L0.H0.V") for i in alone)
    asked = ["L0.H0", "L0.mlp", alone[0]]
    found = request(widget, "project", nodes=asked)
    assert set(found["nodes"]) == {"L0.H0", "L0.mlp"}
    assert set(found["against"]) == set(asked)
    attention = found["against"]["L0.H0"]["attention"]
    assert len(attention) == len(widget.graph["against"]["tokens"])
    assert abs(sum(attention) - 1) < 1e-4


def test_what_is_followed_by_default(model):
    widget = vw.visit(model, tokenizer(), FIRST, against=OTHER)
    found = vw.compare(widget.trace, vw.trace(model, tokenizer(), OTHER))
    assert widget.target["id"] == found.a.target["id"]
    assert (widget.foil and widget.foil["id"]) == (found.a.foil and found.a.foil["id"])
    widget.against = None
    assert "against" not in widget.graph
    assert widget.against is None
    plain = vw.visit(model, tokenizer(), FIRST)
    assert "against" not in plain.graph
    plain.against = OTHER
    assert plain.graph["against"]["prompt"] == OTHER
    assert plain.foil == vw.visit(model, tokenizer(), FIRST, against=OTHER).foil


def test_equal_prompts_differ_by_nothing(model):
    widget = vw.visit(model, tokenizer(), FIRST, against=FIRST)
    told = {n["id"]: n for n in widget.graph["against"]["nodes"]}
    for node in widget.graph["nodes"]:
        assert told[node["id"]].get("logit") == node["logit"]
        assert told[node["id"]].get("norm") == node["norm"]
    assert widget.graph["against"]["parting"] is None


def test_patching_from_the_other_prompt(model):
    widget = vw.visit(model, tokenizer(), FIRST, against=OTHER)
    widget.interventions = [{"id": "embed", "action": "patch", "positions": "all"}]
    assert widget.interventions[0]["label"] == "against"
    other = vw.trace(model, tokenizer(), OTHER)
    for node in ("L1.post", "logits"):
        mine = next(n for n in widget.graph["nodes"] if n["id"] == node)
        theirs = next(n for n in widget.graph["against"]["nodes"] if n["id"] == node)
        assert close(mine["logit"], theirs["logit"])
    assert torch.allclose(
        widget._session.painter.trace.logits(), other.logits(), atol=1e-4, rtol=1e-4
    )
    assert widget.graph["before"]["prediction"] != []
    widget.against = LONGER
    assert widget.interventions == [], "what was taken from another prompt is gone"
    found = request(vw.visit(model, tokenizer(), FIRST, against=OTHER), "patching", over="streams")
    plain = vw.visit(model, tokenizer(), FIRST, against=OTHER)
    clean = vw.patching(other, plain.trace, "streams", plain.target["id"], plain.foil["id"])
    for ours, theirs in zip(found["measured"], clean.measured.tolist(), strict=True):
        assert all(map(close, ours, theirs))


def test_what_cannot_be_used_changes_nothing(widget):
    graph = widget.graph
    with pytest.raises(vw.VisitError):
        widget.against = ""
    assert widget.against == OTHER
    assert widget.graph == graph
    widget.set_state({"against": ""})
    assert widget.status["state"] == "error"
    assert widget.against == OTHER
    widget.against = LONGER
    widget.prompt = LONGER
    assert widget.graph["against"]["parting"] is None
    widget.against = FIRST
    # “ old” has no partner there.
    alone = next(
        i for i in range(len(widget.trace)) if i not in dict(widget.graph["against"]["pairs"])
    )
    with pytest.raises(vw.VisitError, match="no partner"):
        widget.focus = alone
    assert widget.graph["position"] == widget.focus == len(widget.trace) - 1


def test_the_view_state_and_a_page(widget, tmp_path):
    widget.interventions = [{"id": "L0.H1", "action": "patch", "positions": [1]}]
    state = json.loads(json.dumps(widget.view_state))
    again = vw.visit(widget.trace.model, tokenizer(), view_state=state)
    assert again.graph["against"] == widget.graph["against"]
    assert again.graph["nodes"] == widget.graph["nodes"]
    widget.against = None
    widget.view_state = state
    assert widget.against == OTHER
    assert widget.interventions == again.interventions
    data = data_in(widget.save_html(tmp_path / "a.html", expand=[1]).read_text("utf-8"))
    assert data["traits"]["against"] == OTHER
    assert data["against"]["L1.mlp"]["id"] == "L1.mlp"
    assert len(data["expand"]["1"]["against"]["nodes"]) > 5
    older = {k: v for k, v in state.items() if k not in ("against", "interventions")}
    assert vw.visit(widget.trace.model, tokenizer(), view_state=older).against is None
    with pytest.raises(vw.VisitError, match="'against' is no prompt"):
        widget.view_state = {**state, "against": 3}


def test_a_trace_of_another_model(model):
    tuned = make_speaker("llama", torch.float32, seed=2)
    other = vw.trace(tuned, tokenizer(), FIRST)
    widget = vw.visit(model, tokenizer(), FIRST, against=other)
    assert widget.against == FIRST
    value = next(n for n in widget.graph["against"]["nodes"] if n["id"] == "logits")["logit"]
    target, foil = widget.target["id"], widget.foil["id"]
    assert close(value, float(other.logits()[target] - other.logits()[foil]))
    state = widget.view_state
    widget.against = OTHER
    assert widget._session.against.trace.model is tuned
    widget.view_state = state
    assert widget.against == FIRST
    with pytest.raises(vw.VisitError, match="compares with another model"):
        vw.visit(model, tokenizer(), view_state=state)


@pytest.mark.parametrize("other", [OTHER, LONGER])
@pytest.mark.parametrize("count", [1, 3])
def test_what_either_keeps_is_drawn_in_both(model, other, count):
    """Each prompt's own pruning, asked apart: all of it is in the graph of both."""
    keep = vw.Keep(heads=count, neurons=count, memories=1)
    widget = vw.visit(model, tokenizer(), FIRST, against=other, lens="logit", keep=keep)
    apart = 0
    for layer in range(widget.trace.n_layers):
        told = request(widget, "expand", layer=layer)
        here = {n["id"] for n in told["nodes"]}
        there = {n["id"] for n in told["against"]["nodes"]}
        both = widget._session.against.drawn
        own = []
        for trace, position in ((both.pair.a, both.a.position), (both.pair.b, both.b.position)):
            alone = trace.flow(
                position, widget.target["id"],
                None if widget.foil is None else widget.foil["id"], [layer], keep, "logit", "logit",
            )  # fmt: skip
            kinds = ("head", "query", "key", "value", "row", "neuron", "neuron_key")
            kept = {n.id for n in alone.nodes if n.layer == layer and n.kind in kinds}
            own.append(kept)
        mine, theirs = own[0], {both.pair.in_a(name) for name in own[1]}
        assert mine <= here
        assert theirs <= there
        # What has a partner is on both sides; what has none on its own.
        assert {n for n in theirs if not both.pair.of_b(n)} <= here
        assert {n for n in mine if both.pair.in_b(n) is not None} <= there
        assert not {n for n in here if both.pair.of_b(n)}
        apart += len(theirs - mine)
    assert apart, "both prune alike, so nothing was seen"


def test_a_node_of_the_other_alone_is_told(model):
    keep = vw.Keep(memories=9)
    widget = vw.visit(model, tokenizer(), FIRST, against=LONGER, lens="logit", keep=keep)
    told = request(widget, "expand", layer=1)
    only = [
        n["id"]
        for n in told["against"]["nodes"]
        if widget._session.against.drawn.pair.of_b(n["id"])
    ]
    assert only
    answer = request(widget, "project", nodes=[only[0], "L1.H0"])
    assert list(answer["nodes"]) == ["L1.H0"]
    assert set(answer["against"]) == {only[0], "L1.H0"}


@pytest.mark.parametrize("other", [OTHER, LONGER])
def test_what_the_other_carries_along_routes_is_told_of(model, other):
    """Each of its heads by the place of its partners here, with its own numbers there."""
    widget = vw.visit(model, tokenizer(), FIRST, against=other, lens="logit", view="routes")
    routes = request(widget, "routes")
    kept = {n["id"] for n in routes["nodes"]}
    trace = vw.trace(widget.trace.model, tokenizer(), other)
    there = dict(widget.graph["against"]["pairs"])
    values = [n["id"] for n in routes["against"]["nodes"] if n["kind"] == "value"]
    alone = [name for name in values if name not in kept]
    assert alone
    if other == LONGER:
        assert any(here != at for here, at in there.items()), "partners stand elsewhere"
        assert any("b" in name for name in values)
    answer = request(widget, "project", nodes=[*values, *kept])
    assert set(alone) <= set(answer["against"])
    assert not set(alone) & set(answer["nodes"])
    for name in values:
        own, at, layer, head, alone_there, source = re.fullmatch(
            r"P(b?)(\d+)\.L(\d+)\.H(\d+)\.V(b?)(\d+)", name
        ).groups()
        position = int(at) if own else there[int(at)]
        read = int(source) if alone_there else there[int(source)]
        weights = trace.attention_row(int(layer), position).weights
        told = answer["against"][name]
        assert (told["position"], told["source"]) == (position, read)
        assert close(told["weight"], float(weights[int(head), read]))


@pytest.mark.parametrize("other", [OTHER, LONGER])
def test_routes_come_with_those_of_the_other(model, other):
    widget = vw.visit(model, tokenizer(), FIRST, against=other, lens="logit", view="routes")
    told = request(widget, "routes")["against"]
    trace = vw.trace(model, tokenizer(), other)
    foil = None if widget.foil is None else widget.foil["id"]
    alone = trace.routes(
        target=widget.target["id"], foil=foil, keep=vw.Keep.of(widget.keep), measure="logit",
        lens="logit",
    )  # fmt: skip
    assert told["position"] == len(trace) - 1
    for ours, theirs in zip(
        told["attribution"]["tokens"], alone.attribution["tokens"], strict=True
    ):
        assert close(ours["value"], theirs["value"])
    partner = {there: here for here, there in widget.graph["against"]["pairs"]}

    def here(position):
        return str(partner.get(position, f"b{position}"))

    expected = {}
    for node in alone.nodes:
        if node.kind not in ("embed", "residual", "mlp", "value"):
            continue
        name = node.id.replace(f"P{node.position}.", f"P{here(node.position)}.", 1)
        if node.kind == "value":
            name = f"{name.rsplit('.V', 1)[0]}.V{here(node.source)}"
        expected[name] = node.influence
    found = {n["id"]: n["influence"] for n in told["nodes"]}
    assert set(found) == set(expected)
    assert all(close(found[name], expected[name]) for name in found)
    widget.against = None
    assert "against" not in request(widget, "routes")


def test_runs_are_kept_with_what_was_said_before_and_after(model, widget):
    assert widget.runs == []
    widget.interventions = [{"id": "L1.H2", "action": "patch"}]
    (run,) = widget.runs
    as_it_is = vw.trace(model, tokenizer(), FIRST)
    other = vw.trace(model, tokenizer(), OTHER)
    again = as_it_is.rerun({"L1.H2": vw.compare(as_it_is, other).patch})
    for name, trace in (("before", as_it_is), ("after", again)):
        logits = trace.logits(-1).double()
        told = run[name]
        assert told["first"]["id"] == int(logits.argmax())
        assert told["target"]["logit"] == pytest.approx(
            float(logits[run["target"]["id"]]), rel=1e-4
        )
        chance = float(logits.softmax(-1)[run["target"]["id"]])
        assert told["target"]["probability"] == pytest.approx(chance, rel=1e-4)
    assert (run["prompt"], run["against"], run["focus"]) == (FIRST, OTHER, 3)
    widget.interventions = []
    widget.interventions = {"L0.mlp": "zero"}
    widget.interventions = run["interventions"]
    assert [r["id"] for r in widget.runs] == [1, 2], "the same run is not kept twice"
    widget.set_state({"runs": [run]})
    assert widget.runs == [run]
    assert widget.graph["interventions"] == run["interventions"]
    widget.set_state({"runs": [{"id": 1}]})
    assert widget.runs == [run]
    assert widget.status["state"] == "error"
    with pytest.raises(vw.VisitError, match="only makes itself"):
        widget.runs = ["L1.H2"]
    state = json.loads(json.dumps(widget.view_state))
    made = vw.visit(model, tokenizer(), view_state=state)
    assert made.runs == widget.runs


def test_a_page_carries_its_runs(widget, tmp_path):
    widget.interventions = [{"id": "L1.H2", "action": "patch"}]
    data = data_in(widget.save_html(tmp_path / "runs.html").read_text("utf-8"))
    assert data["traits"]["runs"] == widget.runs
