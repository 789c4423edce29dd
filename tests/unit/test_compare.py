"""Two passes side by side: values are the traces' own, and what is equal differs by nothing."""

from __future__ import annotations

import json

import pytest
import torch

import visit_widget as vw
from tests.families.configs import PROMPT, build
from tests.tiny import (
    FAMILIES,
    N_VOCAB,
    PROMPT_IDS,
    float64_throughout,
    look,
    make_model,
    make_speaker,
    tokenizer,
)  # fmt: skip
from visit_widget.flow.elements import MEASURES

# One token replaced; two more; one less.
OTHERS = ([3, 17, 9, 5, 17, 60, 0], [3, 17, 9, 8, 5, 17, 11, 60, 0], [3, 42, 5, 17, 60, 0])
LONGER = OTHERS[1]


def trace(model, ids=PROMPT_IDS):
    return vw.trace(model, None, ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_prompts_differ_by_nothing(family):
    model = make_model(family, torch.float32, seed=3)
    found = vw.compare(trace(model), trace(model), layers=range(2), measure="effect", target=5)
    assert found.alignment.start == len(PROMPT_IDS)
    assert found.parting is None
    for pair in (*found.nodes.values(), *found.edges.values()):
        assert pair.alone is None
        for measure in MEASURES:
            assert pair.values(measure).difference in (0.0, None)
    assert all(c.change == 0 for c in found.changed("heads"))
    assert all(c.change == 0 and c.logit == 0 for c in found.changed("neurons", positions="all"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("other", OTHERS, ids=["same length", "longer", "shorter"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "phi"])
def test_values_are_those_of_each_trace_by_itself(family, other, dtype):
    """Of graphs that each trace draws alone, with everything kept."""
    model = make_model(family, dtype, seed=1)
    a, b = trace(model), trace(model, other)
    keep, asked = vw.Keep.everything(), {"target": 7, "foil": 11, "measure": "effect"}
    found = vw.compare(a, b, layers=[1], keep=keep, **asked)
    alone = [t.flow(layers=[1], keep=keep, **asked) for t in (a, b)]
    sides = [{n.id: n for n in graph.nodes} for graph in alone]
    seen = [0, 0]
    for name, pair in found.nodes.items():
        for k, node in enumerate((pair.a, pair.b)):
            if node is not None:
                assert node == sides[k][node.id]
                seen[k] += 1
        if pair.a is not None and pair.b is not None:
            for measure in ("logit", "norm", "effect"):
                here, there, difference = pair.values(measure)
                assert (here, there) == (getattr(pair.a, measure), getattr(pair.b, measure))
                assert difference is None if here is None else difference == here - there
            if pair.a.source is not None and ".Q" not in name:
                assert found.alignment.b_of[pair.a.source] == pair.b.source
                assert name == pair.a.id
        elif pair.alone == "b":
            assert "b" in name.rpartition(".")[2] or "rest" in name or "rounding" in name
    assert seen == [len(side) for side in sides]
    for measure in ("share", "logit", "effect"):
        for whole in ("L1.attn", "L1.mlp", "L1.post", "logits"):
            every = [e.values(measure) for (_, t), e in found.edges.items() if t == whole]
            parts = [p for p in every if p.difference is not None]
            assert measure == "share" or len(parts) == len(every)
            total = sum(p.difference for p in parts)
            size = sum(abs(p.a or 0) + abs(p.b or 0) for p in parts)
            own = 0.0 if measure == "share" else found.nodes[whole].values(measure).difference
            assert abs(total - own) < 1e-5 * (size + 1), (measure, whole)


@pytest.mark.parametrize(("family", "seed"), [("gpt2", 3), ("llama", 7), ("qwen3", 3)])
def test_what_is_followed_is_the_difference_of_the_answers(family, seed):
    """Against logits of plain passes."""
    with float64_throughout():
        model = make_model(family, torch.float64, seed=seed)
        own = [look(model, ids).logits[-1].double() for ids in (PROMPT_IDS, OTHERS[0])]
        found = vw.compare(trace(model), trace(model, OTHERS[0]))
    first, second = (int(x.argmax()) for x in own)
    assert first != second
    for graph in (found.a, found.b):
        assert (graph.target["id"], graph.foil["id"]) == (first, second)
    for value, logits in zip(found.logit[:2], own, strict=True):
        assert abs(value - float(logits[first] - logits[second])) < 1e-9
    alone = vw.compare(trace(model), trace(model, OTHERS[0]), target=4)
    assert alone.a.foil is None


@pytest.mark.parametrize("measure", ["logit", "share", "norm"])
def test_what_one_graph_keeps_both_have(measure):
    model = make_model("llama", torch.float64, seed=5)
    keep = vw.Keep(heads=1, memories=1, neurons=2, rows=2)
    a, b = trace(model), trace(model, LONGER)
    asked = {"target": 7, "measure": measure, "keep": keep, "layers": [0, 2]}
    found = vw.compare(a, b, **asked)
    for own, ids in ((a, {n.id for n in found.a.nodes}), (b, {n.id for n in found.b.nodes})):
        assert {n.id for n in own.flow(**asked).nodes if n.kind != "rest"} <= ids
    # Whatever is in one is in the other, where there is such a token.
    for pair in found.nodes.values():
        if pair.alone == "a" and pair.node.source is not None:
            assert pair.node.source in found.alignment.alone_a
        if pair.alone == "b" and pair.node.source is not None:
            assert pair.node.source in found.alignment.alone_b
    # A painter's own graphs are as before.
    assert a.flow(**asked) == trace(model).flow(**asked)


def test_the_strongest_are_those_with_the_largest_difference():
    model = make_model("gpt2", torch.float64, seed=1)
    found = vw.compare(trace(model), trace(model, OTHERS[0]), layers=[0, 1, 2])
    heads = found.strongest(100, kind="head")
    every = {p.id: abs(p.values("logit").difference) for p in found.nodes.values()
             if p.kind == "head"}  # fmt: skip
    assert [p.id for p, _ in heads] == sorted(every, key=lambda i: -every[i])
    assert all(v.difference < 0 for _, v in found.strongest(5, sign=-1))
    nodes, edges = found.to_pandas()
    table = nodes.set_index("id")
    for pair, values in heads:
        assert table.loc[pair.id, "logit_difference"] == values.difference
        assert table.loc[pair.id, "logit_a"] - table.loc[pair.id, "logit_b"] == values.difference
    assert len(edges) == len(found.edges)
    with pytest.raises(vw.VisitError, match='measure="effect"'):
        found.strongest(measure="effect")


def test_it_goes_through_json():
    model = make_speaker("llama", torch.float32)
    a, b = (vw.trace(model, tokenizer(), t) for t in ("the cat sat on", "the old cat sat on the"))
    found = vw.compare(a, b, layers=[1])
    again = vw.Comparison.from_json(found.to_json())
    assert again.to_dict() == json.loads(found.to_json()) == found.to_dict()
    assert again.nodes == found.nodes
    assert again.edges == found.edges
    assert repr(again) == repr(found)
    assert again.parting == found.parting
    with pytest.raises(vw.VisitError, match="read from a file"):
        again.changed()
    for wrong in ("{}", "[1]", "nothing", '{"version": 9}'):
        with pytest.raises(vw.VisitError):
            vw.Comparison.from_json(wrong)


def test_they_part_where_the_readings_part_for_good():
    model = make_model("llama", torch.float64, seed=7)
    found = vw.compare(trace(model), trace(model, OTHERS[0]))
    assert found.parting is not None
    lens = vw.LogitLens(model)
    own = []
    for one in (trace(model), trace(model, OTHERS[0])):
        streams = [one.residual(0, "pre")[-1]]
        for layer in range(3):
            streams += [one.residual(layer, "mid")[-1], one.residual(layer)[-1]]
        own.append([int(lens.readout.logits(s).argmax()) for s in streams])
    names = ["embed", *[f"L{n}.{at}" for n in range(3) for at in ("mid", "post")]]
    last_same = max((n for n, (x, y) in enumerate(zip(*own, strict=True)) if x == y), default=-1)
    assert found.parting == names[last_same + 1]


@pytest.mark.parametrize("kind", ["heads", "neurons", "attention", "mlps"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "olmo2"])
def test_what_changed_is_what_plain_passes_write(family, kind):
    """Two models, by hooks that know the family's names."""
    with float64_throughout():
        model, tuned = (make_model(family, torch.float64, seed=s) for s in (0, 0))
        with torch.no_grad():
            generator = torch.Generator().manual_seed(9)
            for parameter in tuned.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter += 0.02 * noise
        found = vw.compare(trace(model), trace(tuned), target=3)
        rows = found.changed(kind, by="change")
        seen = [look(m, PROMPT_IDS) for m in (model, tuned)]
        own = found.changed(kind, positions="all")
    assert [r.change for r in rows] == sorted((r.change for r in rows), reverse=True)
    assert any(r.relative > 0.01 for r in rows)
    if kind in ("attention", "mlps"):
        name = "attention" if kind == "attention" else "mlp"
        places = [getattr(s, name) for s in seen]
        for row in rows:
            a, b = (p[row.layer][-1] for p in places)
            if family == "olmo2":  # the norm after the sublayer is what the hook does not see
                continue
            assert abs(row.change - float((b - a).norm())) < 1e-8
            assert abs(row.cosine - float(torch.cosine_similarity(a, b, 0))) < 1e-9
            assert abs(row.relative - row.change / max(float(a.norm()), float(b.norm()))) < 1e-9
        for row in own:
            a, b = (p[row.layer] for p in places)
            if family != "olmo2":
                assert abs(row.change - float((b - a).norm())) < 1e-8
    else:
        # A part's own vector, and its logit, as the graph of each has it.
        keep = vw.Keep.everything()
        opened = vw.compare(trace(model), trace(tuned), target=3, layers=[1], keep=keep)
        for row in (r for r in rows if r.layer == 1):
            pair = opened.nodes[row.id]
            assert abs(row.norm_a - pair.a.norm) + abs(row.norm_b - pair.b.norm) < 1e-5
            assert abs(row.logit - pair.values("logit").difference) < 1e-5
    frame = rows.to_pandas()
    assert list(frame.index) == [r.id for r in rows]


@pytest.mark.parametrize("family", ["mixtral", "deepseek_v3", "bloom", "bamba", "falcon", "gptj"])
def test_families_of_every_make(family):
    model = build(family).float().eval()
    other = [*PROMPT[:3], PROMPT[5], PROMPT[4], *PROMPT[3:]]
    a, b = vw.trace(model, None, PROMPT), vw.trace(model, None, other)
    found = vw.compare(a, b, layers=[0, a.n_layers - 1], target=3, foil=8)
    for value, one in zip(found.logit[:2], (a, b), strict=True):
        assert abs(value - float(one.logits()[3] - one.logits()[8])) < 1e-3
    assert len(found.changed("neurons")) > 0
    # An expert that the router chose for one of the two is in that one alone.
    for pair in found.nodes.values():
        if pair.alone and pair.kind == "neuron":
            assert family in ("mixtral", "deepseek_v3")


def test_another_place_than_the_end():
    model = make_model("llama", torch.float64)
    found = vw.compare(trace(model), trace(model, LONGER), position=4)
    assert (found.a.position, found.b.position) == (4, 5)
    found = vw.compare(trace(model), trace(model, LONGER), position=(4, 2))
    assert (found.a.position, found.b.position) == (4, 2)
    with pytest.raises(vw.VisitError, match="no partner in the other prompt"):
        vw.compare(trace(model, LONGER), trace(model), position=2)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"measure": "linear"}, "is not known"),
        ({"position": (1, 2, 3)}, "no place in two prompts"),
        ({"position": 99}, "outside the prompt"),
        ({"pairs": [(5, 5), (1, 1)]}, "left to right"),
        ({"target": N_VOCAB}, "outside the model's vocabulary"),
    ],
)
def test_what_means_nothing_is_said_so(asked, sentence):
    model = make_model("gpt2")
    with pytest.raises(vw.VisitError, match=sentence):
        vw.compare(trace(model), trace(model), **asked)


def test_what_cannot_be_compared():
    here = trace(make_model("llama"))
    with pytest.raises(vw.VisitError, match="another make"):
        vw.compare(here, trace(make_model("qwen3")))
    with pytest.raises(vw.VisitError, match="not FlowGraph"):
        vw.compare(here, here.flow())
    for asked, sentence in (
        ({"kind": "layers"}, "use 'heads'"), ({"by": "size"}, "use 'change'"),
        ({"positions": "some"}, "says nowhere"), ({"layer": 9}, "does not exist"),
    ):  # fmt: skip
        with pytest.raises(vw.VisitError, match=sentence):
            vw.compare(here, here).changed(**asked)
