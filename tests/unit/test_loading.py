"""Any loading: however a model came to be, what is traced is the model as it runs, and it is left
as it was found.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

import visit_widget as vw
from tests.tiny import PROMPT_IDS, make_model
from visit_widget.lens.lens import LogitLens
from visit_widget.model import linear
from visit_widget.model.linear import linear_map, linear_row

F32 = torch.float32
WIDE = {"hidden_size": 64, "intermediate_size": 128}
LORA_ON = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
}


def tiny(family: str = "llama", **changes: Any) -> PreTrainedModel:
    return make_model(family, F32, "eager" if family == "gemma2" else "sdpa", **changes)


def state(model: nn.Module) -> dict[Any, Any]:
    """All that a trace could leave changed. Weights that are put away are other meta tensors after
    each pass, also after the model's own."""
    found: dict[Any, Any] = {}
    for name, module in model.named_modules():
        own = vars(module)
        found[name, "attributes"] = sorted(own)
        found[name, "training"] = module.training
        found[name, "hooks"] = {k: list(v) for k, v in own.items() if k.endswith("_hooks") and v}
        found[name, "forward"] = own.get("forward")
        config = getattr(module, "config", None)
        if isinstance(config, transformers.PretrainedConfig):
            found[name, "config"] = config.to_dict(), config._attn_implementation
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        found[name, "tensor"] = tensor.requires_grad, tensor.grad is None, tensor.device
        found[name, "values"] = None if tensor.is_meta else bits(tensor)
    return found


def bits(tensor: Tensor) -> Any:
    tensor = tensor.detach()
    tensor = tensor if type(tensor) is Tensor else tensor.dequantize()
    return tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def truth(model: nn.Module) -> Tensor:
    """What the model itself says, in eval mode: (T, n_vocab)."""
    training = [m for m in model.modules() if m.training]
    with torch.no_grad():
        logits: Tensor = model.eval()(input_ids=torch.tensor([PROMPT_IDS]), use_cache=False).logits
    for module in training:
        module.training = True
    return logits[0].float()


def check(
    model: Any,
    within: Callable[[], AbstractContextManager[Any]] = nullcontext,
    says: Tensor | None = None,
) -> vw.Trace:
    """The whole of what rests on a trace, against the model's own logits."""
    says = truth(model) if says is None else says
    before = state(model)
    with within():
        trace = vw.trace(model, None, PROMPT_IDS)
        audits = [trace.audit(), trace.audit(2)]
        target = int(trace.logits().argmax())
        for position in (-1, 0):
            graph = trace.flow(position, target=target, layers=range(trace.n_layers))
            assert graph.nodes
        for by in ("component", "head", "neuron"):
            total = sum(trace.logit_parts(target, by=by).values())
            assert total == pytest.approx(float(trace.logits()[target]), **near(audits[0]))
        query, key = trace.query_directions(1), trace.key_directions(1)
        assert query.shape == key.shape
        assert bool(query.isfinite().all())
        assert trace.neuron_directions(1, [0, 1]).shape == (2, trace.d_model)
        read = LogitLens(model).logits(trace.residual(trace.n_layers - 1))
    assert state(model) == before
    for audit in audits:
        assert audit.exact, audit
    said, cap = trace.logits().float(), trace.anatomy.softcap
    said = said if cap is None else torch.tanh(said / cap) * cap
    for ours, theirs in ((said, says[-1]), (read.float(), says)):
        assert (ours - theirs).norm() <= audits[0].tolerance * theirs.norm()
    return trace


def near(audit: vw.Audit) -> dict[str, float]:
    return {"rel": audit.tolerance, "abs": 20 * audit.tolerance}


# Precision.


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_each_precision(family: str, dtype: torch.dtype) -> None:
    trace = check(tiny(family).to(dtype))
    assert trace.dtype == F32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_half_precision_with_a_stream_far_longer_than_what_is_added(
    family: str, dtype: torch.dtype
) -> None:
    model = tiny(family)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(300)
    check(model.to(dtype))


