"""Parts of one prompt in another, against plain hooks that put them there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import visit_widget as vw
from tests.tiny import FAMILIES, PROMPT_IDS, blocks_of, float64_throughout, look, make_model
from visit_widget.trace.ending import Ending

TARGET, FOIL = 7, 11
SAME_LENGTH = [3, 17, 9, 5, 17, 60, 0]
# One token of the other prompt is two here; “5” stands at 4, and what is before it is as it was.
LONGER = [3, 17, 9, 8, 5, 17, 60, 0]
B_OF = {0: 0, 1: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6}


def logits(model: Any, ids: list[int]) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
    return found


def put(model: Any, module: nn.Module, before: bool, change: Any, ids: list[int]) -> Tensor:
    """Logits with what a module is given, or gives, changed."""

    def given(_m: nn.Module, args: Any) -> Any:
        return (change(args[0].clone()), *args[1:])

    def gave(_m: nn.Module, _a: Any, out: Any) -> Any:
        first = out[0] if isinstance(out, tuple) else out
        new = change(first.clone())
        return (new, *out[1:]) if isinstance(out, tuple) else new

    add = module.register_forward_pre_hook if before else module.register_forward_hook
    handle = add(given if before else gave)
    try:
        return logits(model, ids)
    finally:
        handle.remove()


def changed(places: list[int], clean: Tensor, columns: slice, partners: dict[int, int]) -> Any:
    """A change that puts the clean run's numbers in the place of those of some positions."""

    def change(x: Tensor) -> Tensor:
        for p in places:
            x[0, p, columns] = clean[partners[p], columns]
        return x

    return change


@pytest.mark.parametrize("corrupted", [SAME_LENGTH, LONGER], ids=["same length", "longer"])
@pytest.mark.parametrize("family", FAMILIES)
def test_measured_is_what_plain_hooks_do(family, corrupted):
    with float64_throughout():
        model = make_model(family, torch.float64, seed=1)
        seen, n = look(model, PROMPT_IDS), len(corrupted)
        partners = {p: p for p in range(n)} if n == len(PROMPT_IDS) else B_OF
        clean, broken = (vw.trace(model, None, ids) for ids in (PROMPT_IDS, corrupted))
        asked = {"target": TARGET, "foil": FOIL}
        width = broken.attention_record(0).value.shape[-1]
        ends = []
        for ids in (PROMPT_IDS, corrupted):
            said = logits(model, ids)
            if family == "gemma2":  # what is followed is before the cap
                said = torch.atanh(said / 30) * 30
            ends.append(float(said[TARGET] - said[FOIL]))

        def normalised(said: Tensor) -> float:
            if family == "gemma2":
                said = torch.atanh(said / 30) * 30
            return (float(said[TARGET] - said[FOIL]) - ends[1]) / (ends[0] - ends[1])

        found = {over: vw.patching(clean, broken, over, **asked)
                 for over in ("streams", "attention", "mlps", "heads")}  # fmt: skip
        assert found["streams"].clean == pytest.approx(ends[0], abs=1e-8)
        assert found["streams"].corrupted == pytest.approx(ends[1], abs=1e-8)
        assert found["streams"].ids.shape == (broken.n_layers, n)
        every = slice(None)
        for layer in (0, 1):
            block = blocks_of(model)[layer]
            after = {"attention": block.after_attention or block.attention,
                     "mlps": block.after_mlp or block.mlp}  # fmt: skip
            for p in (1, 2, 4, n - 1):
                for over, module, before, vectors in (
                    ("streams", block.block, True, seen.pre),
                    ("attention", after["attention"], False, seen.attention),
                    ("mlps", after["mlps"], False, seen.mlp),
                ):
                    row = found[over].measured[layer, p]
                    if p not in partners:
                        assert np.isnan(row)
                        continue
                    change = changed([p], vectors[layer], every, partners)
                    theirs = normalised(put(model, module, before, change, corrupted))
                    assert abs(row - theirs) < 1e-7 * max(1, abs(theirs)), (over, layer, p)
            head = slice(width, 2 * width)
            change = changed(sorted(partners), seen.heads[layer], head, partners)
            theirs = normalised(put(model, block.out, True, change, corrupted))
            assert abs(found["heads"].measured[layer, 1] - theirs) < 1e-7 * max(1, abs(theirs))


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "olmo2", "phi"])
def test_all_of_a_patched_into_b_is_a(family):
    with float64_throughout():
        model = make_model(family, torch.float64, seed=2)
        a, b = vw.trace(model, None, PROMPT_IDS), vw.trace(model, None, SAME_LENGTH)
        patch = vw.compare(b, a).patch
        for name in ("embed", "L1.pre"):
            again = b.rerun({name: patch}, positions="all")
            assert torch.allclose(again.record.logits, a.record.logits, atol=1e-9, rtol=1e-9)
            same = vw.compare(again, a, target=5)
            differences = [v for p in same.nodes.values()
                           if (v := p.values("logit").difference) is not None
                           and p.node.layer != 0 and p.kind != "edit"]  # fmt: skip
            assert max(map(abs, differences[1:])) < 1e-6
        found = vw.patching(a, b, target=TARGET, foil=FOIL, positions="focus")
        last = b.rerun({"L2.post" if b.n_layers > 2 else "L1.post": patch})
        assert torch.allclose(last.record.logits, a.record.logits, atol=1e-9, rtol=1e-9)
        assert found.measured.shape == (b.n_layers, 1)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_what_a_head_takes_from_a_token(family):
    with float64_throughout():
        model = make_model(family, torch.float64, seed=1)
        clean, broken = (vw.trace(model, None, ids) for ids in (PROMPT_IDS, LONGER))
        found = vw.patching(clean, broken, "parts", TARGET, FOIL, layers=[1])
        assert found.ids.shape == (1, broken.n_heads, len(LONGER))
        block = blocks_of(model)[1]
        width = broken.attention_record(1).value.shape[-1]
        ends = [float(t.logits()[TARGET] - t.logits()[FOIL]) for t in (clean, broken)]
        for head, source in ((0, 0), (1, 3), (1, 7)):
            mixes = []
            for one, at in ((clean, B_OF[source]), (broken, source)):
                row = one.attention_row(1, -1)
                mixes.append(row.weights[head, at] * row.values[head, at])
            columns = slice(head * width, (head + 1) * width)

            def change(x: Tensor, columns=columns, mixes=mixes) -> Tensor:
                x[0, -1, columns] += (mixes[0] - mixes[1]).to(x)
                return x

            said = put(model, block.out, True, change, LONGER)
            theirs = (float(said[TARGET] - said[FOIL]) - ends[1]) / (ends[0] - ends[1])
            assert abs(found.measured[0, head, source] - theirs) < 1e-7
        assert np.isnan(found.measured[0, :, 2]).all()


