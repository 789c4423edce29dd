"""Generation: the model's own tokens, and the pass that said each of them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer

import visit_widget as vw
from benchmarks.storage import storages_of
from tests.same import off_by
from tests.tiny import PROMPT_IDS, float64_throughout, make_model, make_speaker, tokenizer
from tests.unit.test_loading import state

IDS = PROMPT_IDS
F32 = torch.float32


def tiny(family: str, dtype: torch.dtype = torch.float64) -> PreTrainedModel:
    """A model that reads 64 tokens."""
    longest = "n_positions" if family == "gpt2" else "max_position_embeddings"
    implementation = "eager" if family == "gemma2" else "sdpa"
    return make_model(family, dtype, implementation, **{longest: 64})


def own(model: PreTrainedModel, ids: list[int], **options: Any) -> list[int]:
    """What the model's own generate gives."""
    prompt = torch.tensor([ids])
    found: Any = model.generate(prompt, attention_mask=torch.ones_like(prompt), **options)
    return list(found[0].tolist()[len(ids) :])


def full(said: vw.Generation, place: int) -> vw.Trace:
    """The pass that said a new token, taken on its own."""
    ids = [*said.input_ids.tolist(), *said.token_ids[:place]]
    return vw.trace(said.model, None, ids)


OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampled": {"do_sample": True, "temperature": 0.8, "top_p": 0.9},
    "penalised": {"do_sample": True, "top_k": 20, "repetition_penalty": 1.4},
    "no repeats": {"do_sample": False, "no_repeat_ngram_size": 2, "bad_words_ids": [[7], [9, 3]]},
    "without a cache": {"do_sample": True, "use_cache": False},
    "static cache": {"do_sample": True, "cache_implementation": "static"},
    # Some versions look nothing up without an end token; this one is never said.
    "looking up": {"do_sample": False, "prompt_lookup_num_tokens": 2, "eos_token_id": 59},
    "guided": {"do_sample": False, "guidance_scale": 1.5},
    "in chunks": {"do_sample": False, "prefill_chunk_size": 3},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_tokens_are_the_models_own_and_traces_full_ones(family, name):
    model = tiny(family)
    options = {"max_new_tokens": 9, "pad_token_id": 0, **OPTIONS[name]}
    with float64_throughout():
        torch.manual_seed(7)
        expected = own(model, IDS, **options)
        torch.manual_seed(7)
        said = vw.generate(model, None, IDS, **options)
        assert said.token_ids == expected
        assert said.notes == ()
        for place in (0, 1, 8):
            assert off_by(said.traces[place], full(said, place)) < 1e-9
            assert said.traces[place].next_token == expected[place]
        torch.manual_seed(8)
        then = torch.get_rng_state()
        assert vw.generate(model, None, IDS, seed=7, **options).token_ids == expected
        assert torch.equal(torch.get_rng_state(), then)


def test_other_seeds_say_other_things():
    model = tiny("llama", F32)
    options: dict[str, Any] = {"do_sample": True, "pad_token_id": 0}
    said = {tuple(vw.generate(model, None, IDS, 9, seed=s, **options).token_ids) for s in range(4)}
    assert len(said) == 4


def test_everything_is_kept_once():
    model = make_model("gemma2", F32, max_position_embeddings=128)
    said = vw.generate(model, None, IDS, 70, do_sample=False, pad_token_id=0)
    assert said.traces[-1].in_steps
    every: dict[int, int] = {}
    for trace in said.traces[:]:
        record = trace.record
        every |= storages_of([record.final, [vars(layer) for layer in record.layers]])
    last = full(said, 69).record
    alone = sum(storages_of([last.final, [vars(layer) for layer in last.layers]]).values())
    # What sublayers added at the last position is a row for each step.
    added = sum(t.nbytes for layer in last.layers for t in layer.added.values()) * len(said)
    assert sum(every.values()) <= 1.02 * (alone + added)
    logits = storages_of([trace.record.logits for trace in said.traces])
    assert sum(logits.values()) <= len(said) * said.traces[0].record.logits.nbytes


