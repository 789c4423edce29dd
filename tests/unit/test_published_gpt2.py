"""Ours against the numbers that the authors of VISIT published, where GPT-2's weights are at hand.

The comparison itself is tested on the demo model, with errors planted.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import visit_widget as vw
from tests.published_graph import (
    Said,
    differences,
    norms,
    ours,
    read_graph,
    read_norms,
    wrong_widths,
)

FIXTURE = Path(__file__).parents[1] / "fixtures" / "published-visit-gpt2-japan.json"
PUBLISHED = json.loads(FIXTURE.read_text("utf-8"))
NAMES = {"GPT2-small": "gpt2", "GPT2-medium": "gpt2-medium"}


def gpt2(name):
    """The model and its tokenizer from the local cache of the hub; skips where they are not."""
    from huggingface_hub import try_to_load_from_cache
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for repository in (name, f"openai-community/{name}"):
        if isinstance(try_to_load_from_cache(repository, "config.json"), str):
            return (
                AutoModelForCausalLM.from_pretrained(repository, local_files_only=True).eval(),
                AutoTokenizer.from_pretrained(repository, local_files_only=True),
            )
    pytest.skip(f"{name} is not in the local cache of the Hugging Face hub: download it once.")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_node_says_what_was_published(name):
    model, tokenizer = gpt2(NAMES[name])
    trace = vw.trace(model, tokenizer, PUBLISHED["prompt"])
    target = trace.token(PUBLISHED["target"])
    found, count = [], 0
    for layer, graph in PUBLISHED["graphs"][name].items():
        theirs = read_graph(graph)
        mine = ours(trace, int(layer), list(theirs), target)
        count += len(theirs)
        off = differences(theirs, mine)
        off += wrong_widths(read_norms(graph), norms(trace, int(layer)))
        found += [f"layer {layer}: {words}" for words in off]
    # Labels of near ties may fall otherwise; nothing else may.
    assert len(found) <= 0.01 * count, "\n".join(found[:40])


def test_every_published_node_is_read_but_queries_the_hub_and_the_first_bias():
    for name, n_heads in (("GPT2-small", 12), ("GPT2-medium", 16)):
        for graph in PUBLISHED["graphs"][name].values():
            # Queries, one a head; the hub of q, k and v; the bias of the first MLP layer.
            assert len(graph["nodes"]) - len(read_graph(graph)) == n_heads + 2
            assert set(read_norms(graph)) == {"pre", "ln1", "attn", "mid", "mlp"}


def test_a_node_is_read_as_it_was_written():
    said = read_graph(PUBLISHED["graphs"]["GPT2-small"]["5"])
    assert said["attn"].top[0] == " Cathedral"
    assert (said["attn"].percent, said["attn"].rank) == (0.001, 992)
    assert said["H0.V0"] == Said(
        [" paraph", " peaked", " claims", " translation", " translating"], 0.005, 833
    )
    assert {"N1308", "N1308.key", "O651", "attn.bias", "mlp.bias"} <= set(said)


LAYER = 23


@pytest.fixture(scope="module")
def graph(demo):
    """A layer of the demo model, written down as theirs are, and the trace."""
    model, tokenizer = demo
    trace = vw.trace(model, tokenizer, PUBLISHED["prompt"])
    target = trace.token(" Tokyo")
    names = {
        "attn_residual": "pre", "attn_input": "ln1", "attn_out": "attn",
        "attn_out+residual": "mid", "mlp_input": "ln2", "mlp_out": "mlp",
        "residual+mlp_out": "post", "head 4: output": "H4",
        'head 4: key 3 [created from " Japan"]': "H4.K3",
        'head 4: value 3 [created from " Japan"]': "H4.V3",
        "value index:300 (from head 4), activision:-0.1: ": "O300", "key919": "N919.key",
        "value919": "N919", "concated_heads (without projection)": "heads",
    }  # fmt: skip
    mine = ours(trace, LAYER, list(names.values()), target)
    nodes = []
    for name, i in names.items():
        told = f"prob:{round(mine[i].percent, 3)}%, rank: {mine[i].rank}"
        hover = f'{LAYER}) {name}: {mine[i].top} [status: " Tokyo": {told})]'
        nodes.append([mine[i].top[0], hover])
    lengths = norms(trace, LAYER)
    places = {i: n for n, i in enumerate(names.values())}
    edges = [[places[i], 0, 1, f"norm: {round(x, 3)}"] for i, x in lengths.items()]
    return {"nodes": nodes, "edges": edges}, mine, lengths


@pytest.mark.demo
def test_what_agrees_is_not_reported(graph):
    written, mine, lengths = graph
    theirs = read_graph(written)
    assert set(theirs) == set(mine)
    assert differences(theirs, mine) == []
    assert wrong_widths(read_norms(written), lengths) == []


@pytest.mark.demo
@pytest.mark.parametrize("name", ["pre", "H4", "H4.V3", "O300", "N919", "N919.key"])
def test_planted_errors_are_reported(graph, name):
    written, mine, _ = graph
    theirs, other = read_graph(written), mine["mlp"]
    said = mine[name]
    planted = {
        "labelled": replace(said, top=[*said.top[1:3], said.top[0], *said.top[3:]]),
        "top five": replace(said, top=[*said.top[:3], *other.top[:2]]),
        " %": replace(said, percent=said.percent * 1.05 + 0.01),
        "ranks": replace(said, rank=round(said.rank * 1.05) + 3),
    }
    for words, wrong in planted.items():
        found = differences(theirs, {**mine, name: wrong})
        assert len(found) == 1, (words, found)
        assert found[0].startswith(name)
        assert words in found[0]
    missing = {k: v for k, v in mine.items() if k != name}
    assert differences(theirs, missing) == [f"{name} is missing"]


@pytest.mark.demo
def test_swapped_parts_are_reported(graph):
    """A head in the place of another vector, a neuron's key in that of its value."""
    written, mine, lengths = graph
    theirs = read_graph(written)
    swapped = {**mine, "N919": mine["N919.key"], "H4": mine["heads"]}
    assert {words.split(" ")[0] for words in differences(theirs, swapped)} == {"N919", "H4"}
    (found,) = wrong_widths(read_norms(written), {**lengths, "attn": lengths["attn"] * 1.01})
    assert found.startswith("attn is")
