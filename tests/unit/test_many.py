"""Many prompts in one widget: what is shown of each, and opening them."""

from __future__ import annotations

import gc
import json
import weakref

import pytest
import torch

import visit_widget as vw
from tests.tiny import make_model, make_speaker, tokenizer
from visit_widget.findings import Fact
from visit_widget.trace import batch, tracing
from visit_widget.trace.batches import batched
from visit_widget.widget.many import BATCH_TOKENS, MOST_TRACES, several

PROMPTS = ["the cat sat on the", "a dog", "the cat", "the dog sat on the mat", "cat dog cat"]
CHAT = [{"role": "user", "content": "the cat"}]


@pytest.fixture
def model():
    return make_speaker("llama")


@pytest.fixture
def widget(model) -> vw.VisitWidget:
    return vw.visit(model, tokenizer(), PROMPTS, progress=False)


def alone(model, prompt: str, **more) -> vw.VisitWidget:
    return vw.visit(model, tokenizer(), prompt, **more)


@pytest.mark.parametrize(
    ("prompt", "many"),
    [
        ("the cat", None),
        (["the cat"], ["the cat"]),
        (["the cat", "a dog"], ["the cat", "a dog"]),
        (("the cat", ""), ["the cat", ""]),
        ([3, 17, 42], None),
        (torch.tensor([3, 17, 42]), None),
        (list(torch.tensor([3, 17])), None),
        ([[3, 17]], None),
        ([[3, 17], [42]], [[3, 17], [42]]),
        ([torch.tensor([3, 17]), torch.tensor([4])], "same"),
        (CHAT, None),
        ([CHAT], None),
        ([CHAT, CHAT], [CHAT, CHAT]),
        ([{"input_ids": [3]}, {"input_ids": [4]}], "same"),
        ({"input_ids": [3]}, None),
        ([Fact("the cat", " sat")], "same"),
        ([], None),
        (None, None),
    ],
    ids=repr,
)
def test_a_list_of_prompts_is_told_from_one_prompt(prompt, many):
    found = several(prompt)
    if many == "same":
        assert found is not None
        assert len(found) == len(prompt)
    else:
        assert found == many


def test_each_says_what_a_widget_of_it_alone_says(model, widget):
    rows = widget.prompts["rows"]
    assert [row["text"] for row in rows] == PROMPTS
    assert json.loads(json.dumps(widget.prompts)) == widget.prompts
    for prompt, row in zip(PROMPTS, rows, strict=True):
        graph = alone(model, prompt).graph
        nodes = {node["id"]: node for node in graph["nodes"]}
        first = graph["prediction"][0]
        assert (row["first"]["id"], row["first"]["text"]) == (first["id"], first["text"])
        assert row["first"]["probability"] == pytest.approx(first["probability"], rel=1e-4)
        assert row["target"]["id"] == graph["target"]["id"]
        assert (row["rank"], row["probability"]) == (
            1,
            pytest.approx(first["probability"], rel=1e-4),
        )
        streams = ["L0.pre", *(f"L{n}.post" for n in range(model.config.num_hidden_layers))]
        assert row["ranks"] == [nodes[name]["target_rank"] for name in streams]
        assert row["probabilities"] == pytest.approx(
            [nodes[name]["target_probability"] for name in streams], abs=1e-4
        )
        labels = [nodes[name]["label"] for name in streams]
        told = dict(row["words"])
        assert [layer for layer, _ in row["words"]] == sorted(told)
        said = [told[max(k for k in told if k <= n)] for n in range(-1, len(labels) - 1)]
        assert said == labels
        # From where on it says what it says in the end.
        assert row["settled"] == row["words"][-1][0]
        assert set(labels[row["settled"] + 1 :]) == {labels[-1]}
        assert row["settled"] < 0 or labels[row["settled"]] != labels[-1]


def test_one_is_opened_as_it_would_be_alone_and_left_again(model, widget):
    assert widget.opened is None
    widget.opened = 3
    assert (widget.opened, widget.prompt, widget.graph["opened"]) == (3, PROMPTS[3], 3)
    own, other = widget.graph, alone(model, PROMPTS[3]).graph
    assert own["tokens"] == other["tokens"]
    assert own["target"] == other["target"]
    logits = {n["id"]: n["logit"] for n in other["nodes"]}
    assert {n["id"] for n in own["nodes"]} == set(logits)
    for node in own["nodes"]:
        assert node["logit"] == pytest.approx(logits[node["id"]], rel=1e-4, abs=1e-5)
    revision = own["revision"]
    widget.opened = None
    assert widget.graph["revision"] == revision, "the way back draws nothing"
    widget.opened = 3
    assert widget.graph["revision"] == revision
    widget.opened = -1
    assert (widget.opened, widget.prompt) == (4, PROMPTS[4])


