"""MLPs as writers, against the modules' own outputs and against weights set to zero by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 – as the models do

from visit_widget.model import UnsupportedModelError
from visit_widget.model.writers import (
    WriterLayout,
    Writers,
    find_layout,
    writer_directions,
    writers_at,
)

D, E, IDS = 32, 4, [3, 17, 42, 5, 17, 60, 0]
_SIZES: dict[str, Any] = {
    "vocab_size": 61, "hidden_size": D, "intermediate_size": 20, "moe_intermediate_size": 12,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 32, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
_LOCAL = {**_SIZES, "num_local_experts": E, "num_experts_per_tok": 2}
_PLAIN = {**_SIZES, "num_experts": E, "num_experts_per_tok": 2}
_DEEPSEEK = {
    **_SIZES, "n_routed_experts": E, "num_experts_per_tok": 2, "n_shared_experts": 2, "n_group": 2,
    "topk_group": 1, "first_k_dense_replace": 0, "routed_scaling_factor": 2.5, "q_lora_rank": 8,
    "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8,
    "num_key_value_heads": 4, "head_dim": 4, "topk_method": "group_limited_greedy",
}  # fmt: skip
_DBRX = {
    "vocab_size": 61, "d_model": D, "n_heads": 4, "n_layers": 2, "max_seq_len": 32,
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4},
    "ffn_config": {
        "hidden_size": D, "ffn_hidden_size": 12, "moe_num_experts": E, "moe_top_k": 2,
        "ffn_act_fn": {"name": "silu"},
    },
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """What is known of a family by hand.

    `routed` and `shared` name the weights that write, `rows` says how they lie: "edi" (experts,
    d_model, neurons), "eid", "id" or "di". `looks` gives the row of weights that a neuron looks
    for, from (module, expert, neuron); experts −1 are the shared ones.
    """

    config: str
    options: dict[str, Any]
    width: int
    routed: str = ""
    rows: str = "edi"
    shared: str = ""
    shared_rows: str = "di"
    shared_width: int = 0
    looks: Callable[[nn.Module, int, int], Tensor] | None = None
    biased: bool = False
    rounds: bool = False
    mlp: str = "mlp"


def _fused(shared: str = "", step: int = 1) -> Callable[[nn.Module, int, int], Tensor]:
    def looks(mlp: nn.Module, expert: int, n: int) -> Tensor:
        if expert < 0:
            return mlp.get_parameter(f"{shared}.gate_proj.weight")[n]
        weight: Tensor = mlp.experts.gate_up_proj[expert]
        return weight[step * n] if weight.shape[1] == D else weight[:, step * n]

    return looks


_moe = partial(Family, routed="experts.down_proj", looks=_fused())


def _with_shared(
    config: str, options: dict[str, Any], width: int, name: str, extra: int, **more: Any
) -> Family:
    return _moe(
        config, options, width, shared=f"{name}.down_proj.weight", shared_width=extra,
        looks=_fused(name), **more,
    )  # fmt: skip


FAMILIES = {
    "mixtral": _moe("Mixtral", _LOCAL, 20),
    "qwen2_moe": _with_shared(
        "Qwen2Moe", {**_PLAIN, "shared_expert_intermediate_size": 10}, 12, "shared_expert", 10
    ),
    "qwen3_moe": _moe("Qwen3Moe", _PLAIN, 12),
    "qwen3_next": _with_shared(
        "Qwen3Next",
        {**_PLAIN, "shared_expert_intermediate_size": 10, "layer_types": ["full_attention"] * 2},
        12,
        "shared_expert",
        10,
    ),
    "olmoe": _moe("Olmoe", _PLAIN, 20),
    "flex_olmo": _moe("FlexOlmo", _PLAIN, 20),
    "deepseek_v2": _with_shared("DeepseekV2", _DEEPSEEK, 12, "shared_experts", 24, rounds=True),
    "deepseek_v3": _with_shared("DeepseekV3", _DEEPSEEK, 12, "shared_experts", 24, rounds=True),
    "glm4_moe": _with_shared(
        "Glm4Moe", {**_DEEPSEEK, "head_dim": 8}, 12, "shared_experts", 24, rounds=True
    ),
    "gpt_oss": _moe("GptOss", _LOCAL, 20, rows="eid", looks=_fused(step=2), biased=True),
    "llama4_text": _with_shared(
        "Llama4Text",
        {**_LOCAL, "intermediate_size_mlp": 20, "moe_layers": [0, 1]},
        20,
        "shared_expert",
        20,
        rows="eid",
        mlp="feed_forward",
        rounds=True,
    ),
    "dbrx": Family(
        "Dbrx",
        _DBRX,
        12,
        "experts.mlp.w2",
        "id",
        mlp="ffn",
        looks=lambda mlp, e, n: mlp.experts.mlp.w1[12 * e + n],
    ),
    "phimoe": _moe("Phimoe", _LOCAL, 20),
    "granitemoe": _moe("GraniteMoe", _LOCAL, 20, mlp="block_sparse_moe"),
    "granitemoeshared": _moe(
        "GraniteMoeShared", {**_LOCAL, "shared_intermediate_size": 10}, 20, mlp="block_sparse_moe"
    ),
    "jetmoe": Family(
        "JetMoe",
        {**_LOCAL, "kv_channels": 8},
        20,
        "output_linear.weight",
        biased=True,
        looks=lambda mlp, e, n: mlp.input_linear.weight[e, n],
    ),
    "ernie4_5_moe": _with_shared(
        "Ernie4_5_Moe",
        {
            **_SIZES,
            "moe_num_experts": E,
            "moe_k": 2,
            "moe_num_shared_experts": 2,
            "moe_layer_start_index": 0,
            "moe_layer_end_index": 1,
        },
        12,
        "shared_experts",
        24,
        rounds=True,
    ),
    "aria_text": _with_shared(
        "AriaText",
        {**_SIZES, "moe_num_experts": E, "moe_topk": 2, "moe_num_shared_experts": 2},
        20,
        "shared_experts",
        40,
        rows="eid",
    ),
    "hunyuan_v1_moe": _with_shared(
        "HunYuanMoEV1", {**_SIZES, "num_experts": E, "moe_topk": 2}, 20, "shared_mlp", 20
    ),
    "minimax": _moe("MiniMax", {**_LOCAL, "layer_types": ["full_attention"] * 2}, 20),
    "llama": Family(
        "Llama",
        {**_SIZES, "mlp_bias": True},
        0,
        shared="down_proj.weight",
        shared_width=20,
        looks=lambda mlp, _, n: mlp.gate_proj.weight[n],
        biased=True,
    ),
    "gemma": Family(
        "Gemma",
        _SIZES,
        0,
        shared="down_proj.weight",
        shared_width=20,
        looks=lambda mlp, _, n: mlp.gate_proj.weight[n],
    ),
    "phi3": Family(
        "Phi3",
        _SIZES,
        0,
        shared="down_proj.weight",
        shared_width=20,
        looks=lambda mlp, _, n: mlp.gate_up_proj.weight[n],
    ),
    "gpt2": Family(
        "GPT2",
        {
            "vocab_size": 61,
            "n_positions": 16,
            "n_embd": D,
            "n_layer": 2,
            "n_head": 4,
            "n_inner": 20,
        },
        0,
        shared="c_proj.weight",
        shared_rows="id",
        shared_width=20,
        biased=True,
        looks=lambda mlp, _, n: mlp.c_fc.weight[:, n],
    ),
    "phi": Family(
        "Phi",
        {**_SIZES},
        0,
        shared="fc2.weight",
        shared_width=20,
        biased=True,
        looks=lambda mlp, _, n: mlp.fc1.weight[n],
    ),
}


def fill(module: nn.Module, seed: int = 0) -> None:
    """Random numbers for every parameter, biases included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            p.copy_(noise * 0.4 + p.double() if p.ndim == 1 else noise * 1.3 / p.shape[-1] ** 0.5)


