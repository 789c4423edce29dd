"""The widget without a browser: traits, requests, and the standalone page."""

from __future__ import annotations

import html
import json
import re
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
import traitlets

import visit_widget as vw
from tests.pages import data_in
from tests.tiny import blocks_of, look, make_model, make_speaker, matrix_of, tokenizer
from visit_widget.model.exclusive import MODEL_LOCK

PROMPT = "the cat sat on the mat"
TRAITS = (
    "prompt", "focus", "target", "foil", "graph", "expanded", "selection", "measure", "keep",
    "view", "pins", "filters", "display", "interventions", "lens", "lenses", "against", "runs",
)  # fmt: skip
FIXTURES = Path(__file__).parents[1] / "fixtures"
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema.json").read_text("utf-8"))


@pytest.fixture(params=["gpt2", "llama"])
def widget(request: pytest.FixtureRequest) -> Iterator[vw.VisitWidget]:
    made = vw.visit(make_speaker(request.param), tokenizer(), PROMPT, lens="logit")
    yield made
    made.close()


@pytest.fixture
def sent(widget: vw.VisitWidget) -> list[dict[str, Any]]:
    """What the kernel sends as custom messages."""
    messages: list[dict[str, Any]] = []
    widget._desk.send = messages.append
    return messages


def state_of(widget: vw.VisitWidget) -> dict[str, Any]:
    return json.loads(json.dumps({name: getattr(widget, name) for name in TRAITS}))


def ask(widget: vw.VisitWidget, method: str, **params: Any) -> dict[str, Any]:
    """The answer to one request."""
    messages: list[dict[str, Any]] = []
    usual, widget._desk.send = widget._desk.send, messages.append
    try:
        widget._desk.receive(
            {"kind": "visit-request", "id": "a-1", "method": method, "params": params}
        )
    finally:
        widget._desk.send = usual
    (answer,) = messages
    assert is_envelope(answer)
    assert answer["id"] == "a-1"
    json.dumps(answer, allow_nan=False)
    return answer


def token(text: str) -> int:
    (found,) = tokenizer()(text, add_special_tokens=False)["input_ids"]
    return found


# Traits from Python.


def test_the_first_frame(widget):
    assert widget.prompt == PROMPT
    assert widget.focus == 5
    assert widget.expanded == []
    assert widget.selection == []
    assert widget.foil is None
    assert widget.target == {k: widget.graph["target"][k] for k in ("id", "text")}
    assert widget.graph["target"]["rank"] == 1
    assert widget.graph["revision"] == 1
    assert widget.keep == vw.Keep().to_dict()
    assert widget.status["state"] == "ready"
    assert widget.status["exact"] is True
    assert 0 <= widget.status["max_error"] < 1e-4
    assert widget.trace.prompt == PROMPT
    graph = {k: v for k, v in widget.graph.items() if k != "revision"}
    jsonschema.validate(json.loads(json.dumps(graph, allow_nan=False)), SCHEMA)


def test_options_are_traits():
    model = make_speaker("gpt2")
    widget = vw.visit(
        model, tokenizer(), PROMPT, focus=-3, target=" dog", foil=token(" mat"), layers=[1, 0, 1],
        keep={"heads": 2}, measure="norm",
    )  # fmt: skip
    assert (widget.focus, widget.expanded, widget.measure) == (3, [0, 1], "norm")
    assert widget.target == {"id": token(" dog"), "text": "␣dog"}
    assert widget.foil == {"id": token(" mat"), "text": "␣mat"}
    assert widget.keep["heads"] == 2
    assert widget.graph["position"] == 3
    assert widget.flow().layers == [0, 1]
    assert widget.flow([1]).layers == [1]


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [
        ("focus", 2, lambda g: g["position"] == 2),
        ("focus", -2, lambda g: g["position"] == 4),
        ("target", " dog", lambda g: g["target"]["text"] == "␣dog"),
        ("target", 3, lambda g: g["target"]["id"] == 3),
        ("target", {"id": 3}, lambda g: g["target"]["id"] == 3),
        ("foil", " red", lambda g: g["foil"]["text"] == "␣red"),
        ("foil", {"id": 5, "text": "whatever"}, lambda g: g["foil"]["id"] == 5),
        ("keep", vw.Keep(heads=1), lambda g: g["keep"]["heads"] == 1),
        ("keep", {"neurons": [2, 1]}, lambda g: g["keep"]["neurons"] == [2, 1]),
        (
            "prompt",
            "a dog ran",
            lambda g: [t["text"] for t in g["tokens"]] == ["a", "␣dog", "␣ran"],
        ),
    ],
)
@pytest.mark.parametrize("way", ["python", "browser"])
def test_a_change_publishes_a_new_graph(widget, name, value, seen, way):
    published = []
    widget.observe(lambda change: published.append(change["new"]), names="graph")
    widget.selection = ["L0.attn"]
    if way == "python":
        setattr(widget, name, value)
    else:
        # Plain data is all that a browser sends.
        if isinstance(value, vw.Keep):
            value = value.to_dict()
        elif isinstance(value, str) and name != "prompt":
            value = {"id": token(value), "text": "whatever"}
        widget.set_state({name: value})
    assert len(published) == 1, "once"
    assert widget.graph["revision"] == 2
    assert seen(widget.graph)
    assert widget.status["state"] == "ready"
    assert widget.focus == widget.graph["position"]
    for followed in ("target", "foil"):
        of_graph = widget.graph[followed]
        named = of_graph and {k: of_graph[k] for k in ("id", "text")}
        assert getattr(widget, followed) == named
    # What is selected is named alike in every graph of a prompt.
    assert widget.selection == ([] if name == "prompt" else ["L0.attn"])
    graph = {k: v for k, v in widget.graph.items() if k != "revision"}
    jsonschema.validate(json.loads(json.dumps(graph)), SCHEMA)


