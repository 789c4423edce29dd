"""Effects of parts: measured against whole runs of the model, foretold against differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import visit_widget as vw
from tests.families.configs import PROMPT, build
from tests.tiny import FAMILIES, PROMPT_IDS, float64_throughout, make_model
from visit_widget.trace import alone
from visit_widget.what_if import variants

TARGET, FOIL = 7, 11
# Experts, latent attention, sinks, biases of position, code of their own, state spaces, norms on
# the stream, parallel blocks, keys from elsewhere, masks that depend on the text.
OTHERS = (
    "mixtral", "deepseek_v3", "gpt_oss", "bloom", "gptj", "bamba", "openai-gpt", "cohere",
    "gemma4_text", "gemma3_text", "qwen3_next", "falcon", "doge", "llama4_text", "mpt", "phimoe",
    "minimax",
)  # fmt: skip


def parts_of(trace: vw.Trace) -> list[str]:
    """Some of every kind, in early and late layers."""
    found = []
    for layer in (0, trace.n_layers - 1):
        part = trace.anatomy.blocks[layer]
        found += [f"L{layer}.post"]
        if part.attention is not None:
            at = f"L{layer}.H1"
            found += [at, f"{at}.V5", f"{at}.Q", f"{at}.A5", f"{at}.K5", f"L{layer}.KV0.V5"]
            found += [f"L{layer}.attn", f"L{layer}.O3"]
        if part.mlp is not None:
            row = trace.mlp_row(layer, -1)
            found += [f"L{layer}.mlp", f"L{layer}.N{row.number(2)}"]
        if part.mlp is not None and not part.parallel and part.attention is not None:
            found.append(f"L{layer}.mid")
    return ["embed", *found]


def loss(trace: vw.Trace, again: vw.Trace, token: int) -> float:
    """By how much a logit before any softcap fell, by the model's own last steps."""
    return float(trace.logits()[token] - again.logits()[token])


@pytest.mark.parametrize("action", ["zero", 0.5, "mean"], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_measured_effects_are_those_of_whole_runs(family, action):
    with float64_throughout():
        trace = vw.trace(make_model(family, torch.float64), None, PROMPT_IDS)
        names = [n for n in parts_of(trace) if action != "mean" or ".A" not in n]
        found = trace.effects(names, TARGET, FOIL, action)
        for name, effect in found.items():
            again = trace.rerun({name: action})
            theirs = loss(trace, again, TARGET) - loss(trace, again, FOIL)
            assert abs(effect.measured - theirs) < 1e-8 * max(1.0, abs(theirs)), name
        assert any(abs(effect.measured) > 1e-3 for effect in found.values())


@pytest.mark.parametrize("family", OTHERS)
def test_measured_effects_in_families_of_every_make(family):
    release = f"transformers {transformers.__version__}"
    if family not in CONFIG_MAPPING:
        pytest.skip(f"{release} has no {family}")
    with float64_throughout():
        try:
            trace = vw.trace(build(family).double().eval(), None, PROMPT)
        except RuntimeError as error:
            if "without overflow" not in str(error):
                raise
            pytest.skip(f"{release} makes the mask of {family} in float32 only")
        names = [n for n in parts_of(trace) if n.split(".")[-1][0] not in "QAK" and ".KV" not in n]
        found = trace.effects(names, TARGET)
        for name, effect in found.items():
            theirs = loss(trace, trace.rerun({name: "zero"}), TARGET)
            assert abs(effect.measured - theirs) < 1e-7 * max(1.0, abs(theirs)), name


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "olmo2", "phi"])
def test_whole_prompts_side_by_side_say_the_same(family, monkeypatch):
    with float64_throughout():
        trace = vw.trace(make_model(family, torch.float64), None, PROMPT_IDS)
        names = parts_of(trace)
        one_row = trace.effects(names, TARGET)

        def refuse(*_: Any) -> None:
            raise alone.NotAloneError("no")

        monkeypatch.setattr(variants, "Alone", refuse)
        whole = trace.effects(names, TARGET)
        for name in names:
            off = abs(one_row[name].measured - whole[name].measured)
            assert off < 1e-8 * max(1.0, abs(whole[name].measured)), name