def test_steps_say_what_the_model_made_of_each_token():
    model = tiny("llama")
    options: dict[str, Any] = {"do_sample": True, "temperature": 3.0, "pad_token_id": 0}
    said = vw.generate(model, None, IDS, 9, seed=1, **options)
    with torch.no_grad():
        whole = model(torch.tensor([[*IDS, *said.token_ids]])).logits[0, len(IDS) - 1 : -1]
    chances = whole.softmax(-1)
    assert any(step.rank > 1 for step in said.steps)
    for place, (step, chance) in enumerate(zip(said.steps, chances, strict=True)):
        token = said.token_ids[place]
        assert (step.token, step.position) == (token, len(IDS) + place - 1)
        assert step.probability == pytest.approx(float(chance[token]), rel=1e-5)
        assert step.rank == int((chance > chance[token]).sum()) + 1
        assert step.first == int(chance.argmax())
        assert step.first_probability == pytest.approx(float(chance.max()), rel=1e-5)
        assert not step.put
    table = said.to_pandas()
    assert list(table.index) == list(range(9))
    assert list(table["token"]) == said.token_ids
    assert list(table["rank"]) == [step.rank for step in said.steps]


def test_the_token_that_came_is_followed():
    model = make_speaker("llama")
    said = vw.generate(
        model,
        tokenizer(),
        "the cat sat",
        8,
        seed=3,
        do_sample=True,
        temperature=4.0,
        eos_token_id=5,
    )
    place = next(n for n, step in enumerate(said.steps) if step.rank > 1)
    trace, step = said.traces[place], said.steps[place]
    graph = trace.flow()
    assert graph.target["id"] == step.token
    assert graph.target["rank"] == step.rank
    assert graph.prediction[0]["id"] == step.first
    assert graph.target["probability"] == pytest.approx(step.probability, rel=1e-4)
    assert trace.routes().target["id"] == step.token
    assert trace.flow(target=step.first).target["id"] == step.first
    # Elsewhere in the prompt nothing came that this pass said.
    earlier = trace.flow(position=0)
    assert earlier.target["id"] == earlier.prediction[0]["id"]
    assert trace.rerun({"L1.mlp": "zero"}).next_token == step.token


def test_text_goes_on_where_the_prompt_ends():
    model = make_speaker("llama")
    said = vw.generate(model, tokenizer(), "the cat sat", 5, do_sample=False, pad_token_id=0)
    whole = tokenizer().decode([*said.input_ids.tolist(), *said.token_ids])
    assert said.prompt + said.text == whole
    assert said.tokens == said.traces[0].texts(said.token_ids)
    assert len(said) == len(said.traces) == 5
    assert said.traces[2] is said.traces[2]
    assert [len(t) for t in said.traces[1:4]] == [4, 5, 6]
    with pytest.raises(IndexError, match="5 new tokens"):
        said.traces[5]