def test_the_published_numbers_are_those_of_the_new_prompt(widget):
    widget.prompt = "the dog"
    seen = look(widget.trace.model, widget.trace.input_ids.tolist())
    best = int(seen.logits[-1].argmax())
    assert widget.graph["target"]["id"] == best
    assert widget.graph["target"]["logit"] == pytest.approx(float(seen.logits[-1, best]), rel=1e-4)
    assert widget.focus == 1


def test_another_focus_follows_the_models_choice_there(widget):
    widget.foil = " red"
    widget.focus = 1
    seen = look(widget.trace.model, widget.trace.input_ids.tolist())
    assert widget.target["id"] == int(seen.logits[1].argmax())
    assert widget.foil["text"] == "␣red", "what it is compared against stays"
    widget.target = " dog"
    widget.target = None
    assert widget.target["id"] == int(seen.logits[1].argmax())
    widget.foil = None
    assert widget.graph["foil"] is None


@pytest.mark.parametrize("name", ["view", "expanded", "selection"])
def test_what_only_the_view_needs_draws_nothing(widget, name):
    value = {"view": "routes", "expanded": [1], "selection": ["L1.H0"]}[name]
    setattr(widget, name, value)
    assert getattr(widget, name) == value
    assert widget.graph["revision"] == 1


def test_traits_that_arrive_together_make_one_graph(widget):
    published = []
    widget.observe(lambda change: published.append(change["new"]), names="graph")
    widget.set_state({"focus": 3, "target": {"id": 7}, "foil": {"id": 9}, "keep": {"heads": 1}})
    assert len(published) == 1
    graph = published[0]
    assert (graph["position"], graph["target"]["id"], graph["foil"]["id"]) == (3, 7, 9)
    assert graph["keep"]["heads"] == 1


INVALID = [
    ("focus", 6, "has 6 tokens"),
    ("focus", -7, "has 6 tokens"),
    ("target", {"id": 10**6}, "vocabulary"),
    ("target", {"id": -1}, "vocabulary"),
    ("target", {"text": " dog"}, "token id"),
    ("target", [], "at least one token"),
    ("target", {"id": "mean:3,4"}, "not known any more"),
    ("target", True, "token id"),
    ("target", "", "not one token"),
    ("foil", {"id": 10**6}, "vocabulary"),
    ("foil", 1.5, "token id"),
    ("keep", {"hands": 2}, "no 'hands'"),
    ("keep", {"heads": -1}, "Keep.heads"),
    ("keep", {"heads": [1, 2, 3]}, "Keep.heads"),
    ("keep", {"mass": "half"}, "Keep.mass"),
    ("keep", "much", "Keep"),
    ("prompt", "", "empty"),
    ("measure", "width", "'share', 'logit'"),
    ("expanded", [99], "layers 0 to"),
    ("expanded", [-1], "layers 0 to"),
]
MISTYPED = [
    ("focus", "two"),
    ("focus", None),
    ("focus", 1.5),
    ("prompt", 5),
    ("prompt", None),
    ("selection", [3]),
    ("selection", 3),
    ("expanded", ["0"]),
    ("expanded", 3),
]


