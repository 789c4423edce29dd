"""What is found of one head or neuron, against slow ways to the same: all pairs of `composition`, a
pass without the part, attention and lengths as the model gives them.
"""

from __future__ import annotations

from statistics import median_low
from typing import Any

import pytest
import torch

import visit_widget as vw
from tests.tiny import float64_throughout, make_model, make_speaker, tokenizer
from visit_widget import findings as f
from visit_widget.findings import sinks
from visit_widget.widget import finding

IDS = [3, 17, 42, 5, 17, 60, 0]
PROMPT = "the cat sat on the mat"


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_what_a_head_reads_is_what_all_pairs_say(family):
    with float64_throughout():
        trace = vw.trace(make_model(family), None, IDS)
        layer, head = trace.n_layers - 1, 1
        pairs = {
            (r["reads"], r["writer_layer"], r["writer"]): r
            for r in f.composition(trace, n=10**6, position=5)
            if (r["layer"], r["head"]) == (layer, head)
        }
        told: list[tuple[int, int]] = []
        rows = f.head_reads(trace, layer, head, 5, progress=lambda *done: told.append(done))
    assert len(rows) == len(pairs) == 3 * layer * trace.n_heads
    for row in rows:
        pair = pairs[row["reads"], row["writer_layer"], row["writer"]]
        assert row["score"] == pytest.approx(pair["score"], rel=1e-9)
        assert row["traced"] == pytest.approx(pair["traced"], rel=1e-9, abs=1e-12)
        assert row["source"] == pair["source"]
    sizes = [abs(row["traced"]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert told == [(n, layer) for n in range(layer + 1)]


def test_what_cannot_be_told_is_none():
    """Between post-norm blocks the stream is changed on its way."""
    trace = vw.trace(make_model("olmo2"), None, IDS)
    rows = f.head_reads(trace, 2, 0)
    assert {row["traced"] is None for row in rows} <= {True, False}
    carried = all(
        block.attention_join.carries_as_is and block.mlp_join.carries_as_is
        for block in trace.anatomy.blocks
    )
    assert any(row["traced"] is None for row in rows) is not carried
    assert f.head_reads(trace, 0, 0) == []


@pytest.mark.parametrize("part", ["L1.H2", "L1.N7"])
def test_a_part_at_work_is_a_pass_without_it(part):
    model = make_speaker("gpt2")
    trace = vw.trace(model, tokenizer(), PROMPT)
    answer = tokenizer()(" city").input_ids[0]
    (row,) = f.part_at_work(trace, answer, part)
    best = trace.record.logits.topk(2).indices.tolist()
    foil = next(t for t in best if t != answer)
    without = trace.rerun({part: "zero"}).record.logits
    was, now = (float(x[answer] - x[foil]) for x in (trace.record.logits, without))
    assert row["effect"] == pytest.approx(was - now, abs=1e-4)
    assert [row["target"], row["foil"]] == trace.texts([answer, foil])
    if ".H" in part:
        weights = trace.attention(1)[2]
        assert row["attention"] == pytest.approx(float(weights.max()))
        assert row["token"] == trace.tokens[int(weights.argmax())]
        written = trace.head_outputs(1)[2]
    else:
        assert row["activation"] == pytest.approx(float(trace.neurons(1)[7]), rel=1e-5)
        written = trace.neurons(1)[7] * trace.neuron_values(1)[7]
    with torch.no_grad():
        said = model.lm_head(model.transformer.ln_f(written)).topk(5).indices
    assert row["says"] == trace.texts(said.tolist())


def test_only_heads_and_neurons_are_at_work():
    trace = vw.trace(make_speaker("gpt2"), tokenizer(), PROMPT)
    with pytest.raises(vw.VisitError, match="no head and no neuron"):
        f.part_at_work(trace, part="L1.mlp")


@pytest.fixture
def widget() -> Any:
    made = vw.visit(make_speaker("gpt2", n_positions=128), tokenizer(), PROMPT, lens="logit")
    yield made
    made.close()


def asked(widget: Any, method: str, **params: Any) -> Any:
    sent: list[Any] = []
    widget._desk.send = sent.append
    widget._desk.receive({"kind": "visit-request", "id": "1", "method": method, "params": params})
    return sent[-1]


def test_sinks_are_those_of_all_rows_of_attention(monkeypatch):
    with float64_throughout():
        model = make_model("llama")
        # A first token whose stream is long, and keys that all queries look at.
        with torch.no_grad():
            model.model.embed_tokens.weight[3] *= 40
        monkeypatch.setattr(sinks, "PARKED", 0.2)
        widget = vw.visit(model, None, IDS, lens="logit")
        told = asked(widget, "sinks")["result"]
        with torch.no_grad():
            said = model(torch.tensor([IDS]), output_attentions=True, output_hidden_states=True)
    seen, rows = said.attentions, list[dict[str, Any]]()
    for layer, stream in enumerate(said.hidden_states[:-1]):
        lengths = stream[0].norm(dim=-1).tolist()
        for at, length in enumerate(lengths):
            ratio = length / median_low([x for n, x in enumerate(lengths) if n != at])
            rows.append({"layer": layer, "position": at, "ratio": ratio, "outlier": ratio >= 4})
    by_token: dict[int, Any] = {}
    for row in rows:
        if row["ratio"] > by_token.get(row["position"], {"ratio": 0})["ratio"]:
            by_token[row["position"]] = row
    expected = {p: row for p, row in by_token.items() if row["outlier"]}
    assert 0 in expected
    assert [each["position"] for each in told["outliers"]] == sorted(expected)
    for each in told["outliers"]:
        row = expected[each["position"]]
        assert each["layer"] == row["layer"]
        assert each["ratio"] == pytest.approx(row["ratio"], rel=1e-4)
    best: dict[int, tuple[float, int, int]] = {}
    for layer, weights in enumerate(seen):
        for at in range(len(IDS) - 3):
            by_head = weights[0, :, at + 1 :, at].mean(-1)
            if float(by_head.mean()) >= 0.2:
                heads = int((by_head >= 0.2).sum())
                best[at] = max(best.get(at, (0, 0, 0)), (float(by_head.mean()), layer, heads))
    assert best, "the test shows nothing without a sink"
    assert [each["position"] for each in told["sinks"]] == sorted(best)
    for each in told["sinks"]:
        attention, layer, heads = best[each["position"]]
        assert each["attention"] == pytest.approx(attention, rel=1e-4)
        assert (each["layer"], each["heads"], each["of"]) == (layer, heads, 4)
    here = [row for row in rows if row["position"] == widget.focus and row["outlier"]]
    assert [each["layer"] for each in told["streams"]] == [row["layer"] for row in here]
    widget.close()


def test_long_prompts_are_told_by_some_rows():
    widget = vw.visit(make_speaker("gpt2", n_positions=256), tokenizer(), PROMPT * 25, lens="logit")
    assert len(widget.trace) > 2 * sinks.N_ROWS
    assert asked(widget, "sinks")["ok"]
    widget.close()


def test_heads_that_are_read_are_edges(widget):
    told = asked(widget, "head_reads", head="L2.H1")["result"]
    rows = f.head_reads(widget.trace, 2, 1, widget.focus)
    assert told["count"] == len(rows)
    first, row = told["edges"][0], rows[0]
    assert first["source"] == f"L{row['writer_layer']}.H{row['writer']}"
    assert (first["target"], first["reads"]) == ("L2.H1", row["reads"])
    assert first["traced"] == pytest.approx(row["traced"], rel=1e-4)
    by_score = max(rows, key=lambda r: r["score"])
    assert any(e["score"] == pytest.approx(by_score["score"], rel=1e-4) for e in told["edges"])
    assert not asked(widget, "head_reads", head="L2.mlp")["ok"]


def test_queries_and_keys_are_the_findings(widget):
    told = asked(widget, "joint_embedding", head="L1.H0")["result"]
    rows = f.joint_embedding(widget.trace, 1, 0)
    assert len(told["points"]) == len(rows)
    for point, row in zip(told["points"], rows, strict=True):
        assert (point["kind"], point["position"]) == (row["kind"], row["position"])
        assert point["x"] == pytest.approx(row["x"], rel=1e-4, abs=1e-6)


def test_elsewhere_are_the_prompts_of_the_largest_effects(widget):
    told = asked(widget, "elsewhere", part="L1.H2")["result"]
    facts = f.factual_prompts(each=finding.EACH)
    rows = []
    for fact in facts:
        trace = vw.trace(widget.trace.model, tokenizer(), fact.prompt)
        answer = tokenizer()(fact.answer, add_special_tokens=False).input_ids[0]
        rows += [{"text": fact.prompt, **f.part_at_work(trace, answer, "L1.H2")[0]}]
    rows.sort(key=lambda row: -abs(row["effect"]))
    assert (told["looked"], told["study"]) == (len(facts), False)
    for mine, row in zip(told["prompts"], rows, strict=False):
        assert mine["effect"] == pytest.approx(row["effect"], rel=1e-2, abs=1e-4)
    assert told["prompts"][0]["text"] == rows[0]["text"]
    mean = sum(abs(row["effect"]) for row in rows) / len(rows)
    assert told["mean"] == pytest.approx(mean, rel=1e-2)


def test_a_study_says_which_prompts_and_others_are_refused(widget):
    prompts = ["the cat sat", "the dog ran to the city", "the red mat", "on a mat the cat"]
    prompts += ["the cat ran", "a dog sat on the cat", "the city"]
    study = vw.study(widget.trace.model, tokenizer(), prompts, [f.part_effects], progress=False)
    widget.study = study
    assert widget.study is study
    told = asked(widget, "elsewhere", part="L0.H1")["result"]
    measured = {r["prompt"]: r["measured"] for r in study["part_effects"] if r["part"] == "L0.H1"}
    best = sorted(measured, key=lambda n: -abs(measured[n]))[:5]
    assert (told["looked"], told["study"]) == (7, True)
    assert [each["text"] for each in told["prompts"]] == [prompts[n] for n in best]
    for each, n in zip(told["prompts"], best, strict=True):
        assert each["effect"] == pytest.approx(measured[n], rel=1e-2, abs=1e-4)
    with pytest.raises(vw.VisitError, match="no study"):
        widget.study = [1]
    widget.study = None


def test_it_can_be_called_off(widget):
    sent: list[Any] = []
    widget._desk.send = sent.append
    slow = widget._desk.slow["elsewhere"]

    def cancels(**params: Any) -> Any:
        widget._desk.receive({"kind": "visit-cancel", "id": "7"})
        return slow(**params)

    widget._desk.slow["elsewhere"] = cancels
    request = {"id": "7", "method": "elsewhere", "params": {"part": "L1.H2"}}
    widget._desk.receive({"kind": "visit-request", **request})
    assert [m for m in sent if m["kind"] == "visit-response"] == []
    assert widget._elsewhere._known == {}