@pytest.mark.parametrize("over", ["streams", "heads", "mlps", "parts"])
def test_what_is_foretold_is_the_slope(over):
    """Of two passes that hardly differ, foretold and measured are the same."""
    with float64_throughout():
        model, near = (make_model("llama", torch.float64, seed=1) for _ in range(2))
        with torch.no_grad():
            near.model.embed_tokens.weight[PROMPT_IDS[2]] += 1e-4
        clean, broken = (vw.trace(m, None, PROMPT_IDS) for m in (near, model))
        found = vw.patching(clean, broken, over, TARGET, FOIL)
    both = np.isfinite(found.measured) & (np.abs(found.measured) > 1e-2)
    assert both.sum() > 3
    off = np.abs(found.measured - found.predicted)[both]
    assert (off < 1e-2 * np.abs(found.measured[both]) + 1e-3).all()


def test_small_memory_progress_and_ending_it():
    with float64_throughout():
        model = make_model("llama", torch.float64, seed=1)
        clean, broken = (vw.trace(model, None, ids) for ids in (PROMPT_IDS, SAME_LENGTH))
        told: list[tuple[int, int]] = []
        asked = {"over": "mlps", "target": TARGET, "foil": FOIL}
        plain = vw.patching(clean, broken, **asked)
        small = vw.patching(
            clean, broken, **asked, memory=1, progress=lambda n, of: told.append((n, of))
        )
        assert np.allclose(plain.measured, small.measured, atol=1e-9)
        # The first two tokens are the same in both, and so is all that is made of them.
        assert told[-1] == (15, 15)
        assert len(told) > 3
        assert (plain.measured[:, :2] == 0).all()

        def stop(_n: int, _of: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            vw.patching(clean, broken, **asked, memory=1, progress=stop)
        again = vw.patching(clean, broken, **asked)
        assert np.array_equal(again.measured, plain.measured)


def test_as_data():
    model = make_model("gpt2", torch.float64, seed=3)
    clean, broken = (vw.trace(model, None, ids) for ids in (PROMPT_IDS, LONGER))
    found = vw.patching(clean, broken)
    assert found.target == clean.texts([int(clean.logits().argmax())])[0]
    frame = found.to_pandas()
    assert len(frame) == 3 * 7
    row = frame.set_index("id").loc["P4.L1.pre"]
    assert row["measured"] == found.measured[1, 4]
    assert (row["token_clean"], row["token_corrupted"]) == (clean.tokens[3], broken.tokens[4])
    assert found.logits[1, 4] == row["logit"]
    strongest = found.top(3)
    assert abs(strongest[0][2]) == np.nanmax(np.abs(found.measured))
    assert frame[["predicted", "measured"]].corr("spearman").iloc[0, 1] == pytest.approx(found.rho)
    data = found.to_dict()
    assert data["measured"][0][2] is None
    assert data["ids"][0][2] is None
    assert found.to_json()
    assert "ρ" in repr(found)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"over": "neurons"}, "use 'streams'"),
        ({"target": 5, "foil": 5}, "nothing to bring back"),
        ({"positions": "some"}, "says nowhere up to the focus"),
        ({"positions": [9]}, "outside the prompt"),
        ({"layers": [5]}, "does not exist"),
        ({"over": "heads", "positions": [2]}, "None of these positions has a partner"),
    ],
)
def test_what_means_nothing_is_said_so(asked, sentence):
    model = make_model("llama", torch.float64)
    clean, broken = (vw.trace(model, None, ids) for ids in (PROMPT_IDS, LONGER))
    with pytest.raises(vw.VisitError, match=sentence):
        vw.patching(clean, broken, **{"target": TARGET, "foil": FOIL, **asked})


