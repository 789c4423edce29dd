"""Every lens against its definition, computed slowly from the model's own outputs under plain
hooks, in float64 on tiny models.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import visit_widget as vw
from tests.tiny import (
    N_VOCAB,
    PROMPT_IDS,
    blocks_of,
    final_norm_of,
    float64_throughout,
    make_model,
)
from visit_widget.lens import files, lens_of
from visit_widget.lens.fitted import FittedLens
from visit_widget.lens.jacobian import counted, jacobian_of
from visit_widget.lens.sites import later
from visit_widget.trace import gradients as gradients_module

FIVE = ("gpt2", "llama", "gemma2", "olmo2", "phi")
TEXTS = [[3, 17, 42, 5, 17, 60, 0, 8, 9], [1, 2, 44, 21, 6, 30, 31], [50, 12, 9, 9, 33]]


@pytest.fixture(params=FIVE)
def model(request: pytest.FixtureRequest) -> Iterator[PreTrainedModel]:
    with float64_throughout():
        yield make_model(request.param)


def first(value: Any) -> Tensor:
    tensor: Tensor = value[0] if isinstance(value, tuple) else value
    return tensor


def last_stream(model: PreTrainedModel, ids: Any, layer: int, add: Tensor | None) -> Tensor:
    """(T, d_model) the stream after the last block, with something added after a block: (T,
    d_model).
    """
    found: list[Tensor] = []

    def change(_m: Any, _a: Any, out: Any) -> Any:
        if add is None:
            return None
        changed = first(out) + add
        return (changed, *out[1:]) if isinstance(out, tuple) else changed

    blocks = blocks_of(model)
    hooks = [
        blocks[layer].block.register_forward_hook(change),
        blocks[-1].block.register_forward_hook(lambda _m, _a, o: found.append(first(o)[0])),
    ]
    try:
        with torch.no_grad():
            model(input_ids=torch.tensor([list(ids)]), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return found[-1]


def derivative(model: PreTrainedModel, ids: Any, layer: int, source: int, column: int) -> Tensor:
    """(T, d_model) ∂ last stream / ∂ one number of the stream after a block, by differences."""
    step, d_model = 1e-5, model.config.hidden_size
    add = torch.zeros(len(list(ids)), d_model, dtype=torch.float64)
    add[source, column] = step
    higher = last_stream(model, ids, layer, add)
    return (higher - last_stream(model, ids, layer, -add)) / (2 * step)


def mean_jacobian(model: PreTrainedModel, ids: list[int], layer: int, column: int) -> Tensor:
    """(d_model,) a column of J as published: summed over later positions, averaged over sources."""
    n = len(ids)
    counts = [p for p in range(n) if min(16, n // 4) <= p < n - 1]
    columns = [derivative(model, ids, layer, p, column)[counts].sum(0) for p in counts]
    return torch.stack(columns).mean(0)


def test_a_jacobian_is_the_published_mean(model):
    ids, layer = TEXTS[0], 0
    found = jacobian_of(model, vw.trace(model, None, ids).anatomy, torch.tensor(ids))
    for column in (0, 7, 23):
        theirs = mean_jacobian(model, ids, layer, column)
        assert torch.allclose(found[layer, "post"][:, column].double(), theirs, atol=2e-5)


def test_positions_that_count_leave_out_the_first_and_the_last():
    assert counted(9, torch.device("cpu")).nonzero()[:, 0].tolist() == [2, 3, 4, 5, 6, 7]
    assert counted(100, torch.device("cpu")).nonzero()[:, 0].tolist() == list(range(16, 99))


def test_rows_in_small_batches_are_the_same(model):
    ids, anatomy = torch.tensor(TEXTS[1]), vw.trace(model, None, TEXTS[1]).anatomy
    whole, small = (jacobian_of(model, anatomy, ids, memory) for memory in (2**28, 1))
    assert whole.keys() == small.keys()
    assert all(torch.allclose(whole[p], small[p], atol=1e-6) for p in whole)


def read_slowly(model: PreTrainedModel, carried: Tensor) -> Tensor:
    """The model's own head on (n, d_model)."""
    norm, cap = final_norm_of(model), getattr(model.config, "final_logit_softcapping", None)
    with torch.no_grad():
        logits = model.get_output_embeddings()(norm(carried[:, None]))[:, 0]
    return cap * torch.tanh(logits / cap) if cap else logits


