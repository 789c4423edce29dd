"""The linear reading, against the model run again with everything nonlinear in it held by hooks.

Attention patterns and the scale of norms are held as `tests.frozen` does; neurons follow their
inputs by their secants, each branch of a gated MLP by half. What is left of the model is linear in
embeddings and constants together: doubling all of them doubles a logit, and doubling one adds what
routes say of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import visit_widget as vw
from tests.frozen import Change, Frozen, Pass, _hooked
from tests.tiny import PROMPT_IDS, float64_throughout, make_model
from tests.unit.test_routes_intervention import EVERYTHING, FAMILIES, FOIL, TARGET, exactly
from tests.unit.test_routes_intervention import doubled as doubled_of_old
from visit_widget.flow import FlowGraph, Node
from visit_widget.trace import linear_reading
from visit_widget.trace.held import Held
from visit_widget.trace.linear_reading import LinearMlp


class Linear(Frozen):
    """As `Frozen`, with neurons that follow what they read by their secants."""

    def run(self, changes: Any, hold_attention: bool = False) -> Pass:
        with ExitStack() as stack:
            for block in self.blocks:
                # In the place of what `Frozen` holds there.
                stack.enter_context(self._following(block.mlp, block.down))
            return super().run(changes, hold_attention)

    @contextmanager
    def _following(self, mlp: nn.Module, down: nn.Module) -> Iterator[None]:
        clean, now = self.clean, dict[str, Tensor]()

        def note(name: str) -> Callable[[Tensor, Tensor], Tensor]:
            def kept(_: Tensor, y: Tensor) -> Tensor:
                now[name] = y
                return y

            return kept

        with ExitStack() as stack:
            if hasattr(mlp, "gate_proj"):
                gate, up = clean.out_of[mlp.gate_proj], clean.out_of[mlp.up_proj]
                acted = clean.out_of[mlp.act_fn]
                stack.enter_context(_hooked(mlp.gate_proj, after=note("gate")))
                stack.enter_context(_hooked(mlp.up_proj, after=note("up")))

                def follow() -> Tensor:
                    return (acted / gate * up * now["gate"] + acted * now["up"]) / 2
            else:
                first, act = (
                    (mlp.c_fc, mlp.act) if hasattr(mlp, "c_fc") else (mlp.fc1, mlp.activation_fn)
                )
                secant = clean.out_of[act] / clean.out_of[first]
                stack.enter_context(_hooked(first, after=note("z")))

                def follow() -> Tensor:
                    return secant * now["z"]

            usual = down.forward
            down.forward = lambda _: usual(follow())  # type: ignore[method-assign]
            stack.callback(down.__dict__.pop, "forward")
            yield


@cache
def made(family: str, seed: int = 0) -> tuple[Linear, vw.Trace]:
    with float64_throughout():
        model = make_model(family, seed=seed)
        return Linear(model, PROMPT_IDS), vw.trace(model, None, PROMPT_IDS)


DRAWS = [*((family, 0) for family in FAMILIES), ("gpt2", 1), ("llama", 1), ("gemma2", 1)]


@pytest.fixture(params=DRAWS, ids=lambda p: f"{p[0]}-{p[1]}")
def both(request):
    with float64_throughout():
        yield made(*request.param)


@pytest.fixture(params=[(-1, FOIL), (4, None)], ids=["last", "within"])
def graph(request, both):
    position, foil = request.param
    return both[1].routes(position, TARGET, foil, measure="linear", keep=EVERYTHING)


def logit_changes(linear: Linear, graph: FlowGraph, changes: list[Change]) -> list[float]:
    found: list[float] = []
    for start in range(0, len(changes), 100):
        seen = linear.run(changes[start : start + 100])
        changed = linear.changed(seen, "out_of", linear.head)[:, graph.position]
        foil = 0 if graph.foil is None else changed[:, graph.foil["id"]]
        found += (changed[:, graph.target["id"]] - foil).tolist()
    return found


def mlp_constant(linear: Linear, layer: int, position: int) -> Tensor:
    """What the MLP writes without a stream: from a run in which it reads none."""
    block = linear.blocks[layer]
    # Phi's attention and MLP read one norm: the MLP alone is to read nothing.
    without = linear.clean.into[block.before_mlp or block.mlp][0, position]
    if block.before_mlp is block.before_attention is not None:
        bias = block.before_mlp.bias.detach()
        gone = linear.vector(
            "into", block.mlp, position, bias - linear.clean.into[block.mlp][0, position]
        )
    else:
        gone = linear.vector("into", block.before_mlp or block.mlp, position, -without)
    return linear.run([[gone]]).out_of[block.after_mlp or block.mlp][0, position]


def doubled(linear: Linear, node: Node) -> Change:
    block = None if node.layer is None else linear.blocks[node.layer]
    if node.id.endswith("mlp.bias"):
        constant = mlp_constant(linear, node.layer, node.position)
        return [linear.vector("out_of", block.after_mlp or block.mlp, node.position, constant)]
    return doubled_of_old(linear, node)


def test_a_clean_run_comes_out_as_it_did(both):
    linear, _ = both
    again = linear.logits(linear.run([[]]))
    assert torch.allclose(again, linear.logits(linear.clean), atol=1e-9)


def test_a_token_adds_what_doubling_its_embedding_adds(both, graph):
    linear, _ = both
    first = linear.blocks[0].block
    tokens = range(len(PROMPT_IDS))
    changes = logit_changes(linear, graph, [[linear.again("into", first, j)] for j in tokens])
    assert [t["value"] for t in graph.attribution["tokens"]] == exactly(changes)
    assert [t["direct"] for t in graph.attribution["tokens"]] == exactly(changes)
    assert all(map(bool, changes[: graph.position + 1]))


def test_every_node_doubled_adds_its_influence(both, graph):
    linear, _ = both
    nodes = [n for n in graph.nodes if n.id != "logits"]
    assert {n.kind for n in nodes} >= {"embed", "residual", "value", "mlp"}
    changes = logit_changes(linear, graph, [doubled(linear, n) for n in nodes])
    expected = dict(zip((n.id for n in nodes), changes, strict=True))
    assert {n.id: n.influence for n in nodes} == exactly(expected)
    assert {n.id: n.logit for n in nodes} == exactly(expected)


def test_embeddings_and_constants_doubled_together_double_the_logit(both, graph):
    """f(2x) = 2 f(x): the tokens and all constants make the whole logit."""
    linear, _ = both
    embed = [linear.again("into", linear.blocks[0].block, j) for j in range(len(PROMPT_IDS))]
    biases = [
        a for n in graph.nodes if n.kind == "bias" for a in doubled(linear, n)
    ]  # fmt: skip
    (change,) = logit_changes(linear, graph, [[*embed, *biases]])
    assert change == exactly(graph.attribution["total"])
    assert graph.attribution["opaque"] == graph.attribution["rest"] == 0


def test_pruned_routes_carry_what_is_kept_alone(both):
    """What is kept of a pruned walk sums, with the rest, to the logit; no way is counted twice."""
    _, trace = both
    full = trace.routes(-1, TARGET, FOIL, "linear", EVERYTHING)
    some = trace.routes(-1, TARGET, FOIL, "linear", vw.Keep(routes=vw.Limit(threshold=0.05)))
    assert len(some.nodes) < len(full.nodes)
    told = some.attribution
    total = sum(t["value"] for t in told["tokens"]) + told["bias"] + told["rest"]
    assert total == exactly(full.attribution["total"])
    assert told["rest"]


def test_an_mlp_that_cannot_be_held_ends_a_route(monkeypatch):
    with float64_throughout():
        _, trace = made("llama")
        monkeypatch.setattr(linear_reading.Held, "finished", lambda *_: 1 / 0)
        monkeypatch.setattr(linear_reading, "_FAILURES", (ZeroDivisionError,))
        graph = trace.routes(-1, TARGET, None, "linear", EVERYTHING)
    told = graph.attribution
    mlps = sum(n.influence for n in graph.nodes if n.kind == "mlp")
    assert told["opaque"] == exactly(mlps)
    assert sum(t["value"] for t in told["tokens"]) + told["bias"] + mlps == exactly(told["total"])


def test_what_is_not_linear_is_noticed(monkeypatch):
    """An operation that slips through is found out: the directions do not sum."""
    from visit_widget.trace import held

    with float64_throughout():
        _, trace = made("llama")
        monkeypatch.setattr(held, "_ONE_BY_ONE", frozenset())
        monkeypatch.setattr(held, "_PRODUCTS", frozenset())
        mlp = LinearMlp(trace, 1, [2, 5])
        assert mlp.pull_back(torch.ones_like(mlp.before)) is None


def test_block_graphs_know_no_linear_measure():
    _, trace = made("llama")
    with pytest.raises(vw.VisitError, match="'linear' is for routes alone"):
        trace.flow(measure="linear")
    with pytest.raises(vw.VisitError, match="or 'linear' for routes"):
        trace.routes(measure="straight")


def test_routes_say_their_numbers_in_logits():
    _, trace = made("llama")
    graph = trace.routes(measure="linear", keep=EVERYTHING)
    node = max((n for n in graph.nodes if n.kind == "mlp"), key=lambda n: abs(n.influence))
    assert f"carries {node.influence:+.2f}".replace("-", "−") in graph.explain(node.id)
    again = vw.FlowGraph.from_json(graph.to_json())
    assert again.measure == "linear"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_in_half_precision_it_sums_too(family, dtype):
    trace = vw.trace(make_model(family, dtype), None, PROMPT_IDS)
    told = trace.routes(measure="linear", keep=EVERYTHING).attribution
    ends = sum(told[name] for name in ("bias", "opaque", "rest", "rounding"))
    total = told["total"]
    small = torch.finfo(dtype).eps * abs(total)
    assert sum(t["value"] for t in told["tokens"]) + ends == pytest.approx(total, abs=small)
    assert abs(told["rounding"]) < 4 * small
    assert told["opaque"] == 0


# What is held, operation by operation.


def held(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The slopes of a function of numbers that is held at x, and its constants."""
    source, kept = x.clone().requires_grad_(), list[Any]()
    mode = Held(source, kept)
    with mode:
        out = function(source)
    out = mode.finished(out)
    (slope,) = torch.autograd.grad(out.sum(), source)
    zero = torch.zeros_like(x).requires_grad_()
    mode = Held(zero, kept)
    with mode:
        at_zero = function(zero)
    return slope, mode.finished(at_zero).detach()