@pytest.fixture
def settled(widget: vw.VisitWidget) -> tuple[vw.VisitWidget, dict[str, Any]]:
    """A widget with a foil and a layer open, and its state."""
    widget.foil = " red"
    widget.expanded = [0]
    widget.selection = ["L0.attn"]
    return widget, state_of(widget)


@pytest.mark.parametrize(("name", "value", "sentence"), INVALID)
def test_what_cannot_be_used_raises_in_python_and_changes_nothing(settled, name, value, sentence):
    widget, before = settled
    with pytest.raises(vw.VisitError, match=sentence):
        setattr(widget, name, value)
    assert state_of(widget) == before
    assert widget.trace.prompt == PROMPT
    assert ask(widget, "expand", layer=0, revision=before["graph"]["revision"])["ok"]


@pytest.mark.parametrize(("name", "value"), MISTYPED)
def test_a_wrong_type_raises_in_python_and_changes_nothing(settled, name, value):
    widget, before = settled
    with pytest.raises((vw.VisitError, traitlets.TraitError)):
        setattr(widget, name, value)
    assert state_of(widget) == before


@pytest.mark.parametrize(("name", "value", "sentence"), INVALID)
def test_what_cannot_be_used_from_the_browser_is_put_back(settled, name, value, sentence):
    widget, before = settled
    told: list[Any] = []
    usual, widget.send_state = widget.send_state, lambda key=None: told.append(key)
    widget.set_state({name: value})
    widget.send_state = usual
    assert state_of(widget) == before
    assert widget.status["state"] == "error"
    assert re.search(sentence, widget.status["message"])
    assert any(name in (keys or ()) for keys in told), "the browser is told the old value"
    assert widget.trace.prompt == PROMPT
    widget.focus = 1
    assert widget.status["state"] == "ready"
    assert widget.status["message"] == ""


@pytest.mark.parametrize(("name", "value"), MISTYPED)
def test_a_wrong_type_from_the_browser_is_put_back(settled, name, value):
    widget, before = settled
    widget.set_state({name: value})
    assert state_of(widget) == before
    assert widget.status["state"] == "error"
    assert widget.status["message"]


def test_one_bad_value_puts_back_what_came_with_it(settled):
    widget, before = settled
    widget.set_state({"focus": 2, "measure": "norm", "target": {"id": 10**6}})
    assert state_of(widget) == before
    widget.set_state({"prompt": "a dog ran", "keep": {"heads": -1}})
    assert state_of(widget) == before
    assert widget.trace.prompt == PROMPT
    assert ask(widget, "expand", layer=1, revision=widget.graph["revision"])["ok"]


@pytest.mark.parametrize("options", [
    {"focus": 9}, {"target": ""}, {"foil": 10**6}, {"layers": [77]}, {"keep": {"hands": 1}},
    {"measure": "width"},
])  # fmt: skip
def test_a_widget_that_cannot_be_made_says_why(options):
    with pytest.raises(vw.VisitError):
        vw.visit(make_speaker("gpt2"), tokenizer(), PROMPT, **options)


def test_ids_without_a_tokenizer_make_a_widget():
    widget = vw.visit(make_model("gpt2", torch.float32), None, [3, 4, 5])
    assert widget.prompt == ""
    assert [t["text"] for t in widget.graph["tokens"]] == ["#3", "#4", "#5"]
    with pytest.raises(vw.VisitError, match="tokenizer"):
        widget.prompt = "the cat"
    assert widget.graph["revision"] == 1
    widget.focus = 0
    assert widget.graph["revision"] == 2


# Requests.


def is_envelope(message: Any) -> bool:
    """Whether a message to the browser is what docs/protocol.md says."""
    if not isinstance(message, dict) or not (isinstance(message.get("id"), str) and message["id"]):
        return False
    if message.get("kind") == "visit-progress":
        numbers = [message.get("done"), message.get("total")]
        return all(type(n) is int and n >= 0 for n in numbers)
    if message.get("kind") != "visit-response":
        return False
    if message.get("ok") is True:
        return "result" in message
    error = message.get("error")
    return (
        message.get("ok") is False
        and isinstance(error, dict)
        and isinstance(error.get("type"), str)
        and isinstance(error.get("message"), str)
    )


def messages(direction: str) -> list[Any]:
    every = json.loads((FIXTURES / "messages.json").read_text("utf-8"))
    return [
        pytest.param(m["message"], m["valid"], id=m["description"])
        for m in every
        if m["direction"] == direction
    ]


@pytest.mark.parametrize(("message", "valid"), messages("to-browser"))
def test_both_sides_mean_the_same_by_a_reply(message, valid):
    assert is_envelope(message) is valid