def test_the_jacobian_lens_reads_what_j_carries(model):
    trace = vw.trace(model, None, PROMPT_IDS)
    lens = vw.JacobianLens.fit(model, None, TEXTS, progress=False, cache=False)
    for layer, site, at in ((0, "post", "post"), (1, "head", "mid"), (1, "neuron", "post")):
        x = trace.residual(layer)[:4]
        parallel = trace.anatomy.blocks[layer].parallel
        place = layer, "post" if parallel else at
        theirs = read_slowly(model, x @ lens.jacobians[place].double().T)
        assert torch.allclose(lens.logits(x, layer=layer, site=site), theirs, atol=1e-9), site
    means = [jacobian_of(model, trace.anatomy, torch.tensor(t))[0, "post"] for t in TEXTS]
    assert torch.allclose(lens.jacobians[0, "post"], sum(means) / 3, atol=1e-6)


def test_at_the_last_stream_every_lens_is_the_models_prediction(model):
    trace = vw.trace(model, None, PROMPT_IDS)
    last, said = trace.residual(trace.n_layers - 1)[-1:], trace.logits(-1).argmax()
    fitted = [
        kind.fit(model, None, TEXTS, progress=False, cache=False)
        for kind in (vw.JacobianLens, vw.TunedLens, vw.CalibratedLens)
    ]
    for lens in (vw.LogitLens(model), vw.LocalLens(model).at(trace, -1), *fitted):
        assert lens.project(last).top_ids[0, 0] == said, lens.name


def effect(model: PreTrainedModel, ids: list[int], layer: int, part: Tensor) -> Tensor:
    """(n_vocab,) how the log-probabilities at the last position change with a part, by
    differences.
    """
    step = 1e-5
    add = torch.zeros(len(ids), len(part), dtype=torch.float64)
    add[-1] = step * part
    higher, lower = (
        read_slowly(model, last_stream(model, ids, layer, a)[-1:]).log_softmax(-1)[0]
        for a in (add, -add)
    )
    return (higher - lower) / (2 * step)


def test_the_local_lens_is_the_derivative_of_the_prediction(model):
    trace = vw.trace(model, None, PROMPT_IDS)
    lens = vw.LocalLens(model, likely=20).at(trace, -1)
    for layer in range(trace.n_layers):
        part = trace.mlp_output(layer, -1)
        theirs = effect(model, PROMPT_IDS, layer, part)
        said = lens.project(part[None], 20, 3, layer=layer, site="mlp")
        likely = trace.logits(-1).topk(20).indices
        order = likely[theirs[likely].argsort(descending=True)]
        assert said.top_ids[0].tolist() == order.tolist()
        assert torch.allclose(said.top_logits[0], theirs[order], atol=1e-6)
        assert said.bottom_ids[0].tolist() == order.flip(0)[:3].tolist()
        assert said.top_probabilities.isnan().all(), "effects are no probabilities"


def test_the_local_lens_reads_an_earlier_position_from_there(model):
    trace, at = vw.trace(model, None, PROMPT_IDS), 3
    lens, part = vw.LocalLens(model, likely=9).at(trace, at), trace.mlp_output(0, at)
    theirs = effect(model, PROMPT_IDS[: at + 1], 0, part)
    said = lens.project(part[None], 9, layer=0, site="mlp")
    assert torch.allclose(said.top_logits[0], theirs[said.top_ids[0]], atol=1e-6)


def test_one_position_alone_and_the_whole_prompt_give_the_same_gradients(model, monkeypatch):
    trace = vw.trace(model, None, PROMPT_IDS)
    directions = torch.randn(3, trace.d_model, generator=torch.Generator().manual_seed(1)).double()
    alone = gradients_module.gradients(trace, directions, 4)
    taken = []

    def refuse(*_: Any) -> None:
        taken.append(True)
        raise gradients_module.NotAloneError("not now")

    monkeypatch.setattr(gradients_module, "Alone", refuse)
    whole = gradients_module.gradients(trace, directions, 4)
    assert taken
    for name in ("pre", "mid", "post"):
        assert torch.allclose(getattr(alone, name), getattr(whole, name), atol=1e-9), name


