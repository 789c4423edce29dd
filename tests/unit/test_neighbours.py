"""The works beside the paper, against direct computations on tiny models."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

import visit_widget as vw
from tests.tiny import (
    PREVIEW,
    blocks_of,
    final_norm_of,
    float64_throughout,
    frozen,
    look,
    make_model,
    matrix_of,
)
from visit_widget import findings as f
from visit_widget.findings.joint_embedding import best_scale, queries_and_keys

IDS = [3, 17, 42, 5, 17, 60, 0]
T = len(IDS)


@cache
def made(family: str, seed: int = 0):
    with float64_throughout():
        model = make_model(family, seed=seed)
        return model, vw.trace(model, None, IDS), look(model, IDS)


def values_and_outputs(model, seen, layer: int) -> tuple[Tensor, Tensor]:
    """(n_heads, T, d_head) values, and (n_heads, d_head, d_model) W_O."""
    block, x = blocks_of(model)[layer], seen.into_attention[layer]
    n_heads = model.config.num_attention_heads
    with torch.no_grad():
        gpt2 = model.config.model_type == "gpt2"
        every = block.attention.c_attn(x).chunk(3, -1)[2] if gpt2 else block.attention.v_proj(x)
    width = seen.heads[layer].shape[-1] // n_heads
    values = every.view(T, -1, width).transpose(0, 1)
    values = values.repeat_interleave(n_heads // len(values), 0)
    return values, matrix_of(block.out).view(n_heads, width, -1)


def mixed_by_hand(model, seen, layer: int, at: int) -> Tensor:
    """(T, d_model) f_ij, the token's own stream added to its own."""
    values, out = values_and_outputs(model, seen, layer)
    parts = sum(
        seen.attentions[layer][h, at, :, None] * (values[h] @ out[h]) for h in range(len(values))
    )
    parts[at] += seen.pre[layer][at]
    return parts


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_mixing_ratio(family):
    with float64_throughout():
        model, trace, seen = made(family)
        rows = {(r["layer"], r["position"]): r for r in f.mixing_ratio(trace)}
        assert len(rows) == len(seen.pre) * T
        for (layer, at), row in rows.items():
            parts = mixed_by_hand(model, seen, layer, at)
            context, kept = parts.sum(0) - parts[at], parts[at]
            assert row["context"] == pytest.approx(float(context.norm()), abs=1e-9)
            assert row["preserved"] == pytest.approx(float(kept.norm()))
            ratio = context.norm() / (context.norm() + kept.norm())
            assert row["ratio"] == pytest.approx(float(ratio), abs=1e-9)
            norm = blocks_of(model)[layer].before_mlp
            mid = seen.pre[layer][at] + seen.attention[layer][at]
            a, b = (frozen(norm, mid, x).norm() for x in (context, kept))
            assert row["ratio_normed"] == pytest.approx(float(a / (a + b)), abs=1e-9)
            if at == 0:
                assert row["ratio"] < 1e-12


@pytest.mark.parametrize("family", PREVIEW)
def test_what_is_mixed_and_constants_are_the_stream(family):
    with float64_throughout():
        _, trace, _ = made(family)
        for layer in range(trace.n_layers):
            total = f.mixed_parts(trace, layer, 3).sum(0) + trace.attn_bias(layer, 3)
            torch.testing.assert_close(total, trace.mid(layer, 3), rtol=1e-8, atol=1e-8)


