"""A widget of a generation: its steps, its branches, and playing it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import visit_widget as vw
from tests.tiny import make_speaker, tokenizer
from visit_widget.widget.plain import compact

PROMPT = "the cat sat on the"


@pytest.fixture
def said() -> vw.Generation:
    return vw.generate(
        make_speaker("llama"), tokenizer(), PROMPT, max_new_tokens=5, do_sample=True, seed=1
    )


def apart(run: Callable[[], Any]) -> Any:
    """What it gives on a thread of its own: other tests may have left a loop running on this."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def drawn(graph: dict) -> dict:
    """A graph of a widget as a graph alone has it."""
    own = ("revision", "step", "branch", "turns")
    return {name: value for name, value in graph.items() if name not in own}


def of_trace(trace: vw.Trace, **options) -> dict:
    graph = compact(trace.flow(measure="logit", **options).to_dict())
    return drawn(json.loads(json.dumps(graph)))


def asked(widget: vw.VisitWidget, method: str, **params) -> dict:
    """The answer to a request, and whatever was sent before it."""
    sent: list[dict] = []
    widget._desk.send = sent.append  # type: ignore[method-assign]
    widget._desk.receive({"kind": "visit-request", "id": "1", "method": method, "params": params})
    return sent[-1]


def test_each_step_is_drawn_as_its_trace_with_the_token_that_came(said):
    widget = vw.visit(said, view="routes")
    assert any(step.rank > 1 for step in said.steps), "a sample of first choices proves nothing"
    for place in (0, 3, 4, 1):
        widget.step = place
        assert drawn(widget.graph) == of_trace(said.traces[place], target=said.token_ids[place])
        assert widget.target["id"] == said.token_ids[place]
        assert (widget.graph["step"], widget.graph["branch"]) == (place, 0)
        assert widget.focus == len(said.input_ids) + place - 1
    assert widget.view == "routes"


def test_the_tape_says_what_the_steps_say(said):
    data = vw.visit(said).generation
    assert data["begun"] == len(said.input_ids)
    assert json.loads(json.dumps(data)) == data
    for token, step in zip(data["tokens"], said.steps, strict=True):
        assert (token["id"], token["text"], token["rank"]) == (step.token, step.text, step.rank)
        assert token["probability"] == pytest.approx(step.probability, rel=1e-5)
        assert (token["first"] or token)["id"] == step.first
        assert (token["first"] is None) == (step.rank == 1)


def test_the_rest_of_the_view_stays_where_it_is(said):
    out = {"id": "L0.H1", "action": "zero", "positions": "focus"}
    of_one = {"id": "L0.H0", "action": "zero", "positions": [1]}
    widget = vw.visit(said, layers=[1])
    widget.selection, widget.pins, widget.measure = ["L1.H0"], ["L0.mlp"], "share"
    widget.interventions = [out, of_one]
    widget.step = 2
    assert (widget.expanded, widget.selection, widget.pins) == ([1], ["L1.H0"], ["L0.mlp"])
    assert (widget.measure, widget.interventions) == ("share", [out])
    assert widget.graph["before"]["target"]["probability"] == pytest.approx(
        said.steps[2].probability, rel=1e-5
    )


def test_steps_set_by_the_browser_may_come_with_focus_and_target(said):
    widget = vw.visit(said)
    widget.set_state({"step": 3, "focus": 2, "target": {"id": 7}})
    assert (widget.step, widget.focus, widget.target["id"]) == (3, 2, 7)
    widget.set_state({"step": 9})
    assert (widget.step, widget.focus) == (3, 2)
    assert "from 0 to 4" in widget.status["message"]


