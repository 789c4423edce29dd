"""The paper's experiments against direct, slow computations: hooks, the model's own norm and
unembedding, one vector at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import cache

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

import visit_widget as vw
from tests.tiny import (
    Seen,
    blocks_of,
    final_norm_of,
    float64_throughout,
    look,
    make_model,
    make_speaker,
    matrix_of,
    tokenizer,
)
from visit_widget import findings as f
from visit_widget.findings.words import is_function_word, share_of_function_words

IDS = [3, 17, 42, 5, 17, 60, 0]
K = 7


@cache
def made(family: str, seed: int = 0) -> tuple[PreTrainedModel, vw.Trace, Seen]:
    with float64_throughout():
        model = make_model(family, seed=seed)
        return model, vw.trace(model, None, IDS), look(model, IDS)


def said(model: PreTrainedModel, x: Tensor) -> Tensor:
    """The lens, by the model's own modules: (n_vocab,)."""
    with torch.no_grad():
        logits = model.lm_head(final_norm_of(model)(x[None, None]))[0, 0]
    cap = getattr(model.config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def top(logits: Tensor, k: int = K) -> set[int]:
    return set(logits.argsort(descending=True)[:k].tolist())


def shared(model: PreTrainedModel, a: Tensor, b: Tensor) -> float:
    return len(top(said(model, a)) & top(said(model, b))) / K


def head_slices(model: PreTrainedModel, seen: Seen, layer: int, at: int = -1):
    """(head, its mix of values, its rows of W_O) of one layer."""
    mixed, matrix = seen.heads[layer][at], matrix_of(blocks_of(model)[layer].out)
    n_heads = model.config.num_attention_heads
    width = len(mixed) // n_heads
    for head in range(n_heads):
        rows = slice(head * width, (head + 1) * width)
        yield head, mixed[rows], matrix[rows]


def by(rows, *names):
    return {tuple(row[name] for name in names): row for row in rows}


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("family", ["gpt2", "llama", "llama-wide"])
def test_head_overlap(family, seed):
    with float64_throughout():
        model, trace, seen = made(family, seed)
        found = by(f.head_overlap(trace, K), "layer", "head", "via")
        ways = {"gpt2": 2, "llama": 2, "llama-wide": 1}[family]
        assert len(found) == len(seen.post) * model.config.num_attention_heads * ways
        for layer in range(len(seen.post)):
            lengths = {}
            for head, mixed, matrix in head_slices(model, seen, layer):
                direct = torch.zeros(len(matrix) * model.config.num_attention_heads).double()
                direct[head * len(mixed) : (head + 1) * len(mixed)] = mixed
                vectors = {"W_O": mixed @ matrix, "direct": direct}
                lengths[head] = float(vectors["W_O"].norm())
                for via in list(vectors)[:ways]:
                    row = found[layer, head, via]
                    wholes = {
                        "attention": seen.attention[layer][-1],
                        "block": seen.post[layer][-1],
                        "final": seen.post[-1][-1],
                    }
                    for name, whole in wholes.items():
                        assert row[name] == pytest.approx(shared(model, vectors[via], whole))
                    assert row["norm"] == pytest.approx(lengths[head], rel=1e-6)
            for head, length in lengths.items():
                longer = sum(other > length for other in lengths.values())
                assert found[layer, head, "W_O"]["norm_rank"] == 1 + longer


def values_of(model: PreTrainedModel, seen: Seen, layer: int) -> Tensor:
    """(n_heads, T, d_head) as the family's own projection makes them, shared ones repeated."""
    block, x = blocks_of(model)[layer], seen.into_attention[layer]
    n_heads = model.config.num_attention_heads
    with torch.no_grad():
        if model.config.model_type == "gpt2":
            every = block.attention.c_attn(x).chunk(3, -1)[2]
        else:
            every = block.attention.v_proj(x)
    width = seen.heads[layer].shape[-1] // n_heads
    values = every.view(len(x), -1, width).transpose(0, 1)
    return values.repeat_interleave(n_heads // len(values), 0)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_memory_values(family):
    with float64_throughout():
        model, trace, seen = made(family)
        found = f.memory_values(trace, K, n_sources=3)
        assert len(found) == len(seen.post) * model.config.num_attention_heads * 3
        rows = by(found, "layer", "head", "rank")
        for layer in range(len(seen.post)):
            values = values_of(model, seen, layer)
            for head, mixed, matrix in head_slices(model, seen, layer):
                weights = seen.attentions[layer][head, -1]
                for rank, source in enumerate(weights.argsort(descending=True)[:3].tolist(), 1):
                    row, value = rows[layer, head, rank], values[head, source] @ matrix
                    assert row["source"] == source
                    assert row["attention"] == pytest.approx(float(weights[source]), rel=1e-6)
                    assert row["overlap"] == pytest.approx(shared(model, value, mixed @ matrix))
                    chances = said(model, value).softmax(-1)
                    own = chances[IDS[source]]
                    assert row["token_probability"] == pytest.approx(float(own), rel=1e-6)
                    assert row["token_rank"] == 1 + int((chances > own).sum())


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_attention_overlap(family):
    with float64_throughout():
        model, trace, seen = made(family)
        rows = f.attention_overlap(trace, K)
        assert [row["layer"] for row in rows] == list(range(len(seen.post)))
        for n, row in enumerate(rows):
            mine, pre = seen.attention[n][-1], [x[-1] for x in seen.pre]
            others = {"residual": pre[n], "block": seen.post[n][-1]}
            if n:
                others |= {
                    "previous_residual": pre[n - 1],
                    "previous_attention": seen.attention[n - 1][-1],
                }
            else:
                assert row["previous_residual"] is row["previous_attention"] is None
            for name, other in others.items():
                assert row[name] == pytest.approx(shared(model, mine, other)), name
            assert row["norm"] == pytest.approx(float(mine.norm()), rel=1e-6)


def gpt2_circuit(model, seen, layer):
    """q, k, and the directions of the QK circuit by hand: (h, T, …) each, x W for `Conv1D`."""
    block, x = blocks_of(model)[layer], seen.into_attention[layer]
    weight, bias = block.attention.c_attn.weight.detach(), block.attention.c_attn.bias.detach()
    n_heads, d_model = model.config.n_head, model.config.n_embd
    width = d_model // n_heads
    query, key, _ = (x @ weight + bias).chunk(3, -1)
    gain = block.before_attention.weight.detach()

    def into_stream(direction):
        direction = gain * direction
        return direction - direction.mean()

    def directions(head, source):
        cut = slice(head * width, (head + 1) * width)
        W_Q, W_K = weight[:, :d_model][:, cut], weight[:, d_model : 2 * d_model][:, cut]
        asked, answered = W_K @ query[-1, cut], W_Q @ key[source, cut]
        return into_stream(asked), into_stream(answered)

    return query, key, width, directions


def test_query_key_overlap_where_weights_are_conv1d():
    with float64_throughout():
        model, trace, seen = made("gpt2")
        rows = f.query_key_overlap(trace, K, n_sources=2)
        assert len(rows) == 3 * 3 * 3
        for row in rows:
            layer, head, source = row["layer"], row["head"], row["source"]
            query, key, width, directions = gpt2_circuit(model, seen, layer)
            order = seen.attentions[layer][head, -1].argsort(descending=True).tolist()
            assert source == order[row["rank"] - 1]  # rank 0 is the last
            mine = values_of(model, seen, layer)[head, source]
            _, _, matrix = list(head_slices(model, seen, layer))[head]
            asked, answered = directions(head, source)
            placed = []
            for vector in (query[-1], key[source]):
                alone = torch.zeros_like(vector)
                cut = slice(head * width, (head + 1) * width)
                alone[cut] = vector[cut]
                placed.append(alone)
            value = torch.zeros_like(placed[0])
            value[head * width : (head + 1) * width] = mine
            assert row["query_key"] == pytest.approx(shared(model, asked, answered))
            assert row["key_value"] == pytest.approx(shared(model, answered, mine @ matrix))
            assert row["query_key_naive"] == pytest.approx(shared(model, *placed))
            assert row["key_value_naive"] == pytest.approx(shared(model, placed[1], value))


@pytest.mark.parametrize("family", ["llama", "llama-wide"])
def test_query_key_overlap_where_keys_are_rotated_and_shared(family):
    """The directions by derivatives of the score as the family's own modules make it."""
    with float64_throughout():
        model, trace, seen = made(family)
        rows = f.query_key_overlap(trace, K)
        positions = torch.arange(len(IDS))[None]
        for row in rows:
            layer, head, source = row["layer"], row["head"], row["source"]
            block = blocks_of(model)[layer]
            attention, x = block.attention, seen.into_attention[layer].clone().requires_grad_()
            cos, sin = model.model.rotary_emb(x[None], positions)
            q = attention.q_proj(x).view(1, len(IDS), -1, attention.head_dim).transpose(1, 2)
            k = attention.k_proj(x).view(1, len(IDS), -1, attention.head_dim).transpose(1, 2)
            q, k = apply_rotary_pos_emb(q, k, cos.double(), sin.double())
            group = q.shape[1] // k.shape[1]
            key, query = k[0, head // group, source], q[0, head, -1]
            (asked,) = torch.autograd.grad(key @ query.detach(), x, retain_graph=True)
            (answered,) = torch.autograd.grad(key.detach() @ query, x)
            gain = block.before_attention.weight.detach()
            asked, answered = gain * asked[source], gain * answered[-1]
            assert row["query_key"] == pytest.approx(shared(model, asked, answered))
            mine = values_of(model, seen, layer)[head, source]
            _, _, matrix = list(head_slices(model, seen, layer))[head]
            assert row["key_value"] == pytest.approx(shared(model, answered, mine @ matrix))
            assert (row["query_key_naive"] is None) == (family == "llama-wide")


@pytest.mark.parametrize("family", ["gpt2", "llama", "phi"])
def test_norm_filter(family):
    with float64_throughout():
        model, trace, seen = made(family)
        rows = by(f.norm_filter(trace, K, n_tokens=3), "layer", "norm", "final_norm", "vector")
        assert len(rows) == len(seen.post) * 2 * 2 * 2
        target = int(seen.logits[-1].argmax())
        for (layer, name, final, vector), row in rows.items():
            block = blocks_of(model)[layer]
            pre = seen.pre[layer][-1]
            if name == "ln1" or family == "phi":
                norm = block.before_attention
                x = pre
            else:
                norm, x = block.before_mlp, pre + seen.attention[layer][-1]
            if vector == "random":  # looked at below
                continue
            with torch.no_grad():
                y = norm(x[None, None])[0, 0]
                read = (lambda v: said(model, v)) if final else model.lm_head
                before, after = read(x).softmax(-1), read(y).softmax(-1)
            change = after - before
            assert row["overlap"] == pytest.approx(len(top(before) & top(after)) / K)
            assert row["moved"] == pytest.approx(float(change.abs().sum() / 2), abs=1e-9)
            assert row["target_before"] == pytest.approx(float(before[target]), rel=1e-6)
            assert row["target_after"] == pytest.approx(float(after[target]), rel=1e-6)
            assert row["target_rank_before"] == 1 + int((before > before[target]).sum())
            assert row["target_rank_after"] == 1 + int((after > after[target]).sum())
            order = change.argsort().tolist()
            assert row["losers"] == [f"#{t}" for t in order[:3]]
            assert row["winners"] == [f"#{t}" for t in order[::-1][:3]]
            assert row["losers_change"] == pytest.approx(change[order[:3]].tolist(), abs=1e-9)
            assert row["winners_change"] == pytest.approx(change[order[::-1][:3]].tolist())


def test_the_random_control_is_as_long_as_the_stream_and_seeded(monkeypatch):
    with float64_throughout():
        model, trace, seen = made("gpt2")
        lens, heard = f.reading.logit_lens(trace), []
        monkeypatch.setattr(
            type(lens),
            "logits",
            lambda self, x, *a, **k: heard.append(x) or self.readout.logits(x),
        )
        first = f.norm_filter(trace, K)
        assert first == f.norm_filter(trace, K)
        assert first != f.norm_filter(trace, K, seed=9)
    # Each norm's stream and random vector, before and after it: all of ln1 and ln2 at once.
    for layer, (stream, random) in enumerate(heard[0].unflatten(0, (-1, 2))[::2]):
        (stream, normed), random = stream, random[0]
        torch.testing.assert_close(stream, seen.pre[layer][-1])
        torch.testing.assert_close(random.norm(), stream.norm())
        assert abs(torch.cosine_similarity(random, stream, 0)) < 0.8
        torch.testing.assert_close(normed, blocks_of(model)[layer].before_attention(stream))


def test_norms_are_read_alike_some_at_a_time():
    with float64_throughout():
        _, trace, _ = made("llama")
        every = f.norm_filter(trace, K)
        lens = f.reading.logit_lens(trace)
        lens.memory, memory = 1, lens.memory
        try:
            assert f.norm_filter(trace, K) == every
        finally:
            lens.memory = memory


def test_what_is_read_on_shelves_is_what_is_read_alone():
    with float64_throughout():
        model, trace, _ = made("llama")
        narrow = torch.zeros(6, trace.d_model, dtype=torch.float64)
        shelves = [0, 2, 0, 1, 2, 1]
        for n, shelf in enumerate(shelves):
            narrow[n, 6 * shelf : 6 * shelf + 6] = torch.randn(6).double()
        dense = torch.randn(3, trace.d_model).double()
        tops = f.reading.Tops(trace, K)
        places = tops.put(narrow, shelves), tops.put(dense)
        for place, vectors in zip(places, (narrow, dense), strict=True):
            for ids, vector in zip(tops.at(place).tolist(), vectors, strict=True):
                assert ids == said(model, vector).argsort(descending=True)[:K].tolist()


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "phi"])
def test_prediction_by_layer(family):
    with float64_throughout():
        model, trace, seen = made(family)
        answer, target = 9, int(seen.logits[-1].argmax())
        rows = f.prediction_by_layer(trace, answer)
        rows_by = by(rows, "layer", "at")
        assert len(rows) == 1 + 2 * len(seen.post)
        for layer, post in enumerate(seen.post):
            mid = seen.pre[layer][-1] + seen.attention[layer][-1]
            for at, x in (("mid", mid), ("post", post[-1])):
                row, chances = rows_by[layer, at], said(model, x).softmax(-1)
                assert row["probability"] == pytest.approx(float(chances[target]), rel=1e-5)
                assert row["rank"] == 1 + int((chances > chances[target]).sum())
                assert row["answer_probability"] == pytest.approx(float(chances[answer]), rel=1e-5)
                assert row["answer_rank"] == 1 + int((chances > chances[answer]).sum())
        assert rows[-1]["rank"] == 1
        assert f.prediction_by_layer(trace)[-1]["answer_rank"] is None


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_top_neurons_and_those_that_regularise(family):
    with float64_throughout():
        model = make_model(family)
        prompts = [IDS, [1, 2, 3], [8, 9], [60, 4, 4, 4]]
        study = vw.study(
            model, None, prompts, {"top": lambda t: f.top_neurons(t, 6)}, progress=False
        )
        often = [Counter() for _ in blocks_of(model)]
        activations: dict[tuple[int, int], list[float]] = {}
        for ids in prompts:
            for layer, neurons in enumerate(look(model, ids).neurons):
                fired = neurons.reshape(len(ids), -1)[-1]
                most = fired.abs().argsort(descending=True)[:6].tolist()
                often[layer].update(most)
                for n in most:
                    activations.setdefault((layer, n), []).append(float(fired[n]))
        for row in study["top"]:
            assert len(row["neurons"]) == 6
        trace = vw.trace(model, None, IDS)
        rows = f.regularisation_neurons(study["top"], trace, share=0.7, k=5, n_average=20)
        expected = {(n, i) for n, c in enumerate(often) for i in c if c[i] > 0.7 * 4}
        assert {(r["layer"], r["neuron"]) for r in rows if r["neuron"] is not None} == expected
        assert expected
        for row in rows:
            layer, neuron = row["layer"], row["neuron"]
            down = matrix_of(blocks_of(model)[layer].down)
            if neuron is None:
                about = [described(model, v) for v in down]
                for name in ("norm", "entropy", "outliers", "largest"):
                    mean = sum(a[name] for a in about) / len(about)
                    assert row[name] == pytest.approx(mean, rel=1e-6), name
                continue
            fired = activations[layer, neuron]
            assert row["frequency"] == often[layer][neuron] / 4
            assert row["activation"] == pytest.approx(sum(fired) / len(fired), rel=1e-6)
            vector = down[neuron] * math.copysign(1, sum(fired))
            for name, value in described(model, vector).items():
                assert row[name] == pytest.approx(value, rel=1e-6), name
            assert row["tokens"] == [
                f"#{t}" for t in said(model, vector).argsort(descending=True)[:5].tolist()
            ]


def described(model, vector):
    chances = said(model, vector).softmax(-1)
    mean, sd = vector.mean(), vector.std()
    scores = ((vector - mean) / sd).abs()
    return {
        "norm": float(vector.norm()),
        "entropy": float(-(chances * chances.log()).sum()),
        "outliers": int((scores > 6).sum()),
        "largest": float(scores.max()),
    }


def test_a_weight_far_from_the_others_is_an_outlier():
    model = make_model("gpt2", n_embd=48)
    with torch.no_grad():
        model.transformer.h[1].mlp.c_proj.weight[4] = torch.linspace(-0.1, 0.1, 48)
        model.transformer.h[1].mlp.c_proj.weight[4, 3] = 50.0
    rows = [{"layer": 1, "neurons": [4, 5], "activations": [1.0, 1.0]}]
    (far, near, _) = f.regularisation_neurons(rows, vw.trace(model, None, IDS))
    assert (far["outliers"], near["outliers"]) == (1, 0)
    # One of 48 is at most 47/√48 deviations away.
    assert far["largest"] == pytest.approx(47 / 48**0.5, rel=1e-3)


def test_function_words():
    assert all(map(is_function_word, (" the", "Of", " yourself", "and ")))
    assert not any(map(is_function_word, (" Tokyo", "city", "", ".")))
    ids = [tokenizer()(text).input_ids[0] for text in (" the", " cat", " on", " a")]
    assert share_of_function_words(tokenizer(), ids) == 0.75
    assert share_of_function_words(None, ids) is None


@pytest.mark.parametrize("padding", ["right", "left"])
def test_findings_of_a_batch_are_those_of_each_prompt(padding):
    model = make_speaker("llama", torch.float64)
    texts = ["the cat sat on a mat", "the dog", "a red city"]
    every = {
        "heads": f.head_overlap, "memory": f.memory_values, "attention": f.attention_overlap,
        "queries": f.query_key_overlap, "norms": f.norm_filter, "layers": f.prediction_by_layer,
        "neurons": f.top_neurons,
    }  # fmt: skip
    found = vw.study(model, tokenizer(), texts, every, padding=padding, progress=False)
    for name, finding in every.items():
        alone = [row for text in texts for row in finding(vw.trace(model, tokenizer(), text))]
        together = found[name]
        assert len(alone) == len(together)
        for a, b in zip(alone, together, strict=True):
            for column, value in a.items():
                if isinstance(value, float) or (
                    isinstance(value, list) and isinstance(value[0], float)
                ):
                    assert b[column] == pytest.approx(value, rel=1e-6, abs=1e-9)
                elif not isinstance(value, list):
                    assert b[column] == value