@pytest.mark.parametrize(("message", "valid"), messages("to-kernel"))
def test_both_sides_mean_the_same_by_a_request(widget, sent, message, valid):
    widget._desk.receive(message)
    assert all(is_envelope(reply) for reply in sent)
    if valid and message["kind"] == "visit-request":
        assert [reply["id"] for reply in sent] == [message["id"]]
    else:
        assert not any(reply["ok"] for reply in sent), "nothing is done for a broken message"


def test_messages_arrive_over_the_wire(widget, sent):
    data = {"kind": "visit-request", "id": "w", "method": "vocabulary", "params": {"query": "cat"}}
    widget._handle_custom_msg(data, [])
    assert [(reply["id"], reply["ok"]) for reply in sent] == [("w", True)]


@pytest.mark.parametrize("layer", [0, 1])
def test_expand_gives_the_layers_block(widget, layer):
    answer = ask(widget, "expand", layer=layer, revision=1)
    result = answer["result"]
    assert (answer["ok"], result["layer"], result["revision"]) == (True, layer, 1)
    whole = widget.flow([layer])
    known = {n["id"] for n in widget.graph["nodes"]}
    assert known | {n["id"] for n in result["nodes"]} == {n.id for n in whole.nodes}
    assert not known & {n["id"] for n in result["nodes"]}
    node = next(n for n in result["nodes"] if n["kind"] == "head")
    assert node["norm"] == pytest.approx(whole.node(node["id"]).norm, rel=1e-5)
    graph = {k: v for k, v in widget.graph.items() if k != "revision"}
    graph["nodes"] = graph["nodes"] + result["nodes"]
    graph["edges"] = graph["edges"] + result["edges"]
    jsonschema.validate(json.loads(json.dumps(graph)), SCHEMA)


def test_project_reads_nodes_of_any_layer(widget):
    ask(widget, "expand", layer=1, revision=1)
    head = next(n.id for n in widget.flow([1]).nodes if n.kind == "head")
    neuron = next(n.id for n in widget.flow([0]).nodes if n.kind == "neuron")
    answer = ask(widget, "project", nodes=[head, neuron, "L0.post", "logits"], revision=1)
    assert answer["ok"], answer
    details = answer["result"]["nodes"]
    assert list(details) == [head, neuron, "L0.post", "logits"]
    for node_id, detail in details.items():
        assert detail["id"] == node_id
        assert len(detail["top"]) == len(detail["bottom"]) == 10
        logits = [t["logit"] for t in detail["top"]]
        assert logits == sorted(logits, reverse=True)
        chances = [t["probability"] for t in detail["top"]]
        assert chances == sorted(chances, reverse=True)
        assert detail["target"].keys() == {"probability", "rank"}
        assert detail["foil"] is None
    assert details[neuron]["reads"]["top"]
    assert details[head]["reads"] is details[neuron]["attention"] is None