def test_a_branch_is_a_fresh_generation_and_can_be_left_again(said):
    widget = vw.visit(said)
    widget.step = 4
    answer = asked(widget, "branch", at=2, token=9)
    assert answer["result"] == {"branch": 1, "revision": widget.graph["revision"]}
    assert (widget.branch, widget.step, widget.target["id"]) == (1, 2, 9)
    assert widget.generation["branches"][1]["of"] == 0
    assert widget.generation["branches"][1]["token"]["id"] == 9
    assert [t["put"] for t in widget.generation["tokens"]] == [False, False, True, False, False]
    widget.step = 3
    ids = [*said.input_ids.tolist(), *said.token_ids[:2], 9]
    fresh = vw.trace(said.model, said.tokenizer, ids)
    came = widget.generation["tokens"][3]["id"]
    own, other = drawn(widget.graph), of_trace(fresh, target=came)
    assert own["tokens"] == other["tokens"]
    assert own["target"]["logit"] == pytest.approx(other["target"]["logit"], rel=1e-5)
    logits = {n["id"]: n["logit"] for n in other["nodes"]}
    for node in own["nodes"]:
        if node["logit"] is not None:
            assert node["logit"] == pytest.approx(logits[node["id"]], rel=1e-3, abs=1e-5)
    widget.step = 2
    widget.branch = 0
    assert (widget.step, widget.target["id"]) == (2, said.token_ids[2])
    assert drawn(widget.graph) == of_trace(said.traces[2], target=said.token_ids[2])
    assert [t["id"] for t in widget.generation["tokens"]] == said.token_ids
    assert len(widget.generation["branches"]) == 2


def test_a_branch_that_cannot_be_made_leaves_all_as_it_is(said):
    widget = vw.visit(said)
    graph = widget.graph
    answer = asked(widget, "branch", at=7, token=9)
    assert "There is no new token 7" in answer["error"]["message"]
    assert asked(widget, "branch", at=1, token=99_999)["ok"] is False
    assert (widget.branch, widget.step, widget.graph) == (0, 0, graph)
    assert len(widget.generation["branches"]) == 1
    with pytest.raises(vw.VisitError, match="There is no branch 1"):
        widget.branch = 1


def test_another_prompt_is_none_of_the_steps_and_there_is_a_way_back(said):
    widget = vw.visit(said)
    widget.prompt = "a dog"
    assert (widget.step, widget.graph["step"]) == (None, None)
    assert widget.generation is not None
    widget.step = -1
    assert (widget.step, widget.prompt) == (4, said.traces[4].prompt)
    assert widget.target["id"] == said.token_ids[4]


def test_a_widget_of_a_prompt_has_no_steps(said):
    widget = vw.visit(said.model, said.tokenizer, PROMPT)
    assert (widget.generation, widget.branch, widget.step) == (None, None, None)
    assert not {"step", "branch"} & widget.graph.keys()
    for do in (lambda: setattr(widget, "step", 0), lambda: setattr(widget, "branch", 0)):
        with pytest.raises(vw.VisitError, match="pass it a generation"):
            do()
    with pytest.raises(vw.VisitError, match="pass it a generation"):
        widget.play()
    with pytest.raises(vw.VisitError, match="A generation has its own tokenizer"):
        vw.visit(said, said.tokenizer)


def test_playing_goes_to_the_end_and_stops_for_its_reader(said):
    widget = vw.visit(said)
    shown: list[int] = []
    widget.observe(lambda change: shown.append(change["new"]), names="step")

    async def whole() -> None:
        await widget.play(0)

    apart(lambda: asyncio.run(whole()))
    assert shown == [1, 2, 3, 4]

    async def disturbed() -> None:
        task = widget.play(0.05)
        await asyncio.sleep(0.01)
        widget.step = 3
        await task

    apart(lambda: asyncio.run(disturbed()))
    assert shown[4:] == [0, 3]
    with pytest.raises(vw.VisitError, match="no event loop"):
        apart(widget.play)


def test_a_page_carries_the_tape(said, tmp_path):
    widget = vw.visit(said)
    widget.step = 2
    traits = widget._traits_now()
    assert (traits["step"], traits["generation"]) == (2, widget.generation)
    again = vw.visit(said, view_state=widget.view_state)
    assert (again.step, again.target) == (2, widget.target)


def branched(said: vw.Generation) -> vw.VisitWidget:
    widget = vw.visit(said, layers=[1])
    widget.step = 2
    assert asked(widget, "branch", at=1, token=5)["ok"]
    widget.step = 3
    return widget