def test_a_patch_without_a_partner_is_refused():
    model = make_model("llama", torch.float64)
    here, other = (vw.trace(model, None, ids) for ids in (LONGER, PROMPT_IDS))
    with pytest.raises(vw.VisitError, match="no partner there"):
        here.rerun({"L0.mlp": other}, positions=[0])
    patch = vw.compare(here, other).patch
    with pytest.raises(vw.VisitError, match="no partner there"):
        here.rerun({"L0.mlp": patch}, positions=[2])
    here.rerun({"L0.mlp": patch}, positions=[7])


@pytest.mark.parametrize("over", ["heads", "mlps", "streams"])
@pytest.mark.parametrize("family", FAMILIES)
def test_runs_begin_where_something_is_changed(family, over, monkeypatch):
    """From the first position that differs on alone, whole prompts give the same."""
    with float64_throughout():
        check_begun_runs(family, over, monkeypatch)


def check_begun_runs(family, over, monkeypatch):
    model = make_model(family)
    clean, corrupted = (vw.trace(model, None, ids) for ids in (PROMPT_IDS, SAME_LENGTH))
    begun = []

    class Noted(Ending):
        def __init__(self, trace: vw.Trace, first: int, position: int) -> None:
            begun.append(first)
            super().__init__(trace, first, position)

    monkeypatch.setattr("visit_widget.what_if.variants.Ending", Noted)
    monkeypatch.setattr("visit_widget.what_if.variants.FEW", 1)
    short = vw.patching(clean, corrupted, over, TARGET, FOIL)
    differs = next(
        n for n, (a, b) in enumerate(zip(PROMPT_IDS, SAME_LENGTH, strict=True)) if a != b
    )
    assert begun
    assert min(begun) == differs > 0
    asked = {id_ for id_ in short.ids.flatten() if id_ is not None}
    monkeypatch.setattr("visit_widget.what_if.variants.FEW", 10_000)
    again = len(begun)
    whole = vw.patching(clean, corrupted, over, TARGET, FOIL)
    assert len(begun) == again
    assert asked
    assert np.allclose(short.measured, whole.measured, rtol=1e-8, atol=1e-9, equal_nan=True)


def test_what_cannot_be_run_in_part_is_run_whole(monkeypatch):
    with float64_throughout():
        check_whole_runs(monkeypatch)


def check_whole_runs(monkeypatch):
    model = make_model("llama")
    clean, corrupted = (vw.trace(model, None, ids) for ids in (PROMPT_IDS, SAME_LENGTH))
    expected = vw.patching(clean, corrupted, "heads", TARGET, FOIL).measured

    class Off(Ending):
        """A model whose rows do not come out alone as they did in the pass."""

        def post(self, layer: int, pre: Tensor, mid: Tensor) -> Tensor:
            return super().post(layer, pre, mid) * 1.01

    done = []
    monkeypatch.setattr("visit_widget.what_if.variants.Ending", Off)
    found = vw.patching(
        *(vw.trace(model, None, ids) for ids in (PROMPT_IDS, SAME_LENGTH)),
        "heads", TARGET, FOIL, progress=lambda n, of: done.append((n, of)),
    )  # fmt: skip
    assert np.allclose(found.measured, expected, rtol=1e-8, atol=1e-9)
    assert done[-1][0] == done[-1][1] == found.ids.size