def test_a_heads_detail_is_its_attention_and_its_sources(widget):
    layer = 1
    seen = look(widget.trace.model, widget.trace.input_ids.tolist())
    for h in range(widget.trace.n_heads):
        detail = ask(widget, "project", nodes=[f"L{layer}.H{h}"])["result"]["nodes"][
            f"L{layer}.H{h}"
        ]
        weights = seen.attentions[layer][h, 5]
        assert detail["attention"] == pytest.approx(weights.tolist(), abs=1e-4)
        assert sum(s["logit"] for s in detail["sources"]) == pytest.approx(
            detail["logit"], abs=1e-3
        )
        sizes = [abs(s["logit"]) for s in detail["sources"]]
        assert sizes == sorted(sizes, reverse=True)
        for source in detail["sources"]:
            expected = float(weights[source["position"]])
            assert source["weight"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("rows", [0, 8])
def test_a_nodes_share_is_of_the_whole_it_flows_into(widget, rows):
    """Also when rows are shown apart: the detail is of the head as a whole, like its logit."""
    widget.keep = {"heads": 9, "rows": rows}
    seen = look(widget.trace.model, widget.trace.input_ids.tolist())
    block = blocks_of(widget.trace.model)[1]
    whole = seen.attention[1][5]
    z = seen.heads[1][5].reshape(widget.trace.n_heads, -1)
    matrix = matrix_of(block.out).reshape(*z.shape, -1)
    for h in range(len(z)):
        detail = ask(widget, "project", nodes=[f"L1.H{h}"])["result"]["nodes"][f"L1.H{h}"]
        assert detail["whole"] == "L1.attn"
        expected = float((z[h] @ matrix[h]) @ whole / (whole @ whole))
        assert detail["share"] == pytest.approx(expected, abs=1e-4)


def test_a_foil_is_read_too(widget):
    widget.foil = " red"
    detail = ask(widget, "project", nodes=["L0.attn"])["result"]["nodes"]["L0.attn"]
    assert detail["foil"].keys() == {"probability", "rank"}
    seen = look(widget.trace.model, widget.trace.input_ids.tolist())
    direct = vw.LogitLens(widget.trace.model).project(
        seen.attention[0][5][None], targets=[widget.foil["id"]]
    )
    assert detail["foil"]["rank"] == int(direct.target_ranks)


def test_vocabulary_finds_tokens_best_first(widget):
    def found(query: str, **more: Any) -> list[str]:
        result = ask(widget, "vocabulary", query=query, **more)["result"]
        for row in result["tokens"]:
            assert row.keys() == {"id", "text"}
        return [row["text"] for row in result["tokens"]]

    assert found(" cat")[0] == "␣cat"
    assert found("cat")[0] in ("cat", "␣cat")
    assert found("CAT")[:1] == found("cat")[:1]
    assert "␣city" in found("cit")
    assert len(found("a", limit=3)) == 3
    assert found("zebra") == []
    assert found("") == []
    id_of = ask(widget, "vocabulary", query=" dog", limit=1)["result"]["tokens"][0]["id"]
    assert id_of == token(" dog")


def test_the_audit_is_the_traces_own_at_the_focus(widget):
    widget.focus = 3
    result = ask(widget, "audit", revision=2)["result"]
    direct = widget.trace.audit(3)
    assert [row["identity"] for row in result["rows"]] == list(direct.errors)
    for row, error in zip(result["rows"], direct.errors.values(), strict=True):
        assert row["error"] == pytest.approx(error, abs=1e-7)
        assert row["tolerance"] == pytest.approx(direct.tolerance_for(row["identity"]), rel=1e-5)
    assert result["tolerance"] == pytest.approx(direct.tolerance, rel=1e-5)
    assert result["exact"] is True
    assert result["max_error"] == max(row["error"] for row in result["rows"])
    assert (result["position"], result["dtype"]) == (3, "float32")


@pytest.fixture
def audited(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The (prompt, position) of every audit that is computed."""
    from visit_widget.trace.trace import Trace

    audit, seen = Trace.audit, []

    def watched(trace: Any, position: int = -1) -> Any:
        seen.append((trace.prompt, position))
        return audit(trace, position)

    monkeypatch.setattr(Trace, "audit", watched)
    return seen


def test_an_audit_is_computed_once_a_trace_and_focus(widget, audited):
    first = ask(widget, "audit")
    widget.target = " dog"
    assert ask(widget, "audit") == first
    widget.focus = 1
    assert ask(widget, "audit")["result"]["position"] == 1
    widget.focus = 5
    assert ask(widget, "audit") == first
    widget.prompt = "a red dog"
    assert ask(widget, "audit")["result"]["position"] == 2
    assert audited == [(PROMPT, 5), (PROMPT, 1), ("a red dog", 2)]


def test_an_audit_of_what_cannot_be_asked_or_is_off_travels_as_it_is(widget, monkeypatch):
    from visit_widget.trace.audit import Audit
    from visit_widget.trace.trace import Trace

    errors = {"head = Σ sources": 0.25, "attention rows = output_attentions": float("nan")}
    monkeypatch.setattr(Trace, "audit", lambda *_: Audit(errors, 1e-4))
    result = ask(widget, "audit")["result"]
    assert [row["error"] for row in result["rows"]] == [0.25, None]
    assert (result["exact"], result["max_error"]) == (False, 0.25)


def test_retrace_draws_another_prompt(widget):
    answer = ask(widget, "retrace", prompt="a red dog")
    assert answer == {
        "kind": "visit-response", "id": "a-1", "ok": True, "result": {"revision": 2},
    }  # fmt: skip
    assert widget.prompt == widget.graph["prompt"] == "a red dog"
    assert widget.graph["revision"] == 2
    assert ask(widget, "expand", layer=0, revision=2)["ok"]


@pytest.mark.parametrize(
    ("method", "params", "sentence"),
    [
        ("expand", {"layer": 99, "revision": 1}, "layers 0 to"),
        ("expand", {"layer": -1, "revision": 1}, "layers 0 to"),
        ("expand", {"layer": 0, "revision": 0}, "ask again"),
        ("expand", {"layer": "0", "revision": 1}, "whole number"),
        ("expand", {"layer": None, "revision": 1}, "whole number"),
        ("expand", {"layer": 0.5, "revision": 1}, "whole number"),
        ("expand", {}, ""),
        ("expand", {"layer": 0, "revision": 1, "colour": "red"}, ""),
        ("project", {"nodes": ["L0.H77"], "revision": 1}, "L0.H77"),
        ("project", {"nodes": ["L77.H0"], "revision": 1}, "layers 0 to"),
        ("project", {"nodes": ["river"], "revision": 1}, "river"),
        ("project", {"nodes": [3], "revision": 1}, ""),
        ("project", {"nodes": 3, "revision": 1}, ""),
        ("project", {"nodes": ["L0.attn"], "revision": 7}, "ask again"),
        ("audit", {"revision": 7}, "ask again"),
        ("audit", {"position": 2}, ""),
        ("retrace", {"prompt": ""}, "empty"),
        ("retrace", {"prompt": 3}, ""),
        ("retrace", {}, ""),
        ("vocabulary", {}, ""),
        ("vocabulary", {"query": 3}, ""),
        ("patch", {}, "no method 'patch'"),
        ("receive", {}, "no method"),
        ("__class__", {}, "no method"),
    ],
)
def test_a_request_that_cannot_be_met_gets_a_sentence(widget, method, params, sentence):
    before = state_of(widget)
    answer = ask(widget, method, **params)
    assert answer["ok"] is False
    assert sentence in answer["error"]["message"]
    assert len(answer["error"]["message"]) > 15
    assert "Traceback" not in answer["error"]["message"]
    assert state_of(widget) == before
    assert ask(widget, "expand", layer=0, revision=1)["ok"], "still usable"


def test_an_answer_for_an_older_graph_is_refused(widget):
    assert ask(widget, "expand", layer=0, revision=1)["ok"]
    widget.focus = 0
    answer = ask(widget, "expand", layer=0, revision=1)
    assert "changed" in answer["error"]["message"]
    assert ask(widget, "expand", layer=0, revision=2)["ok"]


@pytest.mark.parametrize(("method", "params"), [
    ("expand", {"layer": 0, "revision": 1}), ("project", {"nodes": ["L0.attn"], "revision": 1}),
    ("audit", {"revision": 1}),
])  # fmt: skip
def test_a_graph_that_changes_while_a_request_waits_is_noticed(widget, method, params):
    """Requests may come on another thread while a cell is running."""
    answers: list[dict[str, Any]] = []
    other = threading.Thread(target=lambda: answers.append(ask(widget, method, **params)))
    with MODEL_LOCK:
        other.start()
        time.sleep(0.1)
        widget.focus = 0
    other.join()
    assert not answers[0]["ok"]
    assert "changed" in answers[0]["error"]["message"]


def test_a_cancelled_request_gets_no_reply(widget, sent):
    request = {"kind": "visit-request", "id": "c", "method": "expand", "params": {"layer": 0}}
    widget._desk.receive({"kind": "visit-cancel", "id": "c"})
    widget._desk.receive(request)
    assert sent == []
    widget._desk.receive({**request, "id": "d"})
    assert [reply["id"] for reply in sent] == ["d"]


def test_a_request_cancelled_while_it_is_met_gets_no_reply(widget, sent):
    meet = widget._desk.methods["expand"]

    def slow(**params: Any) -> dict[str, Any]:
        widget._desk.receive({"kind": "visit-cancel", "id": "c"})
        return meet(**params)

    widget._desk.methods["expand"] = slow
    params = {"layer": 0, "revision": 1}
    widget._desk.receive({"kind": "visit-request", "id": "c", "method": "expand", "params": params})
    assert sent == []


def raising(model: Any) -> Any:
    """A hook by which the model fails, as when its memory is spent."""

    def fail(*_: Any) -> None:
        raise RuntimeError("out of\nmemory")

    return blocks_of(model)[1].mlp.register_forward_pre_hook(fail)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("expand", {"layer": 1, "revision": 1}),
        ("audit", {"revision": 1}),
        ("retrace", {"prompt": "a red dog"}),
    ],
)
def test_a_model_that_fails_is_answered_for(widget, caplog, method, params):
    before = state_of(widget)
    widget._session.painter.trace._mlp_row.cache_clear()
    handle = raising(widget.trace.model)
    answer = ask(widget, method, **params)
    handle.remove()
    assert answer["ok"] is False
    assert answer["error"]["type"] == "RuntimeError"
    assert "out of memory" in answer["error"]["message"]
    assert "\n" not in answer["error"]["message"]
    assert "Traceback" in caplog.text
    assert state_of(widget) == before
    assert widget.trace.prompt == PROMPT
    assert ask(widget, "expand", layer=1, revision=1)["ok"]
    assert ask(widget, "audit")["ok"]
    assert ask(widget, "retrace", prompt="a red dog")["result"]["revision"] == 2


@pytest.mark.parametrize("change", [{"prompt": "a red dog"}, {"focus": 2}, {"foil": {"id": 3}}])
@pytest.mark.parametrize("way", ["python", "browser"])
def test_a_model_that_fails_in_a_change_leaves_the_widget_as_it_was(settled, change, way):
    widget, before = settled
    (name,) = change
    if name == "foil":
        # At the last token nothing is run again: the pass left what each sublayer added there.
        widget.focus = 2
        before = state_of(widget)
    widget.trace._mlp_row.cache_clear()
    handle = raising(widget.trace.model)
    if way == "python":
        with pytest.raises(RuntimeError, match="memory"):
            setattr(widget, name, change[name])
    else:
        widget.set_state(change)
        assert widget.status["state"] == "error"
        assert "memory" in widget.status["message"]
    handle.remove()
    assert state_of(widget) == before
    setattr(widget, name, change[name])
    assert widget.graph["revision"] == before["graph"]["revision"] + 1
    assert widget.status["state"] == "ready"


def test_interrupting_a_change_leaves_the_widget_as_it_was(widget):
    before = state_of(widget)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    handle = blocks_of(widget.trace.model)[1].mlp.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        widget.prompt = "a red dog"
    handle.remove()
    assert state_of(widget) == before
    widget.prompt = "a red dog"
    assert widget.graph["revision"] == 2


# What travels.


def keys_of(rows: list[dict[str, Any]]) -> set[str]:
    assert rows
    (keys,) = {frozenset(row) for row in rows}
    return set(keys)


def test_the_fixtures_of_the_front_end_are_what_the_kernel_sends(widget):
    def fixture(name: str) -> Any:
        return json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))

    expand, project, traits = fixture("expand"), fixture("project"), fixture("traits")
    block = ask(widget, "expand", layer=0, revision=1)["result"]
    assert expand.keys() == block.keys()
    for part in ("nodes", "edges"):
        assert keys_of(expand[part]) == keys_of(block[part])
        assert keys_of(traits["graph"][part]) == keys_of(widget.graph[part])
    ids = [n["id"] for n in block["nodes"]]
    details = ask(widget, "project", nodes=ids, revision=1)["result"]
    assert project.keys() == details.keys()
    theirs = keys_of(list(project["nodes"].values()))
    assert theirs == keys_of(list(details["nodes"].values()))
    audit = ask(widget, "audit", revision=1)["result"]
    assert fixture("audit").keys() == audit.keys()
    assert keys_of(fixture("audit")["rows"]) == keys_of(audit["rows"])
    for name in ("routes", "attribution", "predictions"):
        answer = ask(widget, name, revision=1)["result"]
        assert fixture(name).keys() == answer.keys()
        rows = {"routes": "edges", "attribution": "tokens", "predictions": "positions"}[name]
        assert keys_of(fixture(name)[rows][:1]) == keys_of(answer[rows][:1])
    assert traits.keys() == {*TRAITS, "status"}
    assert traits["graph"].keys() == widget.graph.keys()
    assert traits["status"].keys() == widget.status.keys()
    for graph in (fixture("graph"), traits["graph"]):
        jsonschema.validate({k: v for k, v in graph.items() if k != "revision"}, SCHEMA)


def test_the_graph_trait_is_a_flow_graph(widget):
    from visit_widget.flow import FlowGraph

    graph = FlowGraph.from_dict(widget.graph)
    assert graph.node("L0.attn").logit == pytest.approx(
        widget.flow().node("L0.attn").logit, rel=1e-5
    )


def test_floats_have_six_digits(widget):
    for node in widget.graph["nodes"]:
        assert len(re.sub(r"e.*|\D", "", repr(node["norm"])).strip("0")) <= 6


# The standalone page.


class Page(HTMLParser):
    """What a page loads, and the data in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.texts: dict[str, str] = {}
        self._at = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        attributes = dict(attrs)
        self._at = attributes.get("id") or tag
        loading = ("src", "srcset", "href", "data", "poster", "action", "background", "xlink:href")
        self.loads += [v for k, v in attributes.items() if k in loading and tag != "a"]

    def handle_data(self, data: str) -> None:
        self.texts[self._at] = self.texts.get(self._at, "") + data


def test_save_html_writes_one_page_that_needs_nothing_else(widget, tmp_path):
    widget.expanded = [1]
    path = widget.save_html(tmp_path / "flow.html")
    assert [p.name for p in tmp_path.iterdir()] == ["flow.html"]
    text = path.read_text("utf-8")
    read = Page(text)
    assert read.loads == []
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:|#)", read.texts["style"])
    assert "<link" not in text
    bundle = json.loads(read.texts["visit-bundle"])
    assert "mountStandalone" in bundle
    fetched = r"""(?:import|fetch|open|Worker|from|src\s*=|href\s*=)\s*\(?\s*["'`](?:https?:)?//"""
    assert not re.search(fetched, bundle)
    assert "sourceMappingURL" not in bundle
    data = data_in(text)
    answers = {"expand", "project", "audit", "routes", "attribution", "predictions", "sinks"}
    assert data.keys() == {"traits", "view_state", *answers}
    for name in ("routes", "attribution", "predictions", "sinks"):
        assert data[name] == ask(widget, name)["result"]
    assert data["audit"] is None
    assert data["traits"].keys() == {*TRAITS, "status"}
    assert data["traits"]["expanded"] == [1]
    assert data["traits"]["graph"] == json.loads(json.dumps(widget.graph))
    assert data["expand"].keys() == {"1"}
    ids = [n["id"] for n in widget.graph["nodes"] + data["expand"]["1"]["nodes"]]
    assert list(data["project"]) == ids


@pytest.mark.parametrize(
    ("expand", "layers"), [("all", "01"), ([1], "1"), ("visible", ""), ([], "")]
)
def test_save_html_includes_the_layers_asked_for(widget, tmp_path, expand, layers):
    n = widget.trace.n_layers
    steps: list[tuple[int, int]] = []
    path = widget.save_html(tmp_path / "a.html", expand, progress=lambda *at: steps.append(at))
    data = data_in(path.read_text("utf-8"))
    wanted = [str(layer) for layer in range(n)] if expand == "all" else list(layers)
    assert list(data["expand"]) == wanted
    assert steps[-1] == (len(wanted), len(wanted))
    assert widget.expanded == []


def saved_audit(widget: vw.VisitWidget, folder: Path, **options: Any) -> Any:
    text = widget.save_html(folder / "a.html", **options).read_text("utf-8")
    return data_in(text)["audit"]


def test_save_html_includes_the_audit_that_was_read_or_is_asked_for(widget, tmp_path, audited):
    assert saved_audit(widget, tmp_path) is None
    assert audited == []
    read = ask(widget, "audit")["result"]
    assert saved_audit(widget, tmp_path) == read
    widget.focus = 2
    assert saved_audit(widget, tmp_path) is None, "of another position"
    asked = saved_audit(widget, tmp_path, audit=True)
    assert asked["position"] == 2
    assert asked == ask(widget, "audit")["result"]
    assert len(audited) == 2
    inside = html.unescape(widget.to_iframe([], audit=True).data)
    assert data_in(inside)["audit"]["position"] == 2


def test_a_prompt_cannot_break_out_of_its_page(tmp_path):
    prompt = "</script><script>alert(1)</script><!-- \u2028 ]]> & the cat"
    widget = vw.visit(make_speaker("llama", max_position_embeddings=128), tokenizer(), prompt)
    text = widget.save_html(tmp_path / "a.html").read_text("utf-8")
    read = Page(text)
    assert data_in(text)["traits"]["prompt"] == prompt
    assert text.count("<script") == 3
    assert "alert(1)</script>" not in text
    assert read.texts["title"].startswith("</script>"), "escaped, and read back"


def test_a_page_that_cannot_be_written_says_so_and_leaves_nothing(widget, tmp_path):
    with pytest.raises(vw.VisitError, match="Could not write"):
        widget.save_html(tmp_path / "no such folder" / "flow.html")
    with pytest.raises(vw.VisitError, match="'visible', 'all' or a list"):
        widget.save_html(tmp_path / "flow.html", "some")
    with pytest.raises(vw.VisitError, match="layers 0 to"):
        widget.save_html(tmp_path / "flow.html", [99])
    (tmp_path / "folder").mkdir()
    with pytest.raises(vw.VisitError, match="Could not write"):
        widget.save_html(tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_an_iframe_holds_the_whole_page(widget, tmp_path):
    shown = widget.to_iframe([0], height=400).data

    class Frame(HTMLParser):
        page = ""

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag == "iframe":
                Frame.page = dict(attrs)["srcdoc"]

    Frame().feed(shown)
    assert Frame.page == widget.save_html(tmp_path / "a.html", [0]).read_text("utf-8")
    assert "height:400px" in shown