def near(ours: Any, theirs: Any) -> bool:
    """Alike but for rounding, which another order of operations leaves."""
    if isinstance(ours, dict):
        return set(ours) == set(theirs) and all(near(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(near, ours, theirs))
    if isinstance(ours, float):
        return abs(ours - theirs) <= 2e-3 * max(1.0, abs(theirs))
    return bool(ours == theirs)


def test_a_view_state_carries_the_step_and_the_branches(said):
    widget = branched(said)
    state = json.loads(json.dumps(widget.view_state, allow_nan=False))
    made = vw.visit(said.model, tokenizer(), view_state=state)
    assert (made.step, made.branch) == (widget.step, widget.branch) == (3, 1)
    assert near(made.generation, widget.generation)
    assert near(made.graph["target"], widget.graph["target"])
    assert made.expanded == [1]
    for branch, step in ((0, 4), (1, 0), (1, 4)):
        for each in (made, widget):
            each.branch, each.step = branch, step
        assert made.target == widget.target
        assert made.trace.input_ids.tolist() == widget.trace.input_ids.tolist()
    assert asked(made, "branch", at=2, token=9)["ok"]
    assert made.branch == 2
    # What follows is what the generation itself goes on with, under the options that it had.
    greedy = vw.generate(said.model, tokenizer(), PROMPT, max_new_tokens=4)
    again = vw.visit(
        said.model, tokenizer(), view_state=json.loads(json.dumps(vw.visit(greedy).view_state))
    )
    assert asked(again, "branch", at=1, token=5)["ok"]
    assert again._session.said.generation.token_ids == greedy.branch(1, 5).token_ids


def test_a_widget_goes_back_to_a_step_without_running_it_again(said, monkeypatch):
    widget = branched(said)
    state = widget.view_state
    generations = [b.generation for b in widget._session.said.branches]
    widget.branch, widget.step = 0, 0
    monkeypatch.setattr(
        "visit_widget.widget.said_state.resumed", lambda *_a, **_k: pytest.fail("it is there")
    )
    widget.view_state = state
    assert (widget.branch, widget.step) == (1, 3)
    assert [b.generation for b in widget._session.said.branches] == generations


def test_a_state_of_an_edited_prompt_keeps_the_tape(said):
    widget = branched(said)
    widget.prompt = "the dog"
    assert widget.step is None
    made = vw.visit(said.model, tokenizer(), view_state=json.loads(json.dumps(widget.view_state)))
    assert (made.prompt, made.step, made.branch) == ("the dog", None, 1)
    made.step = 3
    assert made.graph["step"] == 3
    assert made.target == {
        "id": made.generation["tokens"][3]["id"],
        "text": made.generation["tokens"][3]["text"],
    }


@pytest.mark.parametrize(
    "spoil",
    [
        lambda g: g.update(branch=7),
        lambda g: g.update(step=99),
        lambda g: g.update(branches=[]),
        lambda g: g["branches"][0].update(token_ids=["a"]),
        lambda g: g["branches"][0].update(token_ids=[10**6]),
        lambda g: g["branches"][1].update(of=5),
        lambda g: g.pop("input_ids"),
    ],
)
def test_a_generation_that_cannot_be_shown_changes_nothing(said, spoil):
    widget = branched(said)
    state = json.loads(json.dumps(widget.view_state))
    spoil(state["generation"])
    before = widget.graph, widget.step, widget.branch, widget._session.said
    with pytest.raises(vw.VisitError):
        widget.view_state = state
    assert (widget.graph, widget.step, widget.branch, widget._session.said) == before
    widget.step = 0
    assert widget.graph["step"] == 0


def test_the_page_hears_that_it_plays(said):
    widget = vw.visit(said)

    async def play() -> list[bool]:
        heard = []
        widget.observe(lambda change: heard.append(change["new"]), names="playing")
        await widget.play(delay=0)
        await asyncio.sleep(0)
        task = widget.play(delay=60)
        widget.set_state({"playing": False})
        await asyncio.sleep(0)
        assert task.cancelled()
        return heard

    assert apart(lambda: asyncio.run(play())) == [True, False, True, False]
    assert widget.step == 4, "a task that is called off before it ran has shown nothing"