def test_what_is_looked_at_stays_and_each_prompt_keeps_its_own_focus_and_target(widget):
    widget.opened = 3
    widget.expanded, widget.selection, widget.measure = [1], ["L1.H0"], "share"
    widget.focus, widget.foil = 2, " cat"
    widget.target = " dog"
    widget.interventions = [
        {"id": "L0.H1", "action": "zero", "positions": "focus"},
        {"id": "L0.H0", "action": "zero", "positions": [1]},
    ]
    widget.opened = 0
    assert (widget.expanded, widget.selection, widget.measure) == ([1], ["L1.H0"], "share")
    assert widget.focus == len(widget.graph["tokens"]) - 1
    assert widget.target["id"] == widget.prompts["rows"][0]["first"]["id"]
    assert widget.foil is None
    assert [i["id"] for i in widget.interventions] == ["L0.H1"]
    widget.opened = 3
    assert (widget.focus, widget.target["text"], widget.foil["text"]) == (2, "␣dog", "␣cat")


def test_the_small_river_follows_what_was_chosen_in_the_large_one(model, widget):
    widget.opened = 1
    widget.target = " mat"
    widget.opened = None
    row = widget.prompts["rows"][1]
    graph = alone(model, PROMPTS[1], target=" mat").graph
    assert row["target"]["text"] == "␣mat"
    assert (row["rank"], row["probability"]) == (
        graph["target"]["rank"],
        pytest.approx(graph["target"]["probability"], rel=1e-4),
    )
    widget.opened = 1
    widget.focus = 0
    row = widget.prompts["rows"][1]
    graph = alone(model, PROMPTS[1], focus=0, target=row["target"]["id"]).graph
    assert row["first"]["id"] == graph["prediction"][0]["id"]
    assert row["rank"] == graph["target"]["rank"]


def test_a_changed_prompt_takes_the_place_of_its_own(model, widget):
    others = [row for n, row in enumerate(widget.prompts["rows"]) if n != 2]
    widget.opened = 2
    widget.prompt = "a cat sat"
    assert (widget.opened, widget.graph["opened"]) == (2, 2)
    rows = widget.prompts["rows"]
    assert [row for n, row in enumerate(rows) if n != 2] == others
    assert rows[2]["text"] == "a cat sat"
    assert rows[2]["first"]["id"] == alone(model, "a cat sat").graph["prediction"][0]["id"]
    widget.opened = 0
    widget.opened = 2
    assert widget.prompt == "a cat sat"


def test_a_bad_prompt_is_named_and_costs_the_others_nothing(model):
    given = [PROMPTS[0], "", PROMPTS[1], [3, 99_999], PROMPTS[2]]
    widget = vw.visit(model, tokenizer(), given, progress=False)
    rows = widget.prompts["rows"]
    assert ["problem" in row for row in rows] == [False, True, False, True, False]
    assert (
        "2 of 5 prompts cannot be used. prompts[1]: The prompt is empty" in widget.status["message"]
    )
    assert "prompts[3]: Token id 99999" in widget.status["message"]
    for n, prompt in ((0, PROMPTS[0]), (2, PROMPTS[1]), (4, PROMPTS[2])):
        assert rows[n]["first"]["id"] == alone(model, prompt).graph["prediction"][0]["id"]
    with pytest.raises(vw.VisitError, match=r"prompts\[1\] cannot be used: The prompt is empty"):
        widget.opened = 1
    with pytest.raises(vw.VisitError, match="no prompt 5: there are 5, from 0 to 4"):
        widget.opened = 5
    assert widget.opened is None
    widget.set_state({"opened": 3})
    assert (widget.opened, widget.status["state"]) == (None, "error")
    assert "prompts[3] cannot be used" in widget.status["message"]


def test_where_a_pass_of_one_fails_the_others_are_shown(model):
    given = [[3, 17, 5], [3] * 60, [5, 4]]  # longer than the table of learned positions
    gpt2 = make_model("gpt2", torch.float32)
    widget = vw.visit(gpt2, None, given, progress=False)
    assert ["problem" in row for row in widget.prompts["rows"]] == [False, True, False]
    with pytest.raises(vw.VisitError, match=r"None of the prompts.*prompts\[0\]"):
        vw.visit(gpt2, None, [[3] * 60, [4] * 70], progress=False)
    with pytest.raises(vw.VisitError, match="Position 4 is outside"):
        vw.visit(gpt2, None, [[3, 17], [5, 4]], focus=4, progress=False)


