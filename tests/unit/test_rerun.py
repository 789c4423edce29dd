"""A pass run again with parts edited, against plain hooks on the model's own modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import visit_widget as vw
from tests.tiny import FAMILIES, PROMPT_IDS, blocks_of, float64_throughout, make_model

OTHER_IDS = [9, 17, 30, 5, 2, 60, 1]
LAST = len(PROMPT_IDS) - 1


def first(value: Any) -> Tensor:
    tensor: Tensor = value[0] if isinstance(value, (tuple, list)) else value
    return tensor


def instead(value: Any, new: Tensor) -> Any:
    return (new, *value[1:]) if isinstance(value, tuple) else new


@contextmanager
def given(module: nn.Module, change: Callable[[Tensor], None]) -> Iterator[None]:
    """What the module is given is changed in place, in a copy."""

    def hook(_: nn.Module, args: Any) -> Any:
        x = args[0].clone()
        change(x)
        return (x, *args[1:])

    handle = module.register_forward_pre_hook(hook)
    yield
    handle.remove()


@contextmanager
def gives(module: nn.Module, change: Callable[[Tensor], None]) -> Iterator[None]:
    def hook(_m: nn.Module, _a: Any, out: Any) -> Any:
        x = first(out).clone()
        change(x)
        return instead(out, x)

    handle = module.register_forward_hook(hook)
    yield
    handle.remove()


def logits(model: Any, ids: list[int] = PROMPT_IDS) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
    return found


def close(ours: Tensor, theirs: Tensor, within: float = 1e-9) -> None:
    assert float((ours - theirs).norm()) <= within * float(theirs.norm())


def rows_of(positions: Any) -> Any:
    return slice(None) if positions == "all" else [LAST] if positions == "focus" else positions


POSITIONS = ("focus", "all", [1, 4])


@pytest.mark.parametrize("positions", POSITIONS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_slices_of_what_modules_read(family, positions, seed):
    with float64_throughout():
        model = make_model(family, torch.float64, seed=seed)
        trace, rows = vw.trace(model, None, PROMPT_IDS), rows_of(positions)
        plain, block = logits(model), blocks_of(model)[0]
        width = trace.attention_record(0).value.shape[-1]

        def head(x: Tensor) -> None:
            x[:, rows, width : 2 * width] *= 0

        def row(x: Tensor) -> None:
            x[:, rows, width + 1] *= -2

        def neuron(x: Tensor) -> None:
            x[:, rows, 5] *= 3

        for name, action, module, change in (
            ("L0.H1", "zero", block.out, head),
            (f"L0.O{width + 1}", -2.0, block.out, row),
            ("L0.N5", 3, block.down, neuron),
        ):
            with given(module, change):
                theirs = logits(model)
            ours = trace.rerun({name: action}, positions)
            close(ours.record.logits, theirs)
            assert float((theirs - plain).norm()) > 1e-6
        with given(block.out, head), given(block.down, neuron):
            theirs = logits(model)
        close(trace.rerun({"L0.H1": "zero", "L0.N5": 3.0}, positions).record.logits, theirs)
        assert torch.equal(logits(model), plain), "the model is left as it was"


@pytest.mark.parametrize("positions", POSITIONS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_sublayers_give_and_the_stream(family, positions):
    random = torch.Generator().manual_seed(4)
    with float64_throughout():
        model = make_model(family, torch.float64)
        trace, rows = vw.trace(model, None, PROMPT_IDS), rows_of(positions)
        block = blocks_of(model)[1]
        vector = torch.randn(trace.d_model, generator=random, dtype=torch.float64)

        def zero(x: Tensor) -> None:
            x[:, rows] *= 0

        def put(x: Tensor) -> None:
            x[:, rows] = vector

        def half(x: Tensor) -> None:
            x[:, rows] *= 0.5

        cases = (
            ("L1.attn", "zero", block.after_attention or block.attention, zero),
            ("L1.attn", vector, block.after_attention or block.attention, put),
            ("L1.mlp", 0.5, block.after_mlp or block.mlp, half),
            ("L1.post", vector, block.block, put),
            ("L2.pre", 0.5, block.block, half),
            ("L2.post", "zero", blocks_of(model)[-1].block, zero),
        )
        for name, action, module, change in cases:
            if name.startswith("L2.post") and trace.n_layers == 2:
                continue
            if name == "L2.pre" and trace.n_layers == 2:
                continue
            with gives(module, change):
                theirs = logits(model)
            close(trace.rerun({name: action}, positions).record.logits, theirs)
        with given(blocks_of(model)[0].block, half):
            theirs = logits(model)
        close(trace.rerun({"embed": 0.5}, positions).record.logits, theirs)
        close(trace.rerun({"L0.pre": 0.5}, positions).record.logits, theirs)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "phi"])
def test_the_stream_between_the_sublayers(family):
    random = torch.Generator().manual_seed(4)
    with float64_throughout():
        model = make_model(family, torch.float64)
        trace = vw.trace(model, None, PROMPT_IDS)
        block = blocks_of(model)[1]
        vector = torch.randn(trace.d_model, generator=random, dtype=torch.float64)
        mid = trace.residual(1, "mid")

        def moved(x: Tensor) -> None:
            x[:, 4] += vector - mid[4]

        with gives(block.after_attention or block.attention, moved):
            theirs = logits(model)
        ours = trace.rerun({"L1.mid": vector}, [4])
        close(ours.record.logits, theirs)
        close(ours.residual(1, "mid")[4], vector)


@contextmanager
def looking(model: Any, layer: int, change: Callable[..., Tensor]) -> Iterator[None]:
    """One layer's attention by code of this test's own."""
    module = blocks_of(model)[layer].attention
    own = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def attend(m: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Any, **options: Any) -> Any:
        if m is not module:
            return own(m, q, k, v, mask, **options)
        shared = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
        scores = q @ k.mT * (options.get("scaling") or q.shape[-1] ** -0.5)
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        return change(q, k, v, scores.masked_fill(~seen, float("-inf"))).transpose(1, 2), None

    ALL_ATTENTION_FUNCTIONS["sdpa"] = attend
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = own


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "phi"])
@pytest.mark.parametrize("positions", POSITIONS, ids=str)
def test_what_heads_look_for_and_at(family, positions):
    random = torch.Generator().manual_seed(5)
    with float64_throughout():
        model = make_model(family, torch.float64, "sdpa")
        trace, rows = vw.trace(model, None, PROMPT_IDS), rows_of(positions)
        n_heads, n_kv = (t.shape[0] for t in (
            trace.attention_record(1).query, trace.attention_record(1).key,
        ))  # fmt: skip
        shared, width = n_heads // n_kv, trace.attention_record(1).query.shape[-1]
        vector = torch.randn(width, generator=random, dtype=torch.float64)
        inside = torch.zeros(len(PROMPT_IDS), dtype=torch.bool)
        inside[rows] = True

        def other(name: str) -> Callable[..., Tensor]:
            def change(q: Tensor, k: Tensor, v: Tensor, scores: Tensor) -> Tensor:
                weights = scores.softmax(-1)
                mixed = weights @ v
                heads, source = [1], 2
                hidden = scores == float("-inf")
                scale = scores[0, 1, -1, 0] / (q[0, 1, -1] @ k[0, 1, 0])
                q, k, v = q.clone(), k.clone(), v.clone()
                if name == "query":
                    q[:, 1] = vector
                elif name == "key":
                    k[:, 1, source] *= 0
                elif name == "shared key":
                    heads = list(range(shared))
                    k[:, :shared, source] *= -1
                elif name == "shared value":
                    heads = list(range(shared))
                    v[:, :shared, source] *= 2
                scores = (q @ k.mT * scale).masked_fill(hidden, float("-inf"))
                if name == "weight":
                    scores[:, 1, :, source] = float("-inf")
                new = scores.softmax(-1) @ v
                if name == "part":
                    new = mixed - 0.5 * weights[..., source, None] * v[:, :, source, None]
                for head in heads:
                    mixed[:, head, inside] = new[:, head, inside]
                return mixed

            return change

        for name, node, action in (
            ("query", "L1.H1.Q", vector), ("key", "L1.H1.K2", "zero"),
            ("shared key", "L1.KV0.K2", -1), ("shared value", "L1.KV0.V2", 2.0),
            ("weight", "L1.H1.A2", "zero"), ("part", "L1.H1.V2", 0.5),
        ):  # fmt: skip
            with looking(model, 1, other(name)):
                theirs = logits(model)
            close(trace.rerun({node: action}, positions).record.logits, theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_patching(family):
    with float64_throughout():
        model = make_model(family, torch.float64)
        ours, other = (vw.trace(model, None, ids) for ids in (PROMPT_IDS, OTHER_IDS))
        whole = ours.rerun({"L1.pre": other}, "all")
        close(whole.record.logits, other.record.logits)
        # All that two layers write at the focus is the other's stream there.
        stream = ours.rerun({"L1.post": other}, "focus")
        close(stream.residual(1)[-1], other.residual(1)[-1])
        head = ours.rerun({"L1.H0": other}, "all")
        close(*(t.attention_row(1).mixed[0] for t in (head, other)))
        mean = ours.rerun({"L1.N3": "mean"}, "all").neurons(1)[3]
        theirs = torch.stack([ours.neurons(1, p)[3] for p in range(len(ours))]).mean()
        assert abs(float(mean - theirs)) < 1e-9


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("freeze", [("norms",), ("attention",), ("norms", "attention")])
def test_nothing_changes_where_everything_is_held_and_nothing_edited(family, freeze):
    with float64_throughout():
        model = make_model(family, torch.float64)
        trace = vw.trace(model, None, PROMPT_IDS)
        close(trace.rerun({}, freeze=freeze).record.logits, trace.record.logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_with_norms_held_the_last_layer_adds_what_its_nodes_say(family):
    with float64_throughout():
        model = make_model(family, torch.float64)
        trace = vw.trace(model, None, PROMPT_IDS)
        layer = trace.n_layers - 1
        parts = trace.logit_parts(7, by="neuron")
        without = trace.rerun({f"L{layer}.N4": "zero"}, freeze=("norms",))
        fallen = float(trace.logits()[7]) - float(without.record.logits[7])
        if trace.anatomy.softcap is None:
            assert abs(fallen - parts[f"L{layer}.N4"]) < 1e-9 * max(1, abs(fallen))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "action"),
    [("L0.H1", "zero"), ("L0.attn", "zero"), ("L0.post", 0.5), ("L0.H1.V5", "zero"),
     ("L0.H1.A5", "zero"), ("L0.H1.Q", 2.0), ("L0.N3", "zero"), ("L0.mlp", 0.0)],
)  # fmt: skip
def test_the_graph_of_a_rerun_is_whole(family, name, action):
    """Shares into every node sum to 1, and logits to the logit of the edited pass."""
    with float64_throughout():
        model = make_model(family, torch.float64)
        trace = vw.trace(model, None, PROMPT_IDS)
        again = trace.rerun({name: action})
        graph = again.flow(layers=list(range(again.n_layers)), target=7, lens="logit")
        into: dict[str, list[Any]] = {}
        for edge in graph.edges:
            if edge.logit is not None:
                into.setdefault(edge.target, []).append(edge)
        nodes = {node.id: node for node in graph.nodes}
        for target, edges in into.items():
            logit, most = nodes[target].logit, max(abs(e.logit) for e in edges)
            assert abs(sum(e.logit for e in edges) - logit) < 1e-9 * max(1, most), target
        if trace.anatomy.softcap is None:
            assert abs(nodes["logits"].logit - float(again.record.logits[7])) < 1e-9
        # What was edited is drawn as it is after the edit, or the edit is a part by its side.
        edited = [n for n in graph.nodes if n.kind == "edit"]
        assert edited or name == "L0.N3" or name.startswith("L0.mlp")