def count_rows(model: PreTrainedModel, rows: list[int]) -> Any:
    """Notes how many tokens each pass of the model is given."""
    return model.get_input_embeddings().register_forward_pre_hook(
        lambda _, args: rows.append(args[0].shape[-1])
    )


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_a_branch_is_a_fresh_generation_that_shares_what_came_before(family):
    model = tiny(family)
    options: dict[str, Any] = {"do_sample": True, "pad_token_id": 0}
    with float64_throughout():
        said = vw.generate(model, None, IDS, 9, seed=1, **options)
        for put in ([3], [3, 40, 12]):
            before = [*said.token_ids[:4], *put]
            rows: list[int] = []
            handle = count_rows(model, rows)
            branch = said.branch(4, put, seed=2)
            handle.remove()
            # The last token that is known, what was put, and then one by one.
            assert rows[0] == 1 + len(put)
            assert set(rows[1:]) == {1}
            torch.manual_seed(2)
            new = own(model, [*IDS, *before], max_new_tokens=9 - len(before), **options)
            assert branch.token_ids == [*before, *new]
            for place in range(len(branch)):
                trace = full(branch, place)
                ours = branch.traces[place]
                assert off_by(ours, trace) < 1e-9
                chance = trace.record.logits.softmax(-1)[branch.token_ids[place]]
                assert branch.steps[place].probability == pytest.approx(float(chance), rel=1e-6)
            places = [n for n, step in enumerate(branch.steps) if step.put]
            assert places == list(range(4, 4 + len(put)))
        # Of a branch, from the prompt's end on; and the model may choose again.
        again = branch.branch(0, 11).branch(6, None, 2, seed=4)
        assert again.token_ids[0] == 11
        assert off_by(again.traces[7], full(again, 7)) < 1e-9
        more = said.go_on(3, do_sample=False)
        assert more.token_ids[:9] == said.token_ids
        assert more.token_ids[9:] == own(
            model, [*IDS, *said.token_ids], max_new_tokens=3, do_sample=False, pad_token_id=0
        )
        assert off_by(more.traces[10], full(more, 10)) < 1e-9
        behind = said.branch(len(said), 5, 2, seed=1)
        assert off_by(behind.traces[9], full(behind, 9)) < 1e-9
        assert behind.steps[9].put


@pytest.mark.parametrize("name", ["without a cache", "static cache", "looking up", "in chunks"])
def test_a_branch_keeps_to_the_options(name):
    model = tiny("llama")
    options = {"max_new_tokens": 7, "pad_token_id": 0, **OPTIONS[name]}
    with float64_throughout():
        said = vw.generate(model, None, IDS, seed=1, **options)
        branch = said.branch(2, 9, seed=1)
        before = [*IDS, *said.token_ids[:2], 9]
        torch.manual_seed(1)
        assert branch.token_ids[3:] == own(model, before, **{**options, "max_new_tokens": 4})
        for place in (2, 3, 6):
            assert off_by(branch.traces[place], full(branch, place)) < 1e-9


def test_a_branch_takes_texts():
    model = make_speaker("llama")
    said = vw.generate(model, tokenizer(), "the cat sat", 6, do_sample=False, pad_token_id=0)
    branch = said.branch(2, " on the mat")
    words = tokenizer()(" on the mat")["input_ids"]
    assert branch.token_ids[:5] == [*said.token_ids[:2], *words]
    assert len(branch) == 6
    assert said.branch(-1, " dog").token_ids[:5] == said.token_ids[:5]
    with pytest.raises(vw.VisitError, match="from 0 to 5"):
        said.branch(7, " dog")
    with pytest.raises(vw.VisitError, match="outside the model's vocabulary"):
        said.branch(1, 10**6)
    with pytest.raises(vw.VisitError, match="put there"):
        said.branch(1, "")


