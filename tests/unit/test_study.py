"""Studies: the same numbers in any batches, after any stop, in any split."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from functools import partial
from pathlib import Path

import pytest
import torch

import visit_widget as vw
from tests.tiny import make_model, make_speaker, tokenizer
from visit_widget.findings import Fact, factual_prompts, load_counterfact, store
from visit_widget.findings.statistics import interval, jaccard, stability, summarise

PROMPTS = [[3, 17, 42], [5, 17, 60, 0, 9, 11, 2], [8], [1, 2, 3, 4, 5], [7, 7], [9, 1, 4]]
FACTS = [
    Fact("the cat sat on a", " mat", "place", "cat"),
    Fact("the dog ran to the", " city", "place", "dog"),
    Fact("a red"),
]


def lengths(trace, factor=1.0):
    """A finding of one's own."""
    return [
        {"layer": n, "length": factor * trace.residual(n)[-1].norm()} for n in range(trace.n_layers)
    ]


def close(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert list(a) == list(b)
        for name, value in a.items():
            number = isinstance(value, float)
            assert value == (pytest.approx(b[name], rel=1e-6) if number else b[name]), name


@pytest.fixture(scope="module")
def model():
    return make_model("llama", implementation="sdpa")


@pytest.fixture(scope="module")
def one_by_one(model):
    return vw.study(model, None, PROMPTS, [lengths], batch_size=1, progress=False)


@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("size", [2, 6])
def test_batches_and_padding_change_nothing(model, one_by_one, size, padding):
    found = vw.study(
        model, None, PROMPTS, [lengths], batch_size=size, padding=padding, progress=False
    )
    close(found["lengths"], one_by_one["lengths"])
    close(found.prompts, one_by_one.prompts)
    assert found.notes == []


def test_rows_are_what_the_model_says(model, one_by_one):
    for ids, row in zip(PROMPTS, one_by_one.prompts, strict=True):
        with torch.no_grad():
            said = model(torch.tensor([ids])).logits[0, -1]
        assert row["probability"] == pytest.approx(float(said.softmax(-1).max()), rel=1e-6)
        assert (row["predicted"], row["rank"], row["n_tokens"]) == (
            f"#{int(said.argmax())}", 1, len(ids),
        )  # fmt: skip
    with torch.no_grad():
        hidden = model(torch.tensor([PROMPTS[1]]), output_hidden_states=True).hidden_states
    of_second = [r["length"] for r in one_by_one["lengths"] if r["prompt"] == 1]
    assert of_second[:-1] == pytest.approx([float(h[0, -1].norm()) for h in hidden[1:-1]], rel=1e-6)


def test_answers_and_relations():
    model = make_speaker()

    def answers(trace, answer=None):
        return [{"answer": answer}]

    found = vw.study(model, tokenizer(), FACTS, [answers], progress=False)
    ids = [tokenizer()(f.answer).input_ids for f in FACTS]
    assert [row["answer"] for row in found["answers"]] == [ids[0][0], ids[1][0], None]
    for fact, row in zip(FACTS, found.prompts, strict=True):
        said = vw.trace(model, tokenizer(), fact.prompt).record.logits
        assert row["relation"] == fact.relation
        if not fact.answer:
            assert (row["correct"], row["answer"], row["rank"]) == (None, None, 1)
            continue
        token = tokenizer()(fact.answer).input_ids[0]
        assert row["correct"] == (int(said.argmax()) == token)
        assert row["rank"] == 1 + int((said > said[token]).sum())
        assert row["probability"] == pytest.approx(float(said.softmax(-1)[token]), rel=1e-5)


def test_a_stopped_study_goes_on_where_it_was(model, one_by_one, tmp_path):
    seen = []

    def stops(trace):
        seen.append(len(trace))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return lengths(trace)

    ask = partial(vw.study, model, None, PROMPTS, {"lengths": stops}, progress=False)
    ask = partial(ask, folder=tmp_path)
    # What is written down of a finding is its name, not its code.
    with pytest.raises(KeyboardInterrupt):
        ask(batch_size=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["batch-000000.json", "study.json"]
    found = ask(batch_size=3)
    assert len(seen) == 8
    close(found["lengths"], one_by_one["lengths"])
    assert repr(found) == "Study(6 prompts: lengths)"
    assert ask(batch_size=1)["lengths"] == found["lengths"]
    assert len(seen) == 8


def test_a_killed_study_goes_on_where_it_was(one_by_one, tmp_path, model):
    """The process is killed in the middle of a batch, by a signal that nothing can catch."""
    code = (
        "import sys, time, visit_widget as vw\n"
        "from tests.tiny import make_model\n"
        "from tests.unit.test_study import PROMPTS, lengths as real\n"
        "seen = []\n"
        "def lengths(trace):\n"
        "    seen.append(1)\n"
        "    if len(seen) == 5: print('now', flush=True); time.sleep(60)\n"
        "    return real(trace)\n"
        "vw.study(make_model('llama', implementation='sdpa'), None, PROMPTS, [lengths],\n"
        "         batch_size=2, folder=sys.argv[1], progress=False)\n"
    )
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=root, env=env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(list(tmp_path.glob("batch-*"))) == 2
    found = vw.study(model, None, PROMPTS, [lengths], folder=tmp_path, progress=False)
    close(found["lengths"], one_by_one["lengths"])


def test_a_half_written_file_is_never_there(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store.os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        store.write(tmp_path / "batch-000000.json", {"0": {}})
    assert list(tmp_path.iterdir()) == []


def test_parts_make_one_study(model, one_by_one, tmp_path):
    ask = partial(vw.study, model, None, PROMPTS, [lengths], folder=tmp_path, progress=False)
    first = ask(part=(0, 2), batch_size=2)
    assert repr(first) == "Study(3 of 6 prompts: lengths)"
    second = ask(part=(1, 2), batch_size=1)
    close(second["lengths"], one_by_one["lengths"])
    assert [row["prompt"] for row in second.prompts] == list(range(6))


def test_memory_holds_a_batch_of_traces_at_a_time(model):
    alive: list = []
    most = []

    def count(trace):
        alive.append(weakref.ref(trace))
        most.append(sum(ref() is not None for ref in alive))
        return []

    vw.study(model, None, PROMPTS * 3, [count], batch_size=2, progress=False)
    assert max(most) <= 4


def test_progress_is_told(model):
    told = []
    vw.study(
        model, None, PROMPTS, [lengths], batch_size=4, progress=lambda *done: told.append(done)
    )
    assert told == [(0, 6), (4, 6), (6, 6)]


def test_what_padding_changes_is_run_one_by_one(model, monkeypatch):
    from visit_widget.trace import batches as room

    real = room.trace_batch_prepared

    def only_alone(model, tokenizer, prompts, *args, **more):
        if len(prompts) > 1:
            raise vw.VisitError("Padding changes it.")
        return real(model, tokenizer, prompts, *args, **more)

    monkeypatch.setattr(room, "trace_batch_prepared", only_alone)
    with pytest.warns(UserWarning, match="one by one"):
        found = vw.study(model, None, PROMPTS, [lengths], progress=False)
    assert "one by one" in found.notes[0]
    assert len(found["lengths"]) == 18


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prompts": []}, "no prompts"),
        ({"prompts": [[3, 99]]}, "Prompt 0 cannot be used: Token id 99"),
        ({"prompts": [3.5]}, "not float"),
        ({"prompts": [{"text": "a"}]}, "under 'prompt'"),
        ({"findings": [lengths, lengths]}, "Two findings are called 'lengths'"),
        ({"findings": {"prompts": lengths}}, "cannot be called 'prompts'"),
        ({"findings": ["lengths"]}, "no function"),
        ({"batch_size": 0}, "runs nothing"),
        ({"part": (2, 2)}, "no part"),
        ({"engine": "spark"}, "'local' or 'ray'"),
    ],
)
def test_what_cannot_be_studied_is_said(model, change, says):
    asked = {"prompts": PROMPTS, "findings": [lengths], "progress": False, **change}
    with pytest.raises(vw.VisitError, match=says):
        vw.study(model, None, **asked)


def test_a_folder_holds_one_study(model, tmp_path):
    ask = partial(vw.study, model, None, folder=tmp_path, progress=False)
    ask(PROMPTS, [lengths])
    with pytest.raises(vw.VisitError, match="its prompts differ"):
        ask(PROMPTS[:2], [lengths])
    with pytest.raises(vw.VisitError, match="its findings differ"):
        ask(PROMPTS, [partial(lengths, factor=2)])
    with pytest.raises(vw.VisitError, match="'widths' is not among"):
        ask(PROMPTS, [lengths])["widths"]


# Prompts.


def test_there_are_enough_facts():
    facts = factual_prompts()
    assert len(facts) >= 300
    assert len({f.relation for f in facts}) >= 8
    assert len({f.prompt for f in facts}) == len(facts)
    for fact in facts:
        assert fact.answer.startswith(" ")
        assert fact.answer.strip()
        assert fact.subject in fact.prompt
        assert not fact.prompt.endswith(" ")
    tokyo = Fact("The capital of Japan is the city of", " Tokyo", "capital", "Japan")
    assert tokyo in facts
    few = factual_prompts(["capital", "plural"], each=3)
    assert [f.relation for f in few] == ["capital"] * 3 + ["plural"] * 3
    with pytest.raises(vw.VisitError, match="use capital"):
        factual_prompts(["rivers"])


def test_files_like_counterfact_are_read(tmp_path):
    wrapped = {
        "case_id": 0,
        "requested_rewrite": {
            "prompt": "{} flows through",
            "subject": "The Seine",
            "relation_id": "P1",
            "target_true": {"str": "Paris", "id": "Q90"},
        },
    }
    plain = {"prompt": "The Nile flows through ", "subject": "The Nile", "target_true": " Cairo"}
    expected = [
        Fact("The Seine flows through", " Paris", "P1", "The Seine"),
        Fact("The Nile flows through", " Cairo", "", "The Nile"),
    ]
    path = tmp_path / "counterfact.json"
    path.write_text(json.dumps([wrapped, plain]))
    assert load_counterfact(path) == expected
    assert load_counterfact(path, limit=1) == expected[:1]
    path.write_text("\n".join(map(json.dumps, [wrapped, plain])))
    assert load_counterfact(path) == expected
    for text, says in (("[{}]", "Record 0 has no"), ("{", "no JSON")):
        path.write_text(text)
        with pytest.raises(vw.VisitError, match=says):
            load_counterfact(path)
    with pytest.raises(vw.VisitError, match="check the path"):
        load_counterfact(tmp_path / "nothing.json")


# Statistics.


def test_means_are_over_prompts_and_intervals_cover():
    rows = [{"prompt": 0, "layer": 0, "x": v} for v in (1.0, 3.0)]
    rows += [{"prompt": 1, "layer": 0, "x": 6.0}, {"prompt": 1, "layer": 1, "x": None}]
    (only,) = summarise(rows, "x")
    assert (only["layer"], only.mean, only.n_prompts, only.n_rows) == (0, 4.0, 2, 3)
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for trial in range(200):
        sample = torch.randn(40, generator=generator).numpy()
        low, high = interval(sample, seed=trial)
        hits += low <= 0 <= high
    assert 180 <= hits <= 198  # 95 % of 200, less what the percentile bootstrap is short of
    with pytest.raises(vw.VisitError, match="no column 'y'"):
        summarise(rows, "y")


def test_stability_is_one_where_nothing_varies_and_little_where_all_is_chance():
    assert jaccard([1, 2], [2, 3]) == pytest.approx(1 / 3)
    fixed = torch.arange(50.0).expand(20, 50).numpy()
    assert stability(fixed, 5)[0] == 1.0
    noise = torch.randn(20, 50, generator=torch.Generator().manual_seed(0)).numpy()
    assert stability(noise, 5)[0] < 0.7