def test_answers_are_followed_and_counted(model):
    right = vw.visit(model, tokenizer(), PROMPTS[0]).graph["prediction"][0]["text"]
    facts = [Fact(PROMPTS[0], right.replace("␣", " ")), Fact(PROMPTS[1], " mat"), PROMPTS[2]]
    rows = vw.visit(model, tokenizer(), facts, progress=False).prompts["rows"]
    assert rows[0]["right"] is True
    assert rows[1]["target"]["text"] == "␣mat"
    assert rows[1]["right"] is (rows[1]["first"]["text"] == "␣mat")
    assert "right" not in rows[2]


def test_a_target_is_followed_in_all_of_them(model):
    found = vw.visit(model, tokenizer(), PROMPTS, target=[" cat", " dog"], progress=False)
    for prompt, row in zip(PROMPTS, found.prompts["rows"], strict=True):
        graph = alone(model, prompt, target=[" cat", " dog"]).graph
        assert row["target"]["id"] == graph["target"]["id"]
        assert row["probability"] == pytest.approx(graph["target"]["probability"], rel=1e-4)
        assert row["rank"] == graph["target"]["rank"]


def test_chats_and_token_ids_are_prompts(model):
    reader = tokenizer()
    template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    before, reader.chat_template = reader.chat_template, template
    try:
        widget = vw.visit(model, reader, [CHAT, [3, 17, 42]], progress=False)
        beside = batch.trace_batch(model, reader, [CHAT, "a dog sat"])
        assert beside[0].turns == vw.trace(model, reader, CHAT).turns
        assert beside[0].turns is not None
    finally:
        reader.chat_template = before
    rows = widget.prompts["rows"]
    assert rows[0]["brief"] == "the cat"
    assert rows[1]["text"] == vw.trace(model, reader, [3, 17, 42]).prompt
    widget.opened = 0
    assert "user" in [turn["role"] for turn in widget.graph["turns"]]


def test_another_lens_reads_all_of_them_again_without_a_pass(model, widget, monkeypatch):
    widget.opened = 1
    words = [row["words"] for row in widget.prompts["rows"]]

    class Backwards(vw.LogitLens):
        """Reads what a vector says least."""

        name = "tuned"

        def carried(self, vectors, where):
            return -vectors

    monkeypatch.setattr(tracing, "record", None)
    monkeypatch.setattr(batch, "record_rows", None)
    widget.lens = Backwards(model)
    widget.opened = None
    again = [row["words"] for row in widget.prompts["rows"]]
    assert widget.prompts["lens"] == "tuned"
    assert all(a[-1][1] != b[-1][1] for a, b in zip(again, words, strict=True))
    widget.lens = "logit"
    assert [row["words"] for row in widget.prompts["rows"]] == words


def test_few_passes_are_kept(model, widget, monkeypatch):
    from visit_widget.widget import many as room

    taken = []
    real = room.trace_prepared

    def counted(*args):
        made = real(*args)
        taken.append(weakref.ref(made))
        return made

    monkeypatch.setattr(room, "trace_prepared", counted)
    for n in (1, 2, 3, 4):
        widget.opened = n
    gc.collect()
    assert len(taken) == 4
    assert sum(ref() is not None for ref in taken) <= MOST_TRACES
    widget.opened = 4
    widget.opened = 3
    assert len(taken) == 4, "the last few are there"
    widget.opened = 1
    assert len(taken) == 5


def test_batches_are_of_like_lengths_and_bounded():
    lengths = [7, 900, 3, 5000, 8, 3, 1000, 1100, 900]
    plan = batched(lengths, 4, BATCH_TOKENS)
    assert sorted(n for numbers in plan for n in numbers) == list(range(len(lengths)))
    for numbers in plan:
        longest = max(lengths[n] for n in numbers)
        assert len(numbers) <= 4
        assert len(numbers) == 1 or longest * len(numbers) <= BATCH_TOKENS
    flat = [lengths[n] for numbers in plan for n in numbers]
    assert flat == sorted(flat)
    assert batched([2] * 9, 4, 100) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_progress_is_told_and_too_many_are_refused(model):
    told = []
    vw.visit(model, tokenizer(), PROMPTS * 5, progress=lambda *far: told.append(far))
    assert told[0] == (0, 25)
    assert told[-1] == (25, 25)
    assert len(told) > 2
    with pytest.raises(vw.VisitError, match=r"501 prompts.*at most 500.*vw\.study"):
        vw.visit(model, tokenizer(), ["a"] * 501)
    with pytest.raises(vw.VisitError, match="attention_mask is of one prompt"):
        vw.visit(model, tokenizer(), PROMPTS, attention_mask=[1])
    with pytest.raises(vw.VisitError, match="A trace has its own"):
        vw.visit(vw.trace(model, tokenizer(), "a cat"), None, PROMPTS)


