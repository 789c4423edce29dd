"""Figures of findings: each returns its axes, and shows the numbers that it is of."""

from __future__ import annotations

import builtins

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

import visit_widget as vw
from tests.conftest import TINY_WORDS
from tests.tiny import make_speaker, tokenizer
from visit_widget import findings as f
from visit_widget.findings import Fact, plots

TEXTS = ["the dog ran to the", "a red", "a blue city"]
STUDIED = [
    f.head_overlap, f.memory_values, f.attention_overlap, f.query_key_overlap, f.norm_filter,
    f.prediction_by_layer, f.top_neurons, f.mixing_ratio, f.feed_forward_mixing, f.attention_sinks,
    f.part_effects,
]  # fmt: skip


@pytest.fixture(scope="module")
def studied():
    model = make_speaker("llama")
    right = next(filter(None, (right_fact(model, first) for first in TINY_WORDS)))
    facts = [right, Fact(TEXTS[0], " mat"), Fact(TEXTS[1]), Fact(TEXTS[2])]
    found = vw.study(model, tokenizer(), facts, STUDIED, progress=False)
    return found, vw.trace(model, tokenizer(), right.prompt)


def right_fact(model, first):
    """A prompt that the model goes on with a token that is read as it is written; None if it does
    not.
    """
    text = f"{first} cat sat on"
    said = int(vw.trace(model, tokenizer(), text).logits().argmax())
    answer = tokenizer().decode([said])
    return Fact(text, answer) if tokenizer()(answer).input_ids == [said] else None


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_every_figure_is_drawn_and_returns_its_axes(studied):
    found, trace = studied
    rows = {
        "composition": f.composition(trace, n=5),
        "confidence_neurons": f.confidence_neurons(trace),
        "joint_embedding": f.joint_embedding(trace, 1, 0),
        "rank_effects": f.rank_effects(found["part_effects"]),
        "regularisation_neurons": f.regularisation_neurons(found["top_neurons"], trace, 0.5),
        "trajectories": f.trajectories(trace),
    }
    for name in plots.__all__:
        _, ax = plt.subplots()
        draw = getattr(plots, name)
        assert draw(rows.get(name, found), ax) is ax, name
        assert ax.get_title(loc="left"), name
        assert ax.get_xlabel(), name
        assert ax.has_data(), name
        ax.figure.canvas.draw()
        plt.close("all")
    assert plots.head_overlap(found) is not plots.head_overlap(found)


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def test_lines_are_means_over_prompts(studied):
    found, trace = studied
    drawn = lines(plots.head_overlap(found))
    for via, words in (("W_O", "through W_O"), ("direct", "directly")):
        for layer in range(trace.n_layers):
            mine = [
                row["final"]
                for row in found["head_overlap"]
                if row["layer"] == layer and row["via"] == via
            ]
            y = drawn[f"final output, {words}"].get_ydata()[layer]
            assert y == pytest.approx(np.mean(mine))
    drawn = lines(plots.query_key_overlap(found))
    control = [r["query_key"] for r in found["query_key_overlap"] if r["rank"] == 0]
    y = drawn["query, key: least (control)"].get_ydata()
    assert control
    assert np.mean(y) == pytest.approx(np.mean(control), abs=0.1)
    drawn = lines(plots.norm_targets(found, norm="ln1"))
    ranks = [
        r["target_rank_after"] for r in found["norm_filter"]
        if (r["layer"], r["norm"], r["vector"], r["final_norm"]) == (2, "ln1", "stream", True)
    ]  # fmt: skip
    assert 10 ** drawn["after ln1"].get_ydata()[2] == pytest.approx(np.prod(ranks) ** (1 / 4))


def test_correct_answers_and_others_are_told_apart(studied):
    found, trace = studied
    drawn = lines(plots.prediction_by_layer(found))
    assert set(drawn) == {
        "answered correctly (1)", "answered otherwise (1)", "no answer known (2)",
    }  # fmt: skip
    mine = [
        row["probability"]
        for row in found["prediction_by_layer"]
        if row["correct"] and row["at"] == "post"
    ]
    assert drawn["answered correctly (1)"].get_ydata() == pytest.approx(mine)
    one = lines(plots.attention_overlap(found, only="correct"))["block output"].get_ydata()
    assert one == pytest.approx([r["block"] for r in f.attention_overlap(trace)])


def test_what_cannot_be_drawn_is_said(studied, monkeypatch):
    found, _ = studied
    with pytest.raises(vw.VisitError, match="use 'correct' or 'incorrect'"):
        plots.head_overlap(found, only="right")
    with pytest.raises(vw.VisitError, match="no rows of correct prompts"):
        plots.head_overlap([r for r in found["head_overlap"] if not r["correct"]], only="correct")
    with pytest.raises(vw.VisitError, match="'ln1' and 'ln2'"):
        plots.norm_tokens(found, norm="ln3")
    with pytest.raises(vw.VisitError, match="smaller share"):
        plots.regularisation_neurons([])
    real = builtins.__import__

    def without(name, *args, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(vw.VisitError, match=r"visit-widget\[plots\]"):
        plots.head_overlap(found)