@pytest.mark.parametrize("family", FAMILIES)
def test_at_all_positions(family):
    with float64_throughout():
        trace = vw.trace(make_model(family, torch.float64), None, PROMPT_IDS)
        found = trace.effects(["L0.H1", "L0.mlp", "L1.N3", "L0.H0.Q"], TARGET, positions="all")
        for name, effect in found.items():
            theirs = loss(trace, trace.rerun({name: "zero"}, "all"), TARGET)
            assert abs(effect.measured - theirs) < 1e-8 * max(1.0, abs(theirs)), name


@pytest.mark.parametrize("positions", ["focus", "all", [2, 6]], ids=str)
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "phi"])
def test_what_is_foretold_is_right_for_a_little(family, positions):
    """Of one part in a thousand, what is foretold and what is measured are the same."""
    with float64_throughout():
        trace = vw.trace(make_model(family, torch.float64), None, PROMPT_IDS)
        names = ["L0.H1", "L0.H0.V2", "L0.attn", "L1.mlp", "L0.N3", "L0.post", "L1.O3"]
        step = 1e-5
        for name, effect in trace.effects(
            names, TARGET, action=1 - step, positions=positions
        ).items():
            assert effect.predicted is not None
            off = abs(effect.predicted - effect.measured)
            assert off < 1e-3 * abs(effect.measured) + 1e-9, name


def test_small_memory_and_progress_change_nothing_and_can_end_it():
    told: list[tuple[int, int]] = []
    with float64_throughout():
        trace = vw.trace(make_model("llama", torch.float64), None, PROMPT_IDS)
        plain = trace.effects("heads", TARGET)
        small = trace.effects(
            "heads", TARGET, memory=1, progress=lambda n, of: told.append((n, of))
        )
    for name, effect in plain.items():
        assert abs(effect.measured - small[name].measured) < 1e-9
    assert len(told) > 1
    assert told[-1] == (12, 12)

    def stop(_n: int, _of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trace.effects("heads", TARGET, memory=1, progress=stop)
    again = trace.effects(["L0.H0"], TARGET)["L0.H0"].measured
    assert again == pytest.approx(plain["L0.H0"].measured, rel=1e-5)


def test_the_table():
    trace = vw.trace(make_model("llama", torch.float64), None, PROMPT_IDS)
    found = trace.effects("sublayers", TARGET)
    assert list(found) == [f"L{n}.{at}" for n in range(3) for at in ("attn", "mlp")]
    frame = found.to_pandas()
    assert list(frame.columns) == ["predicted", "measured"]
    assert frame.loc["L1.mlp", "measured"] == found["L1.mlp"].measured
    assert -1 <= found.rho <= 1
    assert frame.corr("spearman").iloc[0, 1] == pytest.approx(found.rho)
    assert abs(found.top(1)[0][1].measured) == frame["measured"].abs().max()
    assert "ρ" in repr(found)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"parts": ["L9.H0"]}, "Layer 9 does not exist"),
        ({"parts": ["L0.H9"]}, "no head 9"),
        ({"parts": ["norm"]}, "no part that can be edited"),
        ({"parts": "neurons"}, "add layer="),
        ({"action": "half"}, "nothing that can be done"),
        ({"action": float("nan")}, "nothing that can be done"),
        ({"parts": ["L0.H0"], "action": torch.ones(3)}, "24 numbers, not 3"),
        ({"parts": ["L0.H0.A1"], "action": "mean"}, "can be taken away or scaled"),
        ({"positions": []}, "says nowhere"),
        ({"positions": 99}, "outside the prompt"),
        ({"positions": [5], "position": 2}, "no effect on what is said there"),
        ({"parts": ["L0.E1"]}, "no mixture of experts"),
        ({"parts": ["L0.KV7.K1"]}, "no KV7"),
    ],
)
def test_what_means_nothing_is_said_so(asked, sentence):
    trace = vw.trace(make_model("llama", torch.float64), None, PROMPT_IDS)
    with pytest.raises(vw.VisitError, match=sentence):
        trace.effects(**{"target": TARGET, **asked})