def spelled_gelu(z: Tensor) -> Tensor:
    return 0.5 * z * (1.0 + torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * torch.pow(z, 3.0))))


def in_place(z: Tensor) -> Tensor:
    y = z * 1.0
    y.mul_(2).clamp_(max=1.5)
    return y


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": nn.functional.silu,
    "relu": nn.functional.relu,
    "relu in place": lambda z: nn.functional.relu(z * 1.0, inplace=True),
    "gelu": nn.functional.gelu,
    "a spelled gelu": spelled_gelu,
    "a spelled silu": lambda z: z * torch.sigmoid(1.7 * z),
    "squared relu": lambda z: nn.functional.relu(z).square(),
    "a softcap": lambda z: torch.tanh(z / 3) * 3,
    "pieces": lambda z: torch.where(z > 0, 2 * z * z + z, torch.expm1(z) * 0.5),
    "in place": in_place,
    "another dtype": lambda z: nn.functional.silu(z.to(torch.float32)).to(z.dtype),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_secant(name):
    function = ACTIVATIONS[name]
    z = torch.tensor([-3.0, -0.7, -1e-9, 1e-9, 0.2, 1.0, 4.0], dtype=torch.float64)
    slope, constant = held(function, z)
    near = 1e-6 if name == "another dtype" else 1e-12
    assert torch.allclose(slope * z, function(z.clone()), rtol=near, atol=1e-30)
    assert not bool(constant.any())