def test_a_calibrated_score_is_a_standing_among_such_vectors(model):
    base = vw.LogitLens(model)
    lens = vw.CalibratedLens.fit(model, None, TEXTS * 6, progress=False, cache=False)
    site = next(s for s in lens.moments if s.kind == "mlp" and s.layer == 1)
    sample = []
    for ids in TEXTS * 6:
        trace = vw.trace(model, None, ids)
        at = sorted({min(len(ids) - 1, round(len(ids) / 4 * (k + 1))) for k in range(3)} - {0})
        sample += [trace.mlp_output(1, p) for p in at]
    logits = base.logits(torch.stack(sample))
    logits = logits - logits.mean(-1, keepdim=True)
    mean, sd = logits.mean(0), logits.std(0)
    sd = sd.clamp_min(0.25 * float(sd.mean()))
    x = trace.mlp_output(1, -1)[None]
    own = base.logits(x)
    theirs = ((own - own.mean() - mean) / sd)[0]
    said = lens.project(x, 5, 0, [7], layer=site.layer, site=site.kind)
    assert torch.allclose(said.top_logits[0], theirs[said.top_ids[0]], atol=0.02)
    assert said.top_ids[0, 0] == theirs.argmax()
    assert said.target_ranks[0, 0] == int((own > own[0, 7]).sum()) + 1, "ranks stay the lens's own"
    assert torch.allclose(said.target_probabilities[0, 0], own.softmax(-1)[0, 7])


def test_the_tuned_lens_reads_through_its_map(model):
    trace = vw.trace(model, None, PROMPT_IDS)
    lens = vw.TunedLens.fit(model, None, TEXTS, progress=False, cache=False, steps=2)
    x = trace.residual(0)[:4]
    matrix, bias = (t.double() for t in lens.translators[0, "post"])
    theirs = read_slowly(model, x + x @ matrix.T + bias)
    assert torch.allclose(lens.logits(x, layer=0, site="post"), theirs, atol=1e-9)
    part = read_slowly(model, x + x @ matrix.T)
    assert torch.allclose(lens.logits(x, layer=0, site="mlp"), part, atol=1e-9), "b is the whole's"


def test_learning_brings_streams_nearer_to_the_prediction(model):
    def text(seed: int) -> Tensor:
        return torch.randint(0, N_VOCAB, (12,), generator=torch.Generator().manual_seed(seed))

    lens = vw.TunedLens.fit(model, None, [text(n) for n in range(60)], progress=False, cache=False)
    divergence = dict.fromkeys(("logit", "tuned"), 0.0)
    for unseen in map(text, range(100, 112)):
        trace = vw.trace(model, None, unseen)
        goal = torch.stack([trace.logits(p) for p in range(4, 12)]).log_softmax(-1)
        for name, one in (("logit", vw.LogitLens(model)), ("tuned", lens)):
            said = one.logits(trace.residual(0)[4:], layer=0, site="post").log_softmax(-1)
            divergence[name] += float((goal.exp() * (goal - said)).sum(-1).mean())
    assert divergence["tuned"] < 0.9 * divergence["logit"]


KINDS: dict[str, Any] = {
    "calibrated": vw.CalibratedLens, "jacobian": vw.JacobianLens, "tuned": vw.TunedLens,
}  # fmt: skip


def fitted(name: str, model: PreTrainedModel) -> FittedLens:
    lens: FittedLens = KINDS[name].fit(model, None, TEXTS * 4, progress=False, cache=False)
    return lens


