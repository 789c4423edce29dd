"""A widget's view state: the picture again, exactly; and what cannot be used changes nothing."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
import torch
import traitlets

import visit_widget as vw
from tests.pages import data_in
from tests.tiny import make_speaker, tokenizer

N_LAYERS = make_speaker("gpt2").config.n_layer
PROMPT = "the cat sat on the mat"
TRAITS = (
    "prompt", "focus", "target", "foil", "expanded", "selection", "pins", "filters", "display",
    "measure", "keep", "view",
)  # fmt: skip


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> Any:
    return make_speaker(request.param)


@pytest.fixture
def widget(model):
    made = vw.visit(model, tokenizer(), PROMPT)
    yield made
    made.close()


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


def picture(widget: vw.VisitWidget) -> str:
    """Everything that the browser draws, as JSON; the revision only counts."""
    traits = {name: getattr(widget, name) for name in TRAITS}
    graph = {**widget.graph, "revision": None}
    session = widget._session
    return json.dumps(
        [
            traits,
            graph,
            [session.expand(layer)["nodes"] for layer in widget.expanded],
            [session.expand(layer)["edges"] for layer in widget.expanded],
            {**session.routes(), "revision": None},
        ],
        sort_keys=True,
    )


def arrange(widget: vw.VisitWidget) -> None:
    """As a reader would leave it: nothing at its default."""
    widget.focus = 4
    widget.foil = " red"
    widget.target = vw.Target([" dog", " mat", " the"], weights=[0.1, 0.7, 0.2])
    widget.keep = {"heads": 1, "neurons": [2, 1], "more": {"L0.mlp.rest": 3}}
    widget.measure, widget.view = "share", "routes"
    widget.expanded = [1, 0]
    widget.selection, widget.pins = ["L1.H0"], ["L0.mlp", "L1.attn"]
    widget.filters = {"layers": [1, 1], "heads": {0: [1, 0, 0]}}
    search = {"query": "dog", "hit": "token 2"}
    widget.display = {"under": ["predictions"], "unfolded": True, "search": search}


def test_another_widget_of_the_model_shows_the_identical_picture(model, widget):
    arrange(widget)
    state = through_json(widget.view_state)
    again = vw.visit(model, tokenizer(), view_state=state)
    assert picture(again) == picture(widget)
    assert again.view_state == widget.view_state == state


def test_a_widget_goes_back_to_what_it_showed(widget):
    first, drawn = through_json(widget.view_state), picture(widget)
    arrange(widget)
    arranged, then = through_json(widget.view_state), picture(widget)
    widget.prompt = "a dog ran"
    widget.view_state = arranged
    assert picture(widget) == then
    widget.view_state = first
    assert picture(widget) == drawn
    assert widget.status["state"] == "ready"


@pytest.mark.parametrize(
    "target",
    [
        vw.Target([" dog", " mat"], combine="logsumexp"),
        vw.Target.direction(torch.linspace(-1, 1, 16), name="probe"),
        vw.Target.direction(torch.linspace(-1, 1, 16, dtype=torch.float16)),
        vw.Target.direction(torch.linspace(-1, 1, 16, dtype=torch.float64) / 3),
    ],
    ids=["logsumexp", "float32", "float16", "float64"],
)
def test_whatever_is_followed_is_in_it_whole(target):
    model = make_speaker("llama")
    widget = vw.visit(model, tokenizer(), PROMPT)
    if target.vector is not None:
        size = widget.trace.d_model
        target = vw.Target.direction(target.vector.repeat(8)[:size], name=target.name)
    widget.target = target
    again = vw.visit(model, tokenizer(), view_state=through_json(widget.view_state))
    assert again.target == widget.target
    assert picture(again) == picture(widget)


@pytest.mark.parametrize("prompt", [[3, 1, 4, 1, 5], torch.tensor([[2, 7, 1]])])
def test_a_prompt_of_ids_stays_one(model, prompt):
    widget = vw.visit(model, tokenizer(), prompt)
    again = vw.visit(model, tokenizer(), view_state=through_json(widget.view_state))
    assert again.trace.input_ids.tolist() == widget.trace.input_ids.tolist()
    assert again.trace._text is None
    assert picture(again) == picture(widget)
    bare = vw.visit(model, None, prompt)
    assert picture(vw.visit(model, None, view_state=bare.view_state)) == picture(bare)


def test_special_tokens_are_put_around_an_edited_prompt_as_before(model):
    widget = vw.visit(model, tokenizer(), PROMPT, add_special_tokens=False)
    again = vw.visit(model, tokenizer(), view_state=widget.view_state)
    assert again.trace.special is False
    widget.prompt = again.prompt = "a dog"
    assert again.trace.input_ids.tolist() == widget.trace.input_ids.tolist()


def test_a_trace_takes_one_too(model, widget, monkeypatch):
    arrange(widget)
    trace = vw.trace(model, tokenizer(), PROMPT)
    with monkeypatch.context() as patched:
        # Its own prompt takes no further pass.
        patched.setattr("visit_widget.widget.session.trace_prepared", None)
        again = vw.visit(trace, view_state=widget.view_state)
    assert picture(again) == picture(widget)
    other = vw.visit(vw.trace(model, tokenizer(), "a dog"), view_state=widget.view_state)
    assert picture(other) == picture(widget)


def test_a_state_is_a_copy(widget):
    arrange(widget)
    state = widget.view_state
    kept = copy.deepcopy(state)
    state["filters"]["heads"]["0"].append(7)
    state["keep"]["more"]["L1.mlp.rest"] = 4
    assert widget.view_state == kept


def without(name: str):
    return lambda state: {key: value for key, value in state.items() if key != name}


def other(**changes: Any):
    return lambda state: {**state, **changes}


WRONG = [
    (lambda state: "L23.H4", "A view state is a dict"),
    (lambda state: [state], "A view state is a dict"),
    (lambda state: {}, "of version None"),
    (other(version=99), "of version 99, and this visit_widget reads version 1"),
    (other(zoom=2), "A view state has no 'zoom'"),
    (without("keep"), "lacks 'keep'"),
    (without("input_ids"), "lacks 'input_ids'"),
    (other(model=None), "'model' is no dict"),
    (other(focus="last"), "'focus' is a position"),
    (other(focus=True), "'focus' is a position"),
    (other(focus=17), "Position 17 is outside"),
    (other(expanded=3), "'expanded' is a list of layers"),
    (other(expanded=[9]), "Layer 9 does not exist"),
    (other(input_ids=[]), "The prompt is empty"),
    (other(input_ids=[1, 10**9]), "outside the model's vocabulary"),
    (other(input_ids=[1, 2**70]), "'input_ids' are no token ids"),
    (other(input_ids="abc"), "'input_ids' are no token ids"),
    (other(prompt=3), "'prompt' is a text"),
    (other(special="yes"), "'special' is True, False or None"),
    (other(target=None), "nothing is followed"),
    (other(target="␣Tokyo"), "'target' says nothing"),
    (other(target={"kind": "token", "ids": [1, 2], "weights": [1.0, 1.0]}), "'target' says noth"),
    (other(target={"kind": "token", "ids": [10**8], "weights": [1.0]}), "outside the model's voc"),
    (other(foil={"kind": "direction", "vector": [1.0], "dtype": "int3", "name": "x"}), "'foil' sa"),
    (
        other(foil={"kind": "direction", "vector": [1.0], "dtype": "float32", "name": "x"}),
        "has 1 numbers",
    ),
    (other(measure="size"), "measure='size' is not known"),
    (other(view="pie"), "view='pie' is not known"),
    (other(keep={"hats": 3}), "hats"),
    (other(selection="L1.H0"), "selection is a list of node ids"),
    (other(selection=[1]), "selection is a list of node ids"),
    (other(pins=["a", "b", "c", "d", "e"]), "At most 4 nodes can be pinned, not 5"),
    (other(filters=None), "filters is a mapping"),
    (other(filters={"size": 1}), "filters has no 'size'"),
    (other(filters={"layers": [1]}), "a first and a last layer"),
    (other(filters={"layers": [1, 0]}), "goes from 1 back to 0"),
    (other(filters={"layers": [0, 77]}), "Layer 77 does not exist"),
    (other(filters={"heads": [1]}), "maps layers to the heads"),
    (other(filters={"heads": {"one": [1]}}), "'one' where a layer's number belongs"),
    (other(filters={"heads": {"0": 1}}), "is a list of heads"),
    (other(filters={"heads": {"0": [99]}}), "no head 99"),
    (other(display={"under": "all"}), "display['under'] is a list"),
    (other(display={"least": 1}), "display['least'] is True or False"),
]


@pytest.mark.parametrize(("spoil", "says"), WRONG, ids=[says[:40] for _, says in WRONG])
@pytest.mark.parametrize("way", ["set", "visit"])
def test_what_cannot_be_used_is_said_and_changes_nothing(model, widget, spoil, says, way):
    arrange(widget)
    before, drawn = widget.view_state, widget.graph
    spoiled = spoil(copy.deepcopy(before))

    def use() -> None:
        if way == "set":
            widget.view_state = spoiled
        else:
            vw.visit(model, tokenizer(), view_state=spoiled)

    with pytest.raises(vw.VisitError, match=re.escape(says)) as caught:
        use()
    assert "\n" not in str(caught.value)
    assert str(caught.value).rstrip()[-1] in ".?"
    assert widget.graph is drawn
    assert widget.view_state == before
    # The trace behind it is still the one that is drawn.
    assert widget.trace.input_ids.tolist() == before["input_ids"]
    assert widget._session.expand(1)["revision"] == widget.graph["revision"]


def test_a_state_of_another_model_is_refused(widget):
    state = widget.view_state
    model = copy.deepcopy(widget.trace.model)
    with torch.no_grad():
        next(iter(model.parameters())).mul_(1.01)
    with pytest.raises(vw.VisitError, match=r"of another model.*load the model"):
        vw.visit(model, tokenizer(), view_state=state)
    # Where weights cannot be told, sizes are.
    known = {**state["model"], "fingerprint": None, "d_mlp": 3}
    with pytest.raises(vw.VisitError, match="whose d_mlp is 3"):
        widget.view_state = {**state, "model": known}
    with pytest.raises(vw.VisitError, match="whose d_mlp is 3"):
        vw.visit(widget.trace.model, tokenizer(), view_state={**state, "model": known})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", PROMPT), ("focus", 2), ("target", " dog"), ("foil", " red"), ("layers", [1]),
        ("keep", {}), ("measure", "norm"), ("view", "routes"), ("add_special_tokens", False),
        ("attention_mask", [1]),
    ],
)  # fmt: skip
def test_nothing_is_said_twice(model, widget, name, value):
    with pytest.raises(vw.VisitError, match=f"leave {name}= out"):
        vw.visit(model, tokenizer(), view_state=widget.view_state, **{name: value})


# The traits that are new with it.


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        ("pins", ["L1.H0", "L1.H0", "P2.L1.mlp"], ["L1.H0", "P2.L1.mlp"]),
        ("filters", {}, {"layers": None, "heads": {}}),
        ("filters", {"layers": [0, N_LAYERS - 1]}, {"layers": None, "heads": {}}),
        ("filters", {"layers": (1, 1), "heads": {1: [1], "0": []}},
         {"layers": [1, 1], "heads": {"1": [1]}}),
        ("display", {"under": ["predictions", "attribution"]},
         {"under": ["attribution", "predictions"], "least": False, "unfolded": False,
          "search": None}),
        ("display", {"search": {"query": "dog"}},
         {"under": ["attribution", "predictions"], "least": False, "unfolded": False,
          "search": {"query": "dog", "hit": None}}),
    ],
)  # fmt: skip
def test_traits_have_one_way_to_be_written(widget, name, value, becomes):
    setattr(widget, name, value)
    assert getattr(widget, name) == becomes
    assert widget.graph["revision"] == 1, "nothing is drawn anew"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pins", list("abcde")), ("filters", {"layers": [3, 9]}),
        ("filters", {"heads": {"0": [12]}}), ("display", {"under": ["everything"]}),
        ("display", {"search": "dog"}), ("display", {"search": {"query": 3}}),
        ("display", {"search": {"query": "a", "hit": 3}}),
    ],
)  # fmt: skip
def test_what_a_browser_sets_wrongly_is_put_back(widget, name, value):
    before = getattr(widget, name)
    with pytest.raises((vw.VisitError, traitlets.TraitError)):
        setattr(widget, name, value)
    widget.set_state({name: value})
    assert getattr(widget, name) == before
    assert widget.status["state"] == "error"


def test_pins_and_filters_outlast_a_change_of_prompt(widget):
    arrange(widget)
    pins, filters = widget.pins, widget.filters
    widget.prompt = "a dog ran"
    assert widget.selection == []
    assert (widget.pins, widget.filters) == (pins, filters)


def test_a_lenient_question_says_what_is_missing(widget):
    answer = widget._session.project(["L1.H0", "L1.H77", "nonsense"], lenient=True)
    assert list(answer["nodes"]) == ["L1.H0"]
    assert answer["nodes"] == widget._session.project(["L1.H0"])["nodes"]
    assert answer["missing"].keys() == {"L1.H77", "nonsense"}
    assert all("is not drawn" in sentence for sentence in answer["missing"].values())


def test_a_page_carries_it(widget):
    arrange(widget)
    widget.expanded, widget.keep = [1], {}
    widget.pins = ["L0.H1", "L1.attn", "L0.H9"]
    data = data_in(widget._page("visible", None, False))
    assert data["view_state"] == through_json(widget.view_state)
    for name in ("selection", "pins", "filters", "display"):
        assert data["traits"][name] == getattr(widget, name)
    # A pinned node of a layer that is not open is told of all the same.
    assert "L0.H1" in data["project"]
    assert "L0.H9" not in data["project"]