class _Breaking:
    """A streamer that breaks the generation off, or fails, after some tokens."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.after, self.error = after, error

    def put(self, _: Tensor) -> None:
        self.after -= 1
        if self.after < 0:
            raise self.error

    def end(self) -> None:
        pass


def test_broken_off_by_hand_it_gives_what_there_is():
    model = tiny("llama")
    model.train()
    before = state(model)
    with float64_throughout():
        said = vw.generate(
            model, None, IDS, 20, do_sample=False, pad_token_id=0,
            streamer=_Breaking(5, KeyboardInterrupt()),
        )  # fmt: skip
        assert state(model) == before
        assert said.interrupted
        # A streamer is told of a token before all else is, or after.
        n = len(said)
        assert n in (4, 5)
        assert said.token_ids == vw.generate(model, None, IDS, n, pad_token_id=0).token_ids
        assert f"broken off after {n}" in said.notes[-1]
        assert off_by(said.traces[n - 1], full(said, n - 1)) < 1e-9
        assert said.go_on(2).token_ids[:n] == said.token_ids
    with pytest.raises(KeyboardInterrupt):
        vw.generate(model, None, IDS, 9, streamer=_Breaking(0, KeyboardInterrupt()))
    assert state(model) == before


def test_broken_off_in_the_middle_of_a_pass_it_gives_what_there_is():
    model = tiny("gemma2", F32)
    rows: list[int] = []

    def stop(*_: Any) -> None:
        rows.append(1)
        if len(rows) == 4:
            raise KeyboardInterrupt

    known = vw.generate(model, None, IDS, 2, pad_token_id=0)
    handle = model.model.layers[1].mlp.register_forward_hook(stop)
    before = state(model)
    said = vw.generate(model, None, IDS, 9, anatomy=known.anatomy, pad_token_id=0)
    assert state(model) == before
    handle.remove()
    assert len(said) == 3
    assert off_by(said.traces[2], full(said, 2)) < 1e-5


def test_an_error_on_the_way_leaves_the_model_as_it_was():
    model = tiny("llama", F32)
    before = state(model)
    with pytest.raises(RuntimeError, match="no"):
        vw.generate(model, None, IDS, 9, streamer=_Breaking(4, RuntimeError("no")))
    assert state(model) == before
    said = vw.generate(model, None, IDS, 9, do_sample=True, seed=1)
    assert state(model) == before
    said.branch(3, 5)
    assert state(model) == before


class _Collecting(_Breaking):
    def __init__(self) -> None:
        super().__init__(10**6, ValueError())
        self.seen: list[int] = []

    def put(self, value: Tensor) -> None:
        self.seen += value.reshape(-1).tolist()


def test_it_stops_and_streams_as_generate_does():
    model = make_speaker("llama")
    free = vw.generate(model, tokenizer(), "the cat sat", 8, do_sample=False, pad_token_id=0)
    eos = free.token_ids[3]
    streamer = _Collecting()
    said = vw.generate(
        model, tokenizer(), "the cat sat", 8, do_sample=False, eos_token_id=eos, pad_token_id=0,
        streamer=streamer,
    )  # fmt: skip
    assert said.token_ids == free.token_ids[: free.token_ids.index(eos) + 1]
    assert streamer.seen == [*said.input_ids.tolist(), *said.token_ids]
    stop = next(c for c in free.text[1:-1] if c.isascii() and c.isalpha())
    options: dict[str, Any] = {"do_sample": False, "stop_strings": [stop], "pad_token_id": 0}
    stopped = vw.generate(model, tokenizer(), "the cat sat", 8, **options)
    ids = stopped.input_ids.tolist()
    expected = own(model, ids, max_new_tokens=8, tokenizer=tokenizer(), **options)
    assert stopped.token_ids == expected
    assert len(stopped) < 8


def test_what_makes_several_texts_is_refused():
    model = tiny("llama", F32)
    for options, said in (
        ({"num_beams": 3}, "Beam search"),
        ({"generation_config": GenerationConfig(num_beams=2)}, "Beam search"),
        ({"num_return_sequences": 2, "do_sample": True}, "Several texts"),
        ({"past_key_values": object()}, "generation.branch"),
        ({"inputs_embeds": torch.zeros(1, 1, 24)}, "third argument"),
        ({"output_scores": True}, "leave it out"),
        ({"max_new_tokens": 0}, "at least 1"),
        ({"max_new_tokens": 3, "no_such_option": 1}, "no_such_option"),
        ({"max_new_tokens": 3, "temperature": -1.0, "do_sample": True}, "temperature"),
    ):
        with pytest.raises(vw.VisitError, match=said):
            vw.generate(model, None, IDS, **options)
    assert vw.generate(model, None, IDS, 2, pad_token_id=0).token_ids


def test_the_end_of_learned_positions_is_said():
    model = make_model("gpt2", F32)
    with pytest.raises(vw.VisitError, match="reads at most 16"):
        vw.generate(model, None, IDS, 30, pad_token_id=0)


def test_positions_that_stretch_are_taken_pass_by_pass():
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    old = int(transformers.__version__.partition(".")[0]) < 5
    named = {"rope_scaling" if old else "rope_parameters": rope}
    model = make_model("llama", max_position_embeddings=8, **named)
    with float64_throughout():
        said = vw.generate(model, None, IDS, 8, do_sample=False, pad_token_id=0)
        assert said.token_ids == own(model, IDS, max_new_tokens=8, do_sample=False, pad_token_id=0)
        assert any("with its cache" in note for note in said.notes)
        assert off_by(said.traces[7], full(said, 7)) < 1e-9


def test_a_cache_that_gives_something_else_is_noticed(monkeypatch):
    update = DynamicLayer.update

    def other(self: Any, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        return update(self, key * (1.01 if key.shape[-2] == 1 else 1), value, *args, **kwargs)

    monkeypatch.setattr(DynamicLayer, "update", other)
    model = tiny("llama")
    with float64_throughout():
        said = vw.generate(model, None, IDS, 5, do_sample=False, pad_token_id=0)
        assert said.token_ids == own(model, IDS, max_new_tokens=5, do_sample=False, pad_token_id=0)
        assert any("with its cache" in note for note in said.notes)
        assert not said.traces[4].in_steps
        assert off_by(said.traces[4], full(said, 4)) < 1e-9


def test_what_is_kept_elsewhere_is_the_same():
    model = tiny("qwen3", F32)
    said = vw.generate(model, None, IDS, 70 - len(IDS) - 10, keep_on="cpu", pad_token_id=0)
    assert said.traces[-1].keep_on == "cpu"
    assert off_by(said.traces[-1], full(said, len(said) - 1)) < 1e-5


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_all_that_a_trace_tells_is_told_of_a_step(family):
    model = tiny(family)
    with float64_throughout():
        said = vw.generate(model, None, IDS, 5, do_sample=True, seed=1, pad_token_id=0)
        step, trace = said.traces[3], full(said, 3)
        target = said.token_ids[3]
        ours, theirs = (t.effects("heads", target=target) for t in (step, trace))
        assert [e.measured for e in ours.values()] == pytest.approx(
            [e.measured for e in theirs.values()], abs=1e-9
        )
        assert [e.predicted for e in ours.values()] == pytest.approx(
            [e.predicted for e in theirs.values()], abs=1e-9
        )
        for by in ("component", "head", "neuron"):
            mine, other = (t.logit_parts(target, position=-2, by=by) for t in (step, trace))
            assert mine == pytest.approx(other, abs=1e-9)
        for position in (2, -1):
            a, b = (t.query_directions(1, position) for t in (step, trace))
            assert torch.allclose(a, b, atol=1e-9)
        # A query sees the token before it in every layer, windows or not.
        parts = [
            float(t.score_parts(2, 1, len(IDS), len(IDS) + 1).matrix.sum()) for t in (step, trace)
        ]
        assert parts[0] == pytest.approx(parts[1], abs=1e-9)


def test_a_step_is_saved_pickled_and_copied(tmp_path):
    model = tiny("llama", F32)
    said = vw.generate(model, None, IDS, 6, do_sample=True, seed=1, pad_token_id=0)
    trace = said.traces[3]
    saved = vw.load_trace(trace.save(tmp_path / "step.safetensors"), model)
    assert (tmp_path / "step.safetensors").stat().st_size < 1.5 * _saved(full(said, 3), tmp_path)
    for made in (saved, copy.deepcopy(trace), pickle.loads(pickle.dumps(trace))):
        assert (made.next_token, made.in_steps) == (said.token_ids[3], True)
        assert off_by(made, trace) == 0
        assert made.audit().exact
    again = pickle.loads(pickle.dumps(said))
    assert off_by(again.traces[3], trace) == 0
    assert again.steps == said.steps


def _saved(trace: vw.Trace, folder: Any) -> int:
    return int(trace.save(folder / "full.safetensors").stat().st_size)