@pytest.mark.parametrize("name", ["silu", "gelu", "a spelled gelu", "a spelled silu", "a softcap"])
def test_at_zero_a_secant_is_the_derivative(name):
    z = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(ACTIVATIONS[name](z).sum(), z)
    slope, constant = held(ACTIVATIONS[name], z.detach())
    assert torch.allclose(slope, expected, atol=1e-12)
    assert not bool(constant.any())


def test_what_an_activation_gives_for_zero_is_a_constant():
    z = torch.tensor([-3.0, 0.0, 1e-12, 0.5, 4.0], dtype=torch.float64)
    slope, constant = held(torch.sigmoid, z)
    assert torch.allclose(slope * z + constant, torch.sigmoid(z), atol=1e-15)
    assert torch.allclose(constant, torch.full_like(z, 0.5), atol=1e-12)
    assert slope[1:3] == pytest.approx(torch.full((2,), 0.25), abs=1e-7)


def test_each_branch_of_a_product_gets_half():
    x = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)
    w, v = (torch.randn(3, 3, generator=torch.Generator().manual_seed(n)).double() for n in (1, 2))

    def gated(x: Tensor) -> Tensor:
        return nn.functional.silu(x @ w) * (x @ v)

    slope, constant = held(gated, x)
    gate, up = x @ w, x @ v
    acted = nn.functional.silu(gate)
    expected = ((acted / gate * up) @ w.T + acted @ v.T) / 2
    assert torch.allclose(slope, expected, atol=1e-12)
    assert not bool(constant.any())


def test_what_a_branch_has_besides_its_input_multiplies_the_other():
    """(u + 1) · act(g): the 1 is no branch, it is a factor."""
    x = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)
    w, v = (torch.randn(3, 3, generator=torch.Generator().manual_seed(n)).double() for n in (1, 2))
    slope, constant = held(lambda x: (x @ v + 1) * nn.functional.silu(x @ w), x)
    gate, up = x @ w, x @ v
    acted = nn.functional.silu(gate)
    expected = ((acted / gate * (up / 2 + 1)) @ w.T) + acted @ v.T / 2
    assert torch.allclose(slope, expected, atol=1e-12)
    assert not bool(constant.any())


def test_routers_and_norms_are_held():
    x = torch.tensor([[0.3, -1.2, 2.0], [1.0, 0.4, -0.2]], dtype=torch.float64)
    w = torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()

    def routed(x: Tensor) -> Tensor:
        weights, chosen = (x @ w).softmax(-1).topk(1)
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return normed @ w * weights * (chosen + 1)

    slope, constant = held(routed, x)
    weights, chosen = (x @ w).softmax(-1).topk(1)
    scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
    assert torch.allclose(slope, (weights * (chosen + 1) * scale) * w.sum(1), atol=1e-12)
    assert not bool(constant.any())