def test_a_widget_of_one_prompt_opens_none(model):
    widget = alone(model, PROMPTS[0])
    assert (widget.prompts, widget.opened) == (None, None)
    assert "opened" not in widget.graph
    with pytest.raises(vw.VisitError, match="of one prompt: pass a list"):
        widget.opened = 0
    with pytest.raises(vw.VisitError, match="order='best' is not known"):
        widget.order = "best"


def test_the_view_state_makes_all_of_them_again(model, widget):
    widget.opened = 2
    widget.target, widget.expanded, widget.order = " mat", [1], "late"
    state = json.loads(json.dumps(widget.view_state))
    made = vw.visit(model, tokenizer(), view_state=state)
    assert (made.opened, made.order, made.prompt) == (2, "late", PROMPTS[2])
    assert made.target == widget.target
    same = [row["text"] for row in made.prompts["rows"]]
    assert same == PROMPTS
    for own, other in zip(made.prompts["rows"], widget.prompts["rows"], strict=True):
        assert own["first"]["id"] == other["first"]["id"]
        assert own["ranks"] == other["ranks"]
    assert made.view_state == widget.view_state
    single = alone(model, "a dog sat")
    back = single.view_state
    single.view_state = state
    assert (single.opened, len(single.prompts["rows"])) == (2, 5)
    single.opened = 0
    assert single.prompt == PROMPTS[0]
    single.view_state = back
    assert (single.prompts, single.opened, single.prompt) == (None, None, "a dog sat")
    state["many"]["drawn"] = 9
    with pytest.raises(vw.VisitError, match="'many' is no list of prompts"):
        single.view_state = state
    assert single.prompts is None


def test_a_saved_page_shows_all_and_opens_what_it_holds(model, widget, tmp_path):
    widget.opened = 1
    widget.opened = None
    bare = widget._data("visible", None, False)
    assert bare["traits"]["opened"] is None
    assert bare["traits"]["prompts"]["included"] == [1]
    assert bare["many"] == {}
    shown = widget.graph
    whole = widget._data("all", None, False, prompts="all")
    assert whole["traits"]["prompts"]["included"] == [0, 1, 2, 3, 4]
    assert sorted(whole["many"]) == ["0", "2", "3", "4"]
    revisions = {shown["revision"]}
    for number, one in whole["many"].items():
        graph = one["traits"]["graph"]
        assert graph["prompt"] == PROMPTS[int(number)]
        assert graph["opened"] == int(number)
        revisions.add(graph["revision"])
        assert set(one["expand"]) == {str(n) for n in range(model.config.num_hidden_layers)}
        assert one["project"]
        other = alone(model, PROMPTS[int(number)]).graph
        assert graph["target"]["logit"] == pytest.approx(other["target"]["logit"], rel=1e-4)
    assert len(revisions) == 5, "answers of one are not taken for another's"
    assert widget.graph is shown or widget.graph == shown
    assert widget._session.trace.prompt == PROMPTS[1]
    page = widget.save_html(tmp_path / "many.html", prompts=[0])
    assert "5 prompts" in page.read_text("utf-8")
    with pytest.raises(vw.VisitError, match="prompts='some' is not known"):
        widget.save_html(tmp_path / "no.html", prompts="some")
    again = vw.show(tmp_path / "many.html")
    assert again.saved["traits"]["prompts"]["included"] == [0, 1]


def test_the_browser_opens_and_goes_back(widget):
    widget.set_state({"opened": 2})
    assert (widget.opened, widget.prompt, widget.status["state"]) == (2, PROMPTS[2], "ready")
    widget.set_state({"opened": None})
    assert widget.opened is None
    # Taking a step back brings focus and target along.
    widget.set_state({"opened": 0, "focus": 2, "target": {"id": 7}})
    assert (widget.opened, widget.focus, widget.target["id"]) == (0, 2, 7)


def test_a_reader_without_a_kernel_is_told_of_all_of_them(widget):
    assert "5 prompts in LlamaForCausalLM" in widget._in_words()
    widget.opened = 1
    assert "A flow graph of “a dog”" in widget._in_words()
