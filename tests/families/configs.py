"""Tiny random models of every family of causal language models that `transformers` knows.

A family's config is what its class has by default, with `tables.SIZES` where the class declares the
name, and the family's own entry of `tables.FAMILIES` above that; the same for configs in configs.
"""

from __future__ import annotations

import inspect
from typing import Any, Literal

import pytest
import torch
import transformers
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.families import tables
from tests.families.tables import CANNOT, FLOAT32_ONLY, VARIANTS

__all__ = ["CANNOT", "FAMILIES", "FLOAT32_ONLY", "PROMPT", "VARIANTS", "build", "config_of"]

FAMILIES: tuple[str, ...] = tuple(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
Weights = Literal["wild", "fresh"]
PROMPT: list[int] = [3, 17, 42, 5, 17, 60, 9]


def config_of(model_type: str, **changes: Any) -> PretrainedConfig:
    """The tiny config of a family; `changes` are changes of it, and of configs in it by name."""
    cls = CONFIG_MAPPING[model_type]
    config: PretrainedConfig = cls(**_options(cls, model_type, changes))
    for name, stand_in in tables.STAND_INS.get(model_type, {}).items():
        inner = CONFIG_MAPPING[stand_in]
        declared = {k: v for k, v in getattr(config, name).to_dict().items() if k != "model_type"}
        # Past the type that the config's class wants.
        config.__dict__[name] = inner(**{**declared, **_options(inner, stand_in, {})})
    return config


def build(
    model_type: str,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    implementation: str | None = None,
    weights: Weights = "wild",
    **changes: Any,
) -> PreTrainedModel:
    """A random model of the family in eval mode.

    Args:
        model_type: the family.
        dtype: of its weights.
        seed: of its weights.
        implementation: of its attention; what transformers takes for the family by default.
        weights: "wild", all of them random and far from trivial; "fresh", as transformers draws
            them for training, with biases and gains that are not trivial.
        **changes: of its config.
    """
    if int(transformers.__version__.partition(".")[0]) < 5 and model_type in tables.FROM_5:
        pytest.skip(f"{model_type} {tables.FROM_5[model_type]} in transformers before 5")
    config = config_of(model_type, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if model_type in tables.INNER:
            cls = getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type])
            inner = getattr(config, tables.INNER[model_type])
            model: PreTrainedModel = cls._from_config(inner, attn_implementation=implementation)
        else:
            model = AutoModelForCausalLM.from_config(config, attn_implementation=implementation)
    # The grouped matrix product of experts knows no float64; this changes no result.
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    model = model.to(dtype).eval()
    if weights == "wild":
        randomise(model, seed)
    else:
        unsettle(model, seed)
    for name, parameter in model.named_parameters():
        if name.endswith(tables.FLOAT32.get(model_type, "\n")):
            parameter.data = parameter.data.float()
    return model


def randomise(model: nn.Module, seed: int) -> None:
    """Makes every parameter, and every buffer that acts as one, random and far from trivial."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    with torch.no_grad():
        for name, weight in [*model.named_parameters(), *model.named_buffers()]:
            if not isinstance(weight, nn.Parameter) and not name.endswith(tables.BUFFERS):
                continue
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            if not weight.is_floating_point():
                noise = 2 + noise.clamp(-2, 3)  # numbers of experts
            elif name.endswith(tables.GENTLE):
                noise = weight.double() + 0.1 * noise
            elif weight.ndim < 2:  # biases, and gains, about one also where a family adds one
                noise = weight.double() + 0.4 * noise
            elif id(weight) not in embeddings:
                noise *= 1.3 / weight.shape[-1] ** 0.5
            weight.copy_(noise)


def unsettle(model: nn.Module, seed: int) -> None:
    """Adds noise to the biases and gains of a model that is otherwise as it was drawn."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in [*model.named_parameters(), *model.named_buffers()]:
            acts = isinstance(weight, nn.Parameter) or name.endswith(tables.BUFFERS)
            if acts and weight.ndim == 1 and weight.is_floating_point():
                noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
                weight.copy_(weight.double() + 0.1 * noise)


def _options(
    cls: type[PretrainedConfig], model_type: str, changes: dict[str, Any]
) -> dict[str, Any]:
    """What a family's config class is called with."""
    declared = inspect.signature(cls).parameters
    sizes = {**tables.SIZES, **(tables.LATENT if "qk_rope_head_dim" in declared else {})}
    options = {name: value for name, value in sizes.items() if name in declared}
    own = {**tables.FAMILIES.get(model_type, {}), **changes}
    for name, spec in getattr(cls, "sub_configs_defaults", {}).items():
        if spec.optional and name not in own:
            continue
        inner = CONFIG_MAPPING[spec.model_type] if spec.model_type else spec.config_class
        options[name] = {
            "model_type": inner.model_type,
            **_options(inner, inner.model_type, own.pop(name, {})),
        }
    return {**options, **own}