@pytest.mark.parametrize("name", KINDS)
def test_a_saved_lens_reads_the_same_in_another_process(name, tmp_path: Path):
    model = make_model("llama", torch.float32)
    lens = fitted(name, model)
    path = lens.save(tmp_path / "lens.safetensors")
    x = torch.randn(5, 24, generator=torch.Generator().manual_seed(4))
    program = f"""
import torch, visit_widget as vw
from tests.tiny import make_model
lens = vw.{type(lens).__name__}.load({str(path)!r}, make_model("llama", torch.float32))
x = torch.randn(5, 24, generator=torch.Generator().manual_seed(4))
print(lens.project(x, 6, layer=1, site="head").top_ids.tolist())
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True
    )
    ours = KINDS[name].load(path, model).project(x, 6, layer=1, site="head").top_ids.tolist()
    assert done.stdout.strip() == str(ours)


@pytest.mark.parametrize("name", KINDS)
def test_a_lens_of_another_model_is_refused(name, tmp_path: Path):
    lens = fitted(name, make_model("llama", torch.float32))
    path = lens.save(tmp_path / "lens.safetensors")
    with pytest.raises(vw.VisitError, match="weights are not those"):
        KINDS[name].load(path, make_model("llama-wide", torch.float32))
    with pytest.raises(vw.VisitError, match="n_layers = 3, and the model at hand has 2"):
        KINDS[name].load(path, make_model("gpt2-scaled", torch.float32))
    half = make_model("llama", torch.bfloat16)
    assert KINDS[name].load(path, half).name == name, "the same model in another dtype is no other"
    other = next(kind for kind in KINDS if kind != name)
    with pytest.raises(vw.VisitError, match="of another kind"):
        KINDS[other].load(path, make_model("llama", torch.float32))


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_lens_is_said(name, tmp_path: Path):
    model, path = make_model("llama", torch.float32), tmp_path / "x.safetensors"
    with pytest.raises(vw.VisitError, match="no file"):
        KINDS[name].load(path, model)
    path.write_text("nothing")
    with pytest.raises(vw.VisitError, match="no saved lens"):
        KINDS[name].load(path, model)


def test_an_interrupted_fit_goes_on_where_it_was(monkeypatch):
    model, asked = make_model("llama", torch.float32), []
    whole = vw.JacobianLens.fit(model, None, TEXTS, progress=False, cache=False)
    real = jacobian_of
    monkeypatch.setattr("visit_widget.lens.jacobian.PUT_AWAY", 0.0)

    def interrupted(model: Any, anatomy: Any, ids: Tensor, memory: int) -> Any:
        asked.append(ids.tolist())
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(model, anatomy, ids, memory)

    monkeypatch.setattr("visit_widget.lens.jacobian.jacobian_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vw.JacobianLens.fit(model, None, TEXTS, progress=False)
    lens = vw.JacobianLens.fit(model, None, TEXTS, progress=False)
    assert asked == [TEXTS[0], TEXTS[1], TEXTS[1], TEXTS[2]], "the first is not done again"
    for place, jacobian in whole.jacobians.items():
        assert torch.allclose(lens.jacobians[place], jacobian, atol=1e-6)
    path = files.cached(model, "jacobian")
    assert path is not None
    assert path.exists()
    assert not path.with_suffix(".partial").exists()


def test_a_fit_on_other_texts_does_not_go_on_with_these(monkeypatch):
    model = make_model("llama", torch.float32)
    monkeypatch.setattr("visit_widget.lens.jacobian.PUT_AWAY", 0.0)
    real, n = jacobian_of, []

    def interrupted(*args: Any) -> Any:
        n.append(1)
        if len(n) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr("visit_widget.lens.jacobian.jacobian_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vw.JacobianLens.fit(model, None, TEXTS, progress=False)
    vw.JacobianLens.fit(model, None, TEXTS[::-1], progress=False)
    assert len(n) == 2 + 3


def test_published_jacobians_are_read(tmp_path: Path):
    model = make_model("llama", torch.float32)
    matrix = torch.randn(24, 24, generator=torch.Generator().manual_seed(2))
    data = {"J": {0: matrix.half()}, "n_prompts": 9, "source_layers": [0], "d_model": 24}
    torch.save(data, tmp_path / "lens.pt")
    lens = vw.JacobianLens.load(tmp_path / "lens.pt", model)
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(3))
    theirs = read_slowly(model, x @ matrix.half().float().T)
    for layer, site in ((0, "post"), (0, "attention"), (1, "pre")):
        assert torch.allclose(lens.logits(x, layer=layer, site=site), theirs, atol=1e-4), site
    plain = read_slowly(model, x)
    assert torch.allclose(lens.logits(x, layer=1, site="post"), plain, atol=1e-5), "not fitted"
    torch.save({"J": {0: matrix[:9, :9]}}, tmp_path / "small.pt")
    with pytest.raises(vw.VisitError, match="another model"):
        vw.JacobianLens.load(tmp_path / "small.pt", model)


def test_published_translators_are_read(tmp_path: Path):
    model = make_model("llama", torch.float32)
    random = torch.Generator().manual_seed(2)
    weight, bias = torch.randn(24, 24, generator=random), torch.randn(24, generator=random)
    zero = {"0.weight": torch.zeros(24, 24), "0.bias": torch.zeros(24)}
    torch.save({**zero, "1.weight": weight, "1.bias": bias}, tmp_path / "params.pt")
    (tmp_path / "config.json").write_text('{"base_model_name_or_path": "x", "d_model": 24}')
    lens = vw.TunedLens.load(tmp_path, model)
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(3))
    theirs = read_slowly(model, x + x @ weight.T + bias)
    # Their second translator is of the stream before the second block.
    assert torch.allclose(lens.logits(x, layer=1, site="pre"), theirs, atol=1e-4)
    assert torch.allclose(lens.logits(x, layer=0, site="post"), theirs, atol=1e-4)
    assert lens.meta["base_model_name_or_path"] == "x"


def test_the_default_is_the_jacobian_lens_once_it_is_fitted():
    model = make_model("llama", torch.float32)
    trace = vw.trace(model, None, PROMPT_IDS)
    assert trace.flow().lens == "local"
    vw.JacobianLens.fit(model, None, TEXTS, progress=False)
    assert trace.flow().lens == "jacobian"
    assert trace.flow(lens="logit").lens == "logit"


def test_a_lens_by_name_has_to_be_fitted_or_is_said_how():
    trace = vw.trace(make_model("llama", torch.float32), None, PROMPT_IDS)
    with pytest.raises(vw.VisitError, match=r"vw\.CalibratedLens\.fit\(model, tokenizer\)"):
        trace.flow(lens="calibrated")
    with pytest.raises(vw.VisitError, match="'local', 'logit', 'calibrated'"):
        trace.flow(lens="magnifying glass")
    other = vw.LogitLens(make_model("gpt2", torch.float32))
    other.n_vocab = 7
    with pytest.raises(vw.VisitError, match="made for another model"):
        trace.flow(lens=other)


def test_vectors_without_sites_are_the_last_streams(model):
    lens = vw.JacobianLens.fit(model, None, TEXTS, progress=False, cache=False)
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(3)).double()
    assert torch.allclose(lens.logits(x), read_slowly(model, x), atol=1e-9)
    with pytest.raises(vw.VisitError, match="site='nose' is none a lens knows"):
        lens.project(x, layer=0, site="nose")
    with pytest.raises(vw.VisitError, match="Layer 9 does not exist"):
        lens.project(x, layer=9)
    with pytest.raises(vw.VisitError, match="3 vectors, 2 layers"):
        lens.project(x, layer=[0, 1])


def test_what_comes_after_a_stream():
    assert later((1, "pre"), 2) == [(0, "post"), (1, "mid")]
    assert later((1, "post"), 2) == []
    assert later((0, "pre"), 2)[0] == (0, "pre")


def test_there_has_to_be_something_to_fit_on():
    model = make_model("llama", torch.float32)
    with pytest.raises(vw.VisitError, match="need the model's tokenizer"):
        vw.JacobianLens.fit(model, None, ["a text"], progress=False)
    with pytest.raises(vw.VisitError, match="not one"):
        vw.JacobianLens.fit(model, None, "a text", progress=False)
    with pytest.raises(vw.VisitError, match="no text of three tokens"):
        vw.TunedLens.fit(model, None, [[1]], progress=False)


def test_progress_is_told():
    seen: list[tuple[int, int]] = []
    model = make_model("llama", torch.float32)
    vw.JacobianLens.fit(model, None, TEXTS, progress=lambda a, b: seen.append((a, b)), cache=False)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_lens_that_is_fitted_again_takes_the_place_of_the_first():
    model = make_model("llama", torch.float32)
    trace = vw.trace(model, None, PROMPT_IDS)
    first = vw.JacobianLens.fit(model, None, TEXTS[:1], progress=False)
    assert lens_of("jacobian", trace) is first
    again = vw.JacobianLens.fit(model, None, TEXTS, progress=False)
    assert lens_of("jacobian", trace) is again


def test_with_other_weights_lenses_are_made_anew():
    """Also where the weights were changed behind autograd's back, and where norms are copies."""
    model = make_model("llama", torch.bfloat16)
    vw.JacobianLens.fit(model, None, TEXTS, progress=False)
    before = vw.trace(model, None, PROMPT_IDS)
    assert before.flow().lens == "jacobian"
    final_norm_of(model).weight.data.mul_(torch.linspace(0.2, 3, 24, dtype=torch.bfloat16))
    after = vw.trace(model, None, PROMPT_IDS)
    assert after.flow().lens == "local", "the fitted one was of other weights"
    vector = after.mlp_output(1)[None]
    theirs = read_slowly(model.float(), vector)
    assert torch.allclose(lens_of("logit", after).logits(vector), theirs, atol=1e-3)


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path):
    lens = fitted("jacobian", make_model("llama", torch.float32))
    (tmp_path / "file").write_text("")
    with pytest.raises(vw.VisitError, match=r"Could not write .*Choose another place"):
        lens.save(tmp_path / "file" / "lens.safetensors")


@pytest.mark.parametrize("kind", [vw.JacobianLens, vw.TunedLens])
def test_a_foreign_file_that_holds_something_else_is_refused(kind, tmp_path: Path):
    model = make_model("llama", torch.float32)
    torch.save({"nothing": 1}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(b"\x80\x04garbage")
    for name in ("a.pt", "b.pt"):
        with pytest.raises(vw.VisitError, match="is no lens as"):
            kind.load(tmp_path / name, model)
    with pytest.raises(vw.VisitError, match="There is no file"):
        kind.load(tmp_path / "c.pt", model)