def first(output: Any) -> Tensor:
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    return tensor


def run(mlp: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return first(mlp(x[None, None])).reshape(-1)


def written(w: Writers) -> Tensor:
    total = w.activations @ w.matrix
    return total if w.bias is None else total + w.bias


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    ours, theirs = ours.detach(), theirs.detach()
    assert ours.shape == theirs.shape
    assert float((ours - theirs).norm()) <= tolerance * max(float(theirs.norm()), 1e-9)


@dataclass
class Case:
    family: Family
    mlp: nn.Module
    inputs: Tensor
    outputs: Tensor
    layout: WriterLayout

    def at(self, position: int) -> Writers:
        return writers_at(self.mlp, self.layout, self.inputs[position], torch.float64)


def build(name: str, dtype: torch.dtype = torch.float64) -> Case:
    family = FAMILIES[name]
    if family.routed and not hasattr(transformers.PreTrainedModel, "set_experts_implementation"):
        pytest.skip(f"transformers {transformers.__version__} has experts of another layout")
    config = getattr(transformers, f"{family.config}Config")(
        **{"tie_word_embeddings": False, **family.options}
    )
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model = model.to(dtype).eval()
    if family.routed:
        model.set_experts_implementation("eager")  # the others know no float64
    fill(model)
    inner = model.transformer if hasattr(model, "transformer") else model.model
    layers = next(m for m in inner.children() if isinstance(m, nn.ModuleList))
    mlp = layers[-1].get_submodule(family.mlp)
    seen: list[Tensor] = []
    hook = mlp.register_forward_hook(
        lambda _, args, out: seen.extend((args[0].clone(), first(out).clone()))
    )
    with torch.no_grad():
        model(torch.tensor([IDS]), use_cache=False)
    hook.remove()
    inputs, outputs = (t.reshape(-1, D) for t in seen)
    return Case(family, mlp, inputs, outputs, find_layout(mlp, inputs[0]))


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest) -> Case:
    return build(request.param)