def test_feed_forward_of_a_gated_mlp_is_the_closed_form():
    with float64_throughout():
        model, trace, seen = made("llama-head-bias")
        for layer, at in ((0, T - 1), (2, 3)):
            parts, off = f.feed_forward_parts(trace, layer, at)
            assert off < 1e-9
            block = blocks_of(model)[layer]
            mid = seen.pre[layer][at] + seen.attention[layer][at]
            xs = frozen(block.before_mlp, mid, mixed_by_hand(model, seen, layer, at))
            gates, ups = xs @ matrix_of(block.mlp.gate_proj), xs @ matrix_of(block.mlp.up_proj)
            gate, up, act = gates.sum(0), ups.sum(0), torch.nn.functional.silu
            steps = (torch.arange(3000).double() + 0.5) / 3000
            area = torch.stack([act(t * gate) for t in steps]).mean(0)
            expected = ups * area + up * (gates / gate) * (act(gate) - area)
            expected = expected @ matrix_of(block.down)
            torch.testing.assert_close(parts, expected, rtol=1e-6, atol=1e-7)
            whole = (act(gate) * up) @ matrix_of(block.down)
            torch.testing.assert_close(parts.sum(0), whole, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_feed_forward_neuron_by_neuron_is_what_derivatives_say(family, monkeypatch):
    """The short way against passes back through the whole module, a part at a time."""
    with float64_throughout():
        _, trace, _ = made(family)
        for layer in range(trace.n_layers):
            parts, off = f.feed_forward_parts(trace, layer, 4)
            with monkeypatch.context() as patch:
                patch.setattr("visit_widget.findings.feed_forward.neuron_integrals", nothing)
                slow, slow_off = f.feed_forward_parts(trace, layer, 4)
            torch.testing.assert_close(parts, slow, rtol=1e-9, atol=1e-10)
            assert off == pytest.approx(slow_off, abs=1e-9)


def nothing(*_):
    return None


class Mixing(torch.nn.Module):
    """An MLP whose neurons hear of one another."""

    def __init__(self, up, down):
        super().__init__()
        self.up, self.down = up, down

    def forward(self, x):
        return self.down(torch.softmax(self.up(x), -1))


def test_neurons_that_hear_of_one_another_go_the_long_way():
    from visit_widget.findings.slopes import _slopes
    from visit_widget.model.exclusive import exclusive

    up, down = torch.nn.Linear(6, 8).double(), torch.nn.Linear(8, 6).double()
    points = torch.randn(1, 4, 6).double()
    plain = torch.nn.Sequential(up, torch.nn.GELU(), down)
    with exclusive(plain):
        assert _slopes(Mixing(up, down), down, [up], points) is None
        (slopes,) = _slopes(plain, down, [up], points)
    z = up(points)[0].detach().requires_grad_()
    torch.testing.assert_close(slopes, torch.autograd.grad(torch.nn.functional.gelu(z).sum(), z)[0])
    deep = torch.nn.Sequential(torch.nn.Linear(6, 6).double(), torch.nn.GELU(), *plain)
    with exclusive(deep):
        assert _slopes(deep, down, [deep[0], up], points) is None


def test_feed_forward_with_biases_is_the_integral():
    with float64_throughout():
        model, trace, seen = made("gpt2")
        layer, at = 1, T - 1
        parts, off = f.feed_forward_parts(trace, layer, at)
        assert off < 1e-9
        block = blocks_of(model)[layer]
        mid = seen.pre[layer][at] + seen.attention[layer][at]
        xs = frozen(block.before_mlp, mid, mixed_by_hand(model, seen, layer, at))
        with torch.no_grad():
            x = block.before_mlp(mid[None])[0]
        expected = torch.zeros_like(parts)
        n, h = 400, 1e-5
        with torch.no_grad():
            for step in range(n):
                t = (step + 0.5) / n
                ahead, behind = (block.mlp(t * x + s * h * xs) for s in (1, -1))
                expected += (ahead - behind) / (2 * h * n)
        torch.testing.assert_close(parts, expected, rtol=1e-5, atol=1e-6)
        row = f.feed_forward_mixing(trace, [at])[layer]
        assert (row["layer"], row["position"]) == (layer, at)
        mixed = mixed_by_hand(model, seen, layer, at)
        for name, p in (("before", mixed), ("written", expected), ("after", mixed + expected)):
            context = (p.sum(0) - p[at]).norm()
            ratio = float(context / (context + p[at].norm()))
            assert row[name] == pytest.approx(ratio, abs=1e-5), name
        lengths = [p.norm(dim=-1).numpy() for p in (mixed, mixed + expected)]
        ranks = [length.argsort().argsort() for length in lengths]
        assert row["same_order"] == pytest.approx(np.corrcoef(ranks)[0, 1])


def test_trajectories_are_the_shared_principal_components():
    with float64_throughout():
        _, trace, seen = made("llama")
        rows = f.trajectories(trace, n_dims=3)
        points = torch.stack([seen.pre[0], *seen.post]).flatten(0, 1)
        points = points / points.norm(dim=-1, keepdim=True)
        centred = (points - points.mean(0)).numpy()
        values, vectors = np.linalg.eigh(centred.T @ centred)
        expected = centred @ vectors[:, ::-1][:, :3]
        ours = np.array([[r["x"], r["y"], r["z"]] for r in rows])
        np.testing.assert_allclose(np.abs(ours), np.abs(expected), atol=1e-8)
        assert (np.abs(ours).max(0) == ours.max(0)).all()
        assert rows[0]["explained"] == pytest.approx(values[::-1][:3].sum() / values.sum())
        assert [(r["layer"], r["position"]) for r in rows] == [
            (layer, i) for layer in range(-1, 3) for i in range(T)
        ]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_joint_embedding_attends_as_the_head_does(family):
    with float64_throughout():
        _, trace, seen = made(family)
        layer, head = 1, 2
        query, key = queries_and_keys(trace, layer, head)
        rows = f.joint_embedding(trace, layer, head, first=0)
        c = rows[0]["scale"]

        def moved(c):
            return c * query, (key - key.mean(0)) / c + c * query.mean(0)

        scores = moved(c)[0] @ moved(c)[1].T
        scores = scores.masked_fill(~torch.ones(T, T).tril().bool(), -torch.inf)
        torch.testing.assert_close(scores.softmax(-1), seen.attentions[layer][head])
        seen_pairs = torch.ones(T, T).tril().bool()

        def correlation(c):
            products = (query @ (key - key.mean(0)).T)[seen_pairs]
            pairs = products, torch.cdist(*moved(c))[seen_pairs]
            return float(torch.corrcoef(torch.stack(pairs))[0, 1])

        assert best_scale(query, key, seen_pairs)[1] == pytest.approx(correlation(c))
        assert all(correlation(c) <= correlation(c * x) + 1e-9 for x in (0.5, 0.9, 1.1, 2))
        assert rows[0]["correlation"] == pytest.approx(correlation(c))
        kinds = [(r["kind"], r["position"]) for r in rows]
        assert kinds == [(k, i) for k in ("query", "key") for i in range(T)]
        middles = [
            np.mean([[r["x"], r["y"]] for r in rows if r["kind"] == k], 0) for k in ("query", "key")
        ]
        np.testing.assert_allclose(*middles, atol=1e-9)
        later = f.joint_embedding(trace, layer, head)
        assert [r["position"] for r in later] == [*range(1, T)] * 2
        expected = best_scale(query[1:], key[1:], seen_pairs[1:, 1:])
        assert (later[0]["scale"], later[0]["correlation"]) == pytest.approx(expected)
        with pytest.raises(vw.VisitError, match="longer prompt"):
            f.joint_embedding(trace, layer, head, first=T - 2)


def heads_by_hand(model, layer: int):
    """(query, key, value, out) maps of each head, (h, d_model, d) and (h, d, d_model), with the
    norm's gain and centring in them, and no position.
    """
    block, n_heads = blocks_of(model)[layer], model.config.num_attention_heads
    gain = block.before_attention.weight.detach()
    d = len(gain)
    if model.config.model_type == "gpt2":
        maps = list(block.attention.c_attn.weight.detach().chunk(3, -1))
        centre = torch.eye(d) - torch.full((d, d), 1 / d)
    else:
        a = block.attention
        maps = [matrix_of(m) for m in (a.q_proj, a.k_proj, a.v_proj)]
        centre = torch.eye(d)
    width = maps[0].shape[1] // n_heads
    found = []
    for m in maps:
        m = centre.double() @ (gain[:, None] * m)
        by_head = m.view(d, -1, width).permute(1, 0, 2)
        found.append(by_head.repeat_interleave(n_heads // len(by_head), 0))
    return (*found, matrix_of(block.out).view(n_heads, width, -1))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_composition_scores(family):
    with float64_throughout():
        model, trace, _ = made(family)
        rows = f.composition(trace, n=6)
        hands = [heads_by_hand(model, layer) for layer in range(trace.n_layers)]
        for reads in ("query", "key", "value"):
            expected = {}
            for n, (q, k, v, o) in enumerate(hands):
                maps = {
                    "query": lambda h, q=q, k=k: q[h] @ k[h].T,
                    "key": lambda h, q=q, k=k: k[h] @ q[h].T,
                    "value": lambda h, v=v, o=o: v[h] @ o[h],
                }
                for earlier, (_, _, value, out) in enumerate(hands[:n]):
                    for a in range(len(q)):
                        ov = value[a] @ out[a]
                        for h in range(len(q)):
                            m = maps[reads](h)
                            score = float((ov @ m).norm() / (ov.norm() * m.norm()))
                            vh = torch.linalg.svd(ov)[2][: out.shape[1]]
                            alone = ((vh @ m).norm(dim=-1) / m.norm()).tolist()
                            expected[earlier, a, n, h] = score, alone
            mine = [r for r in rows if r["reads"] == reads]
            best = sorted(expected, key=lambda pair: -expected[pair][0])[:6]
            names = ("writer_layer", "writer", "layer", "head")
            assert [tuple(r[name] for name in names) for r in mine] == best
            for row, pair in zip(mine, best, strict=True):
                score, alone = expected[pair]
                assert row["score"] == pytest.approx(score)
                assert row["component_score"] == pytest.approx(max(alone))
                assert row["component"] == int(np.argmax(alone))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_what_a_head_reads_of_another_is_what_it_loses_without_it(family):
    """Doubling A's output, the norm's scale held, adds `traced` times the whole to what B reads,
    along the whole.
    """
    with float64_throughout():
        model, trace, seen = made(family)
        for reads, at in (("query", T - 1), ("key", 2), ("value", 4)):
            (earlier, a), (layer, b) = (0, 1), (2, 2)
            share = f.traced_share(trace, (earlier, a), (layer, b), reads, at)
            values, out = values_and_outputs(model, seen, earlier)
            weights = seen.attentions[earlier][a, at]
            written = (weights @ values[a]) @ out[a]
            block = blocks_of(model)[layer]
            normed = frozen(block.before_attention, seen.pre[layer][at], written)
            x = seen.into_attention[layer][at]

            def made_of(x, block=block, reads=reads, b=b):
                if family == "gpt2":
                    n = ("query", "key", "value").index(reads)
                    every = block.attention.c_attn(x).chunk(3, -1)[n]
                    return every.view(model.config.n_head, -1)[b]
                a = block.attention
                module = {"query": a.q_proj, "key": a.k_proj, "value": a.v_proj}[reads]
                every = module(x).view(-1, a.head_dim)
                return every[b // (model.config.num_attention_heads // len(every))]

            with torch.no_grad():
                whole, more = made_of(x), made_of(x + normed)
            # Rotary embedding turns both alike.
            expected = float((more - whole) @ whole / (whole @ whole))
            assert share == pytest.approx(expected, abs=1e-9)
    with pytest.raises(vw.VisitError, match="use query, key, value"):
        f.traced_share(trace, (0, 0), (1, 0), "row", 0)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_confidence_neurons(family):
    with float64_throughout():
        model, trace, _ = made(family)
        rows = f.confidence_neurons(trace, null_share=0.2)
        down = matrix_of(blocks_of(model)[-1].down)
        gain = final_norm_of(model).weight.detach()
        unembedding = model.lm_head.weight.detach() * gain
        if family == "gpt2":
            unembedding = unembedding - unembedding.mean(-1, keepdim=True)
        _, _, vh = torch.linalg.svd(unembedding)
        null = vh[-round(0.2 * len(gain)) :]
        unit = unembedding / unembedding.norm(dim=-1, keepdim=True)
        for row, value in zip(rows, down, strict=True):
            assert row["norm"] == pytest.approx(float(value.norm()))
            inside = (null @ value).square().sum() / value.square().sum()
            assert row["null"] == pytest.approx(float(inside), abs=1e-9)
            spread = (unit @ (value / value.norm())).var()
            assert row["logit_var"] == pytest.approx(float(spread))
        activations = look(model, IDS).neurons[-1].reshape(T, -1)[-1]
        assert [r["activation"] for r in rows] == pytest.approx(activations.tolist())


def test_attention_sinks():
    with float64_throughout():
        model, trace, seen = made("llama")
        rows = f.attention_sinks(trace, outlier=1.2, parked=0.3)
        for row in rows:
            layer, at = row["layer"], row["position"]
            norms = seen.pre[layer].norm(dim=-1)
            others = [float(n) for i, n in enumerate(norms) if i != at]
            # Of an even number torch takes the lower one of the two in the middle.
            ratio = float(norms[at]) / sorted(others)[(len(others) - 1) // 2]
            assert row["ratio"] == pytest.approx(ratio)
            assert row["outlier"] == (ratio >= 1.2)
            if at == T - 1:
                assert (row["attention"], row["heads"]) == (None, [])
                continue
            weights = seen.attentions[layer][:, at + 1 :, at]
            assert row["attention"] == pytest.approx(float(weights.mean()))
            assert row["heads"] == [h for h, w in enumerate(weights.mean(-1)) if w >= 0.3]
        assert any(r["outlier"] for r in rows)
        assert any(r["heads"] for r in rows)
        assert model is not None


# Effects over a corpus.


def test_effects_are_of_the_answer_against_the_best_other():
    with float64_throughout():
        _, trace, _ = made("gpt2")
        order = trace.logits().argsort(descending=True).tolist()
        rows = f.part_effects(trace)
        assert (rows[0]["target"], rows[0]["foil"]) == (f"#{order[0]}", f"#{order[1]}")
        assert f.part_effects(trace, answer=order[4])[0]["foil"] == f"#{order[0]}"
        expected = trace.effects("heads", order[0], order[1])
        for row in rows:
            without = trace.rerun({row["part"]: "zero"})
            before, after = trace.logits(), without.logits()
            lost = (before - after)[order[0]] - (before - after)[order[1]]
            assert row["measured"] == pytest.approx(float(lost), abs=1e-9)
            assert row["predicted"] == expected[row["part"]].predicted


def test_effects_are_ranked_over_prompts():
    prompts = [[3, 17, 42], [5, 17, 60, 0], [8, 1], [1, 2, 3, 4, 5], [7, 7]]
    model = make_model("llama", seed=2)
    study = vw.study(model, None, prompts, [f.part_effects], progress=False)
    rows = f.rank_effects(study["part_effects"], n=3, n_prompts=2)
    assert len(rows) == 12
    means = [row["measured"] for row in rows]
    assert [abs(m) for m in means] == sorted((abs(m) for m in means), reverse=True)
    for row in rows:
        mine = [r for r in study["part_effects"] if r["part"] == row["part"]]
        measured = np.array([r["measured"] for r in mine])
        assert row["measured"] == pytest.approx(measured.mean())
        assert row["measured_low"] <= row["measured"] <= row["measured_high"]
        assert row["predicted"] == pytest.approx(np.mean([r["predicted"] for r in mine]))
        assert row["prompts"] == np.argsort(-np.abs(measured))[:2].tolist()
        assert 0 <= row["stability_low"] <= row["stability"] <= row["stability_high"] <= 1
    assert f.rank_effects([]) == []