def casts(module: nn.Module, dtype: torch.dtype, back: torch.dtype) -> None:
    module.to(dtype)
    module.register_forward_pre_hook(lambda _, args: (args[0].to(dtype),))
    module.register_forward_hook(lambda _, _args, out: out.to(back))


@pytest.mark.parametrize("part", ["o_proj", "mlp", "norm", "lm_head"])
def test_parts_in_float32_in_a_bfloat16_model(part: str) -> None:
    model = tiny().to(torch.bfloat16)
    for name, module in list(model.named_modules()):
        if name.endswith("." + part) or name == part:
            casts(module, F32, F32 if part == "lm_head" else torch.bfloat16)
    check(model)


def test_mlps_in_bfloat16_in_a_float32_model_are_held_to_what_they_round() -> None:
    model = tiny()
    for block in model.model.layers:
        casts(block.mlp, torch.bfloat16, F32)
    assert 1e-2 < check(model).audit().tolerance < 0.2


# Quantised.


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    tiny(**WIDE).save_pretrained(folder)
    return folder


def quantised(folder: Path, config: Any, dtype: torch.dtype) -> PreTrainedModel:
    options = {"quantization_config": config, "device_map": "cpu", "torch_dtype": dtype}
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_quanto_weights(saved: Path, dtype: torch.dtype) -> None:
    pytest.importorskip("optimum.quanto")
    check(quantised(saved, transformers.QuantoConfig(weights="int8"), dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_torchao_weights(saved: Path, dtype: torch.dtype) -> None:
    ao = pytest.importorskip("torchao.quantization")
    config = transformers.TorchAoConfig(ao.Int8WeightOnlyConfig())
    check(quantised(saved, config, dtype))


def test_torchao_activations_are_refused(saved: Path) -> None:
    ao = pytest.importorskip("torchao.quantization")
    config = transformers.TorchAoConfig(ao.Int8DynamicActivationInt8WeightConfig())
    trace = vw.trace(quantised(saved, config, F32), None, PROMPT_IDS)
    for ask in (trace.audit, lambda: trace.flow(layers=[1])):
        with pytest.raises(vw.UnsupportedModelError, match=r"not linear.*weight-only quantisation"):
            ask()


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_bitsandbytes_four_bits(saved: Path, kind: str) -> None:
    pytest.importorskip("bitsandbytes")
    config = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind)
    model = quantised(saved, config, F32)
    truth(model)  # the first pass converts biases
    check(model)


def test_bitsandbytes_eight_bits_are_refused(saved: Path) -> None:
    pytest.importorskip("bitsandbytes")
    model = quantised(saved, transformers.BitsAndBytesConfig(load_in_8bit=True), F32)
    with pytest.raises(vw.UnsupportedModelError, match="weight-only quantisation"):
        vw.trace(model, None, PROMPT_IDS).flow(layers=[1])


# Adapters.


def with_lora(model: PreTrainedModel, **options: Any) -> Any:
    peft = pytest.importorskip("peft")
    family = model.config.model_type
    options = {"r": 4, "target_modules": LORA_ON[family], "init_lora_weights": False, **options}
    torch.manual_seed(1)
    config = peft.LoraConfig(fan_in_fan_out=family == "gpt2", **options)
    return peft.get_peft_model(model, config).eval()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_lora_as_peft_hands_it_out(family: str) -> None:
    model = with_lora(tiny(family))
    trace = check(model)
    assert trace.model is model.get_base_model()
    plain = vw.trace(tiny(family), None, PROMPT_IDS)
    assert not torch.allclose(trace.logits(), plain.logits(), rtol=0.1)


def test_lora_merged_disabled_and_switched_back() -> None:
    model = with_lora(tiny())
    on = check(model).logits()
    with model.disable_adapter():
        off = check(model).logits()
    assert torch.allclose(off, check(tiny()).logits(), atol=1e-4)
    assert torch.equal(check(model).logits(), on)
    model.merge_adapter()
    assert torch.allclose(check(model).logits(), on, atol=1e-3)
    model.unmerge_adapter()
    assert torch.allclose(check(model.merge_and_unload()).logits(), on, atol=1e-3)


@pytest.mark.parametrize(
    "options",
    [{"use_dora": True}, {"target_modules": ["o_proj", "lm_head"]}, {"lora_dropout": 0.5}],
    ids=["dora", "head", "dropout"],
)
def test_other_adapters_in_training(options: dict[str, Any]) -> None:
    check(with_lora(tiny(), **options).train())


def test_lora_of_a_half_precision_model() -> None:
    check(with_lora(tiny().to(torch.bfloat16), target_modules=["o_proj", "down_proj"]))


def test_learned_prompts_are_refused() -> None:
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(vw.VisitError, match="get_base_model"):
        vw.trace(peft.get_peft_model(tiny(), config), None, PROMPT_IDS)


# Weights put away.


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_weights_on_a_disk(family: str, tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    model = tiny(family)
    says = truth(model)
    model = accelerate.disk_offload(model, tmp_path, execution_device=torch.device("cpu"))
    assert model.get_input_embeddings().weight.is_meta
    check(model, says=says)


def test_a_device_map_with_some_layers_on_a_disk(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    tiny().save_pretrained(tmp_path / "model")
    places = {"model": "cpu", "model.layers.1": "disk", "model.norm": "disk", "lm_head": "disk"}
    places |= {"model.layers.0": "cpu", "model.layers.2": "disk"}
    places |= {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu"}
    del places["model"]
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path / "model", device_map=places, offload_folder=tmp_path / "away"
    ).eval()
    assert model.lm_head.weight.is_meta
    check(model)


def test_experts_put_away() -> None:
    accelerate = pytest.importorskip("accelerate")
    config = transformers.MixtralConfig(
        vocab_size=61, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.MixtralForCausalLM(config).eval()
    check(accelerate.cpu_offload(model, execution_device=torch.device("cpu")))


def test_weights_that_are_nowhere() -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(tiny().config)
    with pytest.raises(vw.UnsupportedModelError, match="load them"):
        vw.trace(model, None, PROMPT_IDS)


# Compiled.


def compiled_around(model: PreTrainedModel) -> Any:
    return torch.compile(model, backend=_no_backend)


def compiled_in_place(model: PreTrainedModel) -> Any:
    model.compile(backend=_no_backend)
    return model


def compiled_forward(model: PreTrainedModel) -> Any:
    model.forward = torch.compile(model.forward, backend=_no_backend)
    return model


def compiled_blocks(model: PreTrainedModel) -> Any:
    for index, block in enumerate(model.model.layers):
        model.model.layers[index] = torch.compile(block, backend=_no_backend)
    return model


def _no_backend(_graph: Any, _inputs: Any) -> Any:
    raise AssertionError("a trace compiles nothing")


@pytest.mark.skipif(
    not hasattr(torch.compiler, "set_stance"), reason="torch 2.6 and later can step aside"
)
@pytest.mark.parametrize(
    "how", [compiled_around, compiled_in_place, compiled_forward, compiled_blocks]
)
def test_compiled_models_run_eagerly(how: Callable[[PreTrainedModel], Any]) -> None:
    model = tiny()
    says = truth(model)
    check(how(model), says=says)


def test_a_parallel_wrapper() -> None:
    check(nn.DataParallel(tiny()))


def test_something_else_is_refused() -> None:
    with pytest.raises(vw.VisitError, match=r"not Linear: load one with AutoModelForCausalLM"):
        vw.trace(nn.Linear(2, 2), None, PROMPT_IDS)


# Attention implementations.


def test_flex_attention() -> None:
    model = make_model("gemma2", F32, "eager")
    says = truth(model)
    model.set_attn_implementation("flex_attention")
    trace = check(model, says=says)
    # A sliding window of three, read from the block mask.
    assert (trace.attention(0, -1) > 0).sum(-1).max() == 3


def registered(name: str, factor: float) -> PreTrainedModel:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    def attend(module: nn.Module, query: Tensor, *rest: Any, **options: Any) -> Any:
        return sdpa_attention_forward(module, query * factor, *rest, **options)

    transformers.AttentionInterface.register(name, attend)
    transformers.AttentionMaskInterface.register(name, sdpa_mask)
    model = tiny()
    model.set_attn_implementation(name)
    return model


def test_an_attention_function_of_the_user() -> None:
    model = registered("the_same", 1.0)
    check(model)
    assert model.config._attn_implementation == "the_same"


def test_an_attention_function_that_computes_something_else_is_refused() -> None:
    model = registered("half", 0.5)
    with pytest.raises(vw.UnsupportedModelError, match=r"'half'.*set_attn_implementation"):
        vw.trace(model, None, PROMPT_IDS)
    model.set_attn_implementation("sdpa")
    check(model)


# States.


@contextmanager
def default(what: str, value: Any) -> Iterator[None]:
    usual = torch.get_default_dtype() if what == "dtype" else None
    getattr(torch, f"set_default_{what}")(value)
    try:
        yield
    finally:
        getattr(torch, f"set_default_{what}")(usual)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(
    "within",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: default("dtype", torch.float64),
        lambda: default("dtype", torch.bfloat16),
        lambda: default("device", "meta"),
    ],
    ids=["no_grad", "inference_mode", "float64", "bfloat16", "another device"],
)
def test_wherever_the_caller_stands(
    within: Callable[[], AbstractContextManager[Any]], family: str
) -> None:
    check(tiny(family), within)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_in_training(family: str) -> None:
    drop = ("attn_pdrop", "resid_pdrop", "embd_pdrop") if family == "gpt2" else "attention_dropout"
    model = tiny(family, **dict.fromkeys([drop] if isinstance(drop, str) else drop, 0.4))
    says = truth(model)
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    check(model.train(), says=says)
    assert model.training
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("use_cache", [True, False])
def test_frozen_with_and_without_a_cache(use_cache: bool) -> None:
    check(tiny(use_cache=use_cache).requires_grad_(False))


def test_autocast_is_refused() -> None:
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(vw.VisitError, match="outside of the autocast"),
    ):
        vw.trace(tiny(), None, PROMPT_IDS)


def test_weights_made_in_inference_mode_are_refused() -> None:
    with torch.inference_mode():
        model = tiny()
    with pytest.raises(vw.VisitError, match="load the model outside"):
        vw.trace(model, None, PROMPT_IDS)


# Hooks of the user.


def part_of(model: PreTrainedModel, place: str) -> nn.Module:
    block = (model.model.layers if hasattr(model, "model") else model.transformer.h)[1]
    names = {
        "o_proj": ("self_attn.o_proj", "attn.c_proj"),
        "attention": ("self_attn", "attn"),
        "down": ("mlp.down_proj", "mlp.c_proj"),
        "mlp": ("mlp", "mlp"),
        "norm": ("input_layernorm", "ln_1"),
        "final norm": ("model.norm", "transformer.ln_f"),
        "head": ("lm_head", "lm_head"),
        "embedding": ("model.embed_tokens", "transformer.wte"),
        "block": ("", ""),
    }
    owner = model if place in ("final norm", "head", "embedding") else block
    return owner.get_submodule(names[place][0 if hasattr(model, "model") else 1])


def changing(change: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return change(output[0]), *output[1:]
        assert output.ndim == 3  # a batch of prompts
        return change(output)

    return hook


def steered(output: Tensor) -> Tensor:
    return output + torch.linspace(-1, 2, output.shape[-1]).to(output)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(
    "place",
    ["o_proj", "attention", "down", "mlp", "norm", "final norm", "head", "embedding", "block"],
)
def test_steering_is_part_of_the_model(place: str, family: str) -> None:
    model = tiny(family)
    usual = vw.trace(model, None, PROMPT_IDS).logits()
    part_of(model, place).register_forward_hook(changing(steered))
    assert not torch.allclose(check(model).logits(), usual, rtol=1e-3)


def test_a_hook_that_is_changed_between_traces() -> None:
    model, strength = tiny(), [0.0]
    part_of(model, "o_proj").register_forward_hook(changing(lambda x: x + strength[0]))
    for strength[0] in (0.0, 2.0):
        check(model)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("place", ["o_proj", "down", "mlp", "final norm", "block"])
def test_hooks_that_are_not_affine_are_refused(place: str, family: str) -> None:
    model = tiny(family)
    part_of(model, place).register_forward_hook(changing(torch.relu))
    before = state(model)
    with pytest.raises(vw.UnsupportedModelError):
        vw.trace(model, None, PROMPT_IDS).flow(layers=[0, 1, 2])
    assert state(model) == before


@pytest.mark.parametrize("place", ["o_proj", "mlp", "block"])
def test_hooks_on_some_positions_are_never_drawn_wrong(place: str) -> None:
    def last_only(output: Tensor) -> Tensor:
        more = torch.zeros_like(output)
        more[:, -1] = float(output.shape[1] > 1)
        return output + more

    model = tiny()
    part_of(model, place).register_forward_hook(changing(last_only))
    with pytest.raises(vw.UnsupportedModelError):
        vw.trace(model, None, PROMPT_IDS).flow(layers=[0, 1, 2])


def test_hooks_that_read_run_and_change_nothing() -> None:
    model, calls = tiny(), []
    for module in model.modules():
        module.register_forward_hook(lambda *_: calls.append(1))
        module.register_forward_pre_hook(lambda *_: None)
    check(model)
    assert calls


# Reading a matrix by applying a module.


class Folded(nn.Module):
    """x W + b in an unknown layout, counting the rows that it is given."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.packed = nn.Parameter(torch.randn(n_out + 1, n_in))
        self.rows = 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += x.numel() // x.shape[-1]
        return x @ self.packed[:-1].T + self.packed[-1, : self.packed.shape[0] - 1]


def test_a_matrix_is_read_once_and_again_when_it_changed() -> None:
    torch.manual_seed(0)
    module = Folded(7, 5)
    weight, bias = linear_map(module, 7, F32)
    assert torch.allclose(weight, module.packed[:-1].T, atol=1e-6)
    assert bias is not None
    assert torch.allclose(bias, module.packed[-1, :5])
    first = module.rows
    assert linear_map(module, 7, F32)[0] is weight
    assert module.rows - first <= 2
    with torch.no_grad():
        module.packed[2, 3] += 1
    assert float(linear_map(module, 7, F32)[0][3, 2] - weight[3, 2]) == pytest.approx(1)


def test_readings_go_with_their_module_and_keep_to_their_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = linear._Kept()
    monkeypatch.setattr(linear, "_kept", kept)
    monkeypatch.setattr(linear, "KEPT_BYTES", 3 * 7 * 5 * 4)
    modules = [Folded(7, 5) for _ in range(5)]
    for module in modules:
        linear_map(module, 7, F32)
    assert len(kept._readings) == 3
    del module, modules
    gc.collect()
    assert not kept._readings


def test_one_row_of_a_large_head_does_not_take_its_matrix() -> None:
    module = Folded(50, 30)
    row, bias = linear_row(module, 50, 4, F32)
    assert module.rows == 2
    assert torch.allclose(row, module.packed[4], atol=1e-6)
    assert bias == pytest.approx(float(module.packed[-1, 4].detach()))