def test_neurons_and_bias_sum_to_the_output(case: Case):
    for i, x in enumerate(case.inputs):
        w = case.at(i)
        close(written(w), run(case.mlp, x), 1e-10)
        close(written(w), case.outputs[i], 1e-6)
        assert (w.bias is not None) == case.family.biased
        assert w.matrix.dtype == w.activations.dtype == torch.float64


def test_neurons_are_numbered_expert_by_expert_and_shared_ones_last(case: Case):
    f = case.family
    n = E * f.width
    assert case.layout.d_mlp == n + f.shared_width
    assert case.layout.n_experts == (E if f.routed else 0)
    for i in range(len(IDS)):
        w = case.at(i)
        assert len(w.index) == 2 * f.width + f.shared_width
        assert w.index.tolist() == sorted(set(w.index.tolist()))
        expected = [k // f.width if k < n else -1 for k in w.index.tolist()]
        assert w.expert.tolist() == expected


def row_of(case: Case, neuron: int) -> Tensor:
    """The weights that a neuron writes with, by hand: a view."""
    f = case.family
    if neuron < E * f.width:
        weight, (expert, n), rows = (
            case.mlp.get_parameter(f.routed),
            divmod(neuron, f.width),
            f.rows,
        )
        if rows == "id":
            return weight[neuron]
        return weight[expert, :, n] if rows == "edi" else weight[expert, n]
    weight, n = case.mlp.get_parameter(f.shared), neuron - E * f.width
    return weight[:, n] if f.shared_rows == "di" else weight[n]


def test_a_neuron_set_to_zero_takes_its_part_with_it(case: Case):
    x = case.inputs[2]
    whole, w = run(case.mlp, x), case.at(2)
    active = dict(zip(w.index.tolist(), range(len(w.index)), strict=True))
    for neuron in range(0, case.layout.d_mlp, 3):
        row = row_of(case, neuron)
        kept = row.detach().clone()
        with torch.no_grad():
            row.zero_()
        change = run(case.mlp, x) - whole
        with torch.no_grad():
            row.copy_(kept)
        if neuron in active:
            part = w.activations[active[neuron]] * w.matrix[active[neuron]]
            tolerance = 1e-6 if case.family.rounds else 1e-10
            assert float((change + part).norm()) <= tolerance * float(whole.norm())
            assert torch.equal(w.matrix[active[neuron]], kept)
        else:
            assert not change.any()


def test_directions_are_the_gates_rows(case: Case):
    x, w = case.inputs[4], case.at(4)
    f = case.family
    assert f.looks is not None
    idle = [n for n in range(case.layout.d_mlp) if n not in w.index.tolist()][:1]
    some = w.index.tolist()[::7]
    found = writer_directions(case.mlp, case.layout, x, some + idle)
    for neuron, direction in zip(some, found, strict=False):
        routed = neuron < E * f.width
        expert, n = divmod(neuron, f.width) if routed else (-1, neuron - E * f.width)
        expected = f.looks(case.mlp, expert, n).detach()
        if routed and f.config == "Llama4Text":  # the router scales what its experts read
            expected = expected * torch.sigmoid((case.mlp.router.weight @ x)[expert])
        close(direction, expected, 1e-6)
    assert not found[len(some) :].any()


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss", "llama4_text", "gpt2", "llama"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_narrow_models(name: str, dtype: torch.dtype, tolerance: float):
    case = build(name, dtype)
    for x in case.inputs:
        with torch.inference_mode():
            w = writers_at(case.mlp, case.layout, x, torch.float32)
        assert w.matrix.dtype == w.activations.dtype == torch.float32
        close(written(w), run(case.mlp, x).float(), tolerance)
        directions = writer_directions(case.mlp, case.layout, x, w.index[:1].tolist())
        assert directions.any()
        assert directions.dtype == dtype


# Modules made for the purpose


class Parts(nn.Module):
    """Linear maps for the modules below to use as they like."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        self.width = width
        self.up = nn.Linear(D, width)
        self.gate = nn.Linear(D, width)
        self.down = nn.Linear(width, D)
        self.router = nn.Linear(D, E, bias=False)
        self.side = nn.Linear(D, D)
        self.ups = nn.Parameter(torch.empty(E, D, width))
        self.downs = nn.Parameter(torch.empty(E, width, D))
        self.biases = nn.Parameter(torch.empty(E, D))
        self.experts = nn.ModuleList(
            nn.ModuleDict({"w1": nn.Linear(D, width), "w2": nn.Linear(width, D)}) for _ in range(12)
        )
        self.double().eval()
        fill(self, 3)
        with torch.no_grad():
            self.biases.normal_(generator=torch.Generator().manual_seed(4))

    def plain(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return out

    def scores(self, x: Tensor) -> Tensor:
        return self.router(x).softmax(-1)


def made(forward: Callable[[Parts, Tensor], Any]) -> Parts:
    module = Parts()
    module.forward = partial(forward, module)  # type: ignore[method-assign]
    return module


def some_inputs(n: int = 4) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(8), dtype=torch.float64)


def chosen(m: Parts, x: Tensor) -> Tensor:
    """Twelve experts in a list, two of them run, weights outside the graph of the router."""
    flat = x.reshape(-1, D)
    out = torch.zeros_like(flat)
    scores = torch.cat([m.scores(flat), -m.scores(flat), 3 * m.scores(flat)], -1)
    values, experts = scores.topk(2, -1)
    for t in range(len(flat)):
        for value, e in zip(values[t], experts[t].tolist(), strict=True):
            expert = m.experts[e]
            out[t] += value * expert["w2"](expert["w1"](flat[t : t + 1]).relu())[0]
    return out.view(x.shape)


def all_experts(m: Parts, x: Tensor) -> Tensor:
    hidden = torch.einsum("btd,edi->btei", x, m.ups).tanh()
    out = torch.einsum("btei,eid->bted", hidden, m.downs) + m.biases
    return (out * m.scores(x)[..., None]).sum(2)


def from_the_left(m: Parts, x: Tensor) -> Tensor:
    hidden = (m.up.weight @ x.reshape(D)).sigmoid()
    return (m.down.weight @ hidden + m.down.bias).view(x.shape)


def gathered(m: Parts, x: Tensor) -> Tensor:
    values, e = m.scores(x.reshape(1, D)).topk(2)
    hidden = torch.bmm(x.reshape(1, 1, D).expand(2, 1, D), m.ups[e[0]]).relu()
    out = torch.baddbmm(m.biases[e[0]][:, None], hidden, m.downs[e[0]])
    return (out[:, 0] * values[0, :, None]).sum(0).view(x.shape)


def widened(m: Parts, x: Tensor) -> Tensor:
    weight = m.down.weight.to(torch.float32).to(torch.float64)
    return F.linear(F.gelu(m.up(x)), weight).add_(m.down.bias)


def without_gradients(m: Parts, x: Tensor) -> Tensor:
    with torch.no_grad():
        return m.plain(x) + all_experts(m, x)


def flat_only(m: Parts, x: Tensor) -> tuple[Tensor, Tensor]:
    tokens, _ = x.shape
    return m.plain(x).view(tokens, D), m.scores(x)


def low_rank(m: Parts, x: Tensor) -> Tensor:
    return m.down(F.silu(m.gate(m.side(x))) * m.up(x)) + m.biases[0]


def sorted_by_expert(m: Parts, x: Tensor) -> Tensor:
    """As remote code infers: tokens sorted by expert, no gradients, much done in place."""
    flat = x.reshape(-1, D)
    with torch.no_grad():
        values, experts = m.scores(flat).topk(2)
        order = experts.view(-1).argsort()
        outs, begin = [], 0
        for e, count in enumerate(experts.view(-1).bincount(minlength=E).tolist()):
            if count:
                tokens = flat[order[begin : begin + count] // 2]
                hidden = F.relu(m.experts[e]["w1"](tokens), inplace=True)
                outs.append(m.experts[e]["w2"](hidden))
            begin += count
        joined = torch.cat(outs)
        back = torch.empty_like(joined)
        back[order] = joined
        return back.view(-1, 2, D).mul_(values[..., None]).sum(1).view(x.shape)


def scaled_by_its_input(m: Parts, x: Tensor) -> Tensor:
    return m.plain(x) * x.norm() + m.down.bias


def adapted(m: Parts, x: Tensor) -> Tensor:
    """The way of an adapter: a second product reads the same activations."""
    hidden = F.silu(m.up(x))
    return m.down(hidden) + 0.5 * m.side(F.pad(hidden, (0, D - m.width)))


ODD = {
    f.__name__: f
    for f in (
        chosen, all_experts, from_the_left, gathered, widened, without_gradients, flat_only,
        low_rank, sorted_by_expert, scaled_by_its_input,
        adapted,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_other_ways_to_write_it(name: str):
    m = made(ODD[name])
    inputs = some_inputs()
    layout = find_layout(m, inputs[0])
    for x in inputs:
        w = writers_at(m, layout, x, torch.float64)
        given = x[None] if layout.flat else x[None, None]
        close(
            written(w), first(m(given)).detach().reshape(-1), 1e-7 if name == "widened" else 1e-12
        )
    assert layout.flat == (name == "flat_only")
    assert layout.d_mlp == {"chosen": 120, "all_experts": 40, "gathered": 40}.get(
        name, {"without_gradients": 50, "sorted_by_expert": 120, "adapted": 10 + D}.get(name, 10)
    )


def test_experts_in_a_list_are_numbered_by_number_not_by_letter():
    m = made(chosen)
    x = some_inputs(1)[0]
    layout = find_layout(m, x)
    assert layout.n_experts == 12
    w = writers_at(m, layout, x, torch.float64)
    assert w.expert.unique().tolist() == (w.index // 10).unique().tolist()
    for e in w.expert.unique().tolist():
        mine = w.matrix[w.expert == e]
        assert torch.equal(mine, m.experts[e]["w2"].weight.detach().T)
    directions = writer_directions(m, layout, x, w.index.tolist())
    for neuron, e, direction in zip(w.index.tolist(), w.expert.tolist(), directions, strict=True):
        assert torch.equal(direction, m.experts[e]["w1"].weight[neuron % 10].detach())


def test_directions_follow_a_gate_of_two_steps_and_else_the_gradient():
    x = some_inputs(1)[0]
    m = made(low_rank)
    found = writer_directions(m, find_layout(m, x), x, range(10))
    close(found, (m.gate.weight @ m.side.weight).detach(), 1e-12)

    def own_gate(m: Parts, x: Tensor) -> Tensor:
        return m.down(m.gate(x).square() * m.up(x))

    m = made(own_gate)
    found = writer_directions(m, find_layout(m, x), x, range(10))
    leaf = x.clone().requires_grad_()
    hidden = m.gate(leaf).square() * m.up(leaf)
    for n in range(10):
        close(found[n], torch.autograd.grad(hidden[n], leaf, retain_graph=True)[0], 1e-12)


REFUSED: dict[str, tuple[Callable[[Parts, Tensor], Any], str]] = {
    "skip": (lambda m, x: m.plain(x) + x, "still depends on the input"),
    "skip as a bias": (
        lambda m, x: torch.addmm(x[0], m.up(x[0]).relu(), m.down.weight.T)[None],
        "No down projection",
    ),
    "hidden skip": (lambda m, x: m.plain(x) + x.detach(), "still depends on the input"),
    "activation at the end": (lambda m, x: m.plain(x).tanh(), "No down projection"),
    "norm at the end": (lambda m, x: F.rms_norm(m.plain(x), (D,)), "No down proj|not linear in"),
    "second path": (lambda m, x: m.plain(x) + m.side(x).tanh(), "still depends on the input"),
    "small second path": (
        lambda m, x: m.plain(x) + 1e-9 * m.side(x).relu(),
        "still depends on the input",
    ),
    "bias scaled by the input": (
        lambda m, x: m.plain(x) + m.biases[0] * m.scores(x)[..., :1],
        "still depends on the input",
    ),
    "unseen weights": (
        lambda m, x: F.linear(F.silu(m.up(x)), m.down.weight * 1.0),
        "No down projection",
    ),
    "tied": (
        lambda m, x: m.side(m.side(x).relu()) + m.side(x).tanh(),
        "not linear in what its side.weight writes",
    ),
    "twice": (lambda m, x: m.plain(x) + m.down(m.up(x).tanh()), "more than once"),
    "another argument": (lambda m, x, y: m.plain(x) + y, "could not be run"),
    "another width": (lambda m, x: m.up(x), "one vector"),
    "in pieces": (
        lambda m, x: F.linear(m.up(x).relu()[..., ::2], m.down.weight[:, ::2]),
        "cannot be numbered",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=["float64", "bfloat16"])
def test_what_is_no_sum_of_writers_is_refused(name: str, dtype: torch.dtype):
    forward, message = REFUSED[name]
    m = made(forward).to(dtype)
    with pytest.raises(UnsupportedModelError, match=message):
        find_layout(m, some_inputs(1)[0])


def test_a_position_where_the_module_does_something_else_is_refused():
    m = made(lambda m, x: m.plain(x) + (m.side(x).relu() if x.sum() > 1e3 else 0))
    x = some_inputs(1)[0]
    layout = find_layout(m, x)
    writers_at(m, layout, x, torch.float64)
    with pytest.raises(UnsupportedModelError, match="add up to"):
        writers_at(m, layout, x + 100, torch.float64)
    m.forward = lambda x: m.plain(x).tanh()  # type: ignore[method-assign]
    with pytest.raises(UnsupportedModelError, match="not linear"):
        writers_at(m, layout, x, torch.float64)


def test_nothing_of_the_module_is_changed():
    mlp = build("qwen2_moe").mlp
    config = mlp.experts.config
    config._experts_implementation = "grouped_mm"
    mlp.train()
    mlp.gate.eval()
    mlp.experts.down_proj.requires_grad_(False)
    x = some_inputs(1)[0]

    def state() -> Any:
        return (
            [m.training for m in mlp.modules()],
            [(p.requires_grad, p.grad, p._version) for p in mlp.parameters()],
            config._experts_implementation,
            torch.is_grad_enabled(),
        )

    before = state()
    with torch.no_grad():
        layout = find_layout(mlp, x)
        w = writers_at(mlp, layout, x, torch.float64)
        writer_directions(mlp, layout, x, w.index[:2].tolist())
    assert state() == before
    assert not any(t.requires_grad for t in vars(w).values() if isinstance(t, Tensor))

    def fails(*_: Any) -> None:
        raise RuntimeError("no")

    hook = mlp.experts.register_forward_pre_hook(fails)
    with pytest.raises(UnsupportedModelError, match=r"could not be run on one position .* no"):
        find_layout(mlp, x)
    hook.remove()
    assert state() == before
