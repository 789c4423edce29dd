"""What users hand over as a model and as its tokenizer: the one that is meant, or a sentence that
says what it is and what to load.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto import modeling_auto

from .errors import UnsupportedModelError, VisitError

# Packages whose models run code of their own, where no module can be watched.
_ELSEWHERE = {
    "vllm": "vLLM", "llama_cpp": "llama.cpp", "ctransformers": "ctransformers", "mlx": "MLX",
    "mlx_lm": "MLX", "onnxruntime": "ONNX Runtime", "optimum": "an exported graph",
    "openvino": "OpenVINO", "exllamav2": "ExLlama", "sglang": "SGLang", "tensorrt_llm": "TensorRT",
    "ctranslate2": "CTranslate2", "openai": "a server", "anthropic": "a server",
    "ollama": "a server", "keras": "Keras", "tensorflow": "TensorFlow", "jax": "JAX",
    "flax": "Flax",
}  # fmt: skip
# What configs call the tokens that stand for something that is not text, with their numbers.
_KINDS = {
    "image": "an image", "img": "an image", "boi": "an image", "eoi": "an image",
    "vision": "an image", "pixel": "an image", "video": "a video", "audio": "a sound",
    "boa": "a sound", "eoa": "a sound", "speech": "a sound", "sound": "a sound",
}  # fmt: skip
_NUMBERS = ("token_id", "token_index", "token_ids", "token_indices")


def not_a_model(given: Any) -> VisitError:
    """The sentence about something that is no model of transformers."""
    kind = type(given).__name__
    package = type(given).__module__.split(".", maxsplit=1)[0]
    if given is None:
        said = (
            "A model of transformers is needed, and none was given: load one with "
            "AutoModelForCausalLM."
        )
    elif isinstance(given, (str, os.PathLike)):
        said = (
            f"A model of transformers is needed, not the name {os.fspath(given)!r}: load it with "
            "AutoModelForCausalLM.from_pretrained(…) and pass what that gives."
        )
    elif isinstance(given, type):
        said = (
            f"{given.__name__} is a class, not a model: pass what "
            f"{given.__name__}.from_pretrained(…) gives."
        )
    elif isinstance(given, PretrainedConfig):
        said = (
            f"{kind} is the config of a model and has no weights: load the model with "
            "AutoModelForCausalLM.from_pretrained(…)."
        )
    elif isinstance(given, dict):
        said = (
            "These are weights without a model: build it with AutoModelForCausalLM, load them into "
            "it with load_state_dict, and pass the model."
        )
    elif (inner := next(_models_in(given), None)) is not None:
        more = "" if getattr(given, "tokenizer", None) is None else ", and its .tokenizer"
        said = (
            f"A model of transformers is needed, not {kind}, which holds one: pass its .{inner}"
            f"{more}."
        )
    elif package in _ELSEWHERE:
        said = (
            f"{kind} runs outside of transformers ({_ELSEWHERE[package]}), where its parts cannot "
            "be watched: load the same weights with AutoModelForCausalLM."
        )
    elif _is_tokenizer(given):
        said = (
            f"{kind} stands where the model belongs: pass the model first, then the tokenizer, "
            "then the prompt."
        )
    else:
        said = f"A model of transformers is needed, not {kind}: load one with AutoModelForCausalLM."
    return VisitError(said)


def check_language_model(model: PreTrainedModel) -> None:
    """Whether a model says a next token for each token of a text, as far as its class tells.

    Raises:
        UnsupportedModelError: saying what it is, and what to load.
    """
    name, kind = type(model).__name__, str(getattr(model.config, "model_type", ""))
    if getattr(model.config, "is_encoder_decoder", False):
        raise UnsupportedModelError(
            f"{name} is an encoder–decoder: what it says depends on a second text (or a sound or "
            f"picture) that its encoder reads, and only decoders are traced. {_decoder_of(model)}"
        )
    if type(model).__module__.split(".", maxsplit=1)[0] != "transformers":
        return  # code of one's own is told by its numbers
    if kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and name.endswith("ForMaskedLM"):
        if not getattr(model.config, "is_decoder", False):
            raise UnsupportedModelError(
                f"{name} is an encoder: it fills in masked words, looking at the words after them "
                "too, and does not say what comes next. Load a causal language model with "
                "AutoModelForCausalLM."
            )
    elif name.endswith("ForMaskedLM"):
        raise UnsupportedModelError(
            f"{name} is an encoder, which fills in masked words, and there is no causal language "
            f"model of its kind ({kind}). Load another model with AutoModelForCausalLM."
        )
    if _head_of(model) is None:
        raise UnsupportedModelError(
            f"{name} has no language-model head, so it says no next token: "
            f"{_with_head(model, kind)}"
        )


def check_text_only(model: PreTrainedModel, input_ids: Tensor) -> None:
    """Whether the prompt is text: ids that stand for a picture or a sound are read from that.

    Args:
        model: the model.
        input_ids: (T,).

    Raises:
        VisitError: an id stands for something else, as the model's config says.
    """
    there = set(input_ids.tolist())
    for config in _configs_in(model.config):
        for key, value in vars(config).items():
            if not key.endswith(_NUMBERS):
                continue
            what = next((_KINDS[word] for word in key.split("_") if word in _KINDS), None)
            numbers = value if isinstance(value, (list, tuple)) else (value,)
            found = there.intersection(n for n in numbers if isinstance(n, int))
            if what is not None and found:
                raise VisitError(
                    f"Token {min(found)} of the prompt stands for {what} ({key} in the model's "
                    "config), and only text is traced: leave such tokens out."
                )


def tokenizer_of(given: Any) -> Any:
    """The tokenizer in what was given as one: a processor of pictures and text has one in it.

    Raises:
        VisitError: it is something else.
    """
    if given is None or isinstance(given, PreTrainedTokenizerBase):
        return given
    if isinstance(given, (str, os.PathLike)):
        raise VisitError(
            f"A tokenizer that is loaded is needed, not the name {os.fspath(given)!r}: load it "
            "with AutoTokenizer.from_pretrained(…). (The prompt comes after it.)"
        )
    if isinstance(given, type):
        raise VisitError(
            f"{given.__name__} is a class, not a tokenizer: pass what "
            f"{given.__name__}.from_pretrained(…) gives."
        )
    if _is_module(given):
        raise VisitError(
            f"{type(given).__name__} stands where the tokenizer belongs: pass the model first, "
            "then the tokenizer, then the prompt."
        )
    inner = _tokenizer_in(given)
    if inner is None:
        return given
    return _with_template(inner, getattr(given, "chat_template", None))


def _tokenizer_in(given: Any) -> Any:
    """The tokenizer that a processor (or a pipeline) holds; None where there is none, or what holds
    it is a tokenizer itself.
    """
    if hasattr(given, "convert_ids_to_tokens"):
        return None
    inner = getattr(given, "tokenizer", None)
    # Some processors hold processors.
    return None if inner is None else _tokenizer_in(inner) or inner


def _with_template(tokenizer: Any, template: Any) -> Any:
    """The tokenizer, knowing the processor's chat template where it has none of its own."""
    if template is None or getattr(tokenizer, "chat_template", template) is not None:
        return tokenizer
    import copy

    knowing = copy.copy(tokenizer)
    knowing.chat_template = template
    return knowing


def _is_tokenizer(given: Any) -> bool:
    if isinstance(given, PreTrainedTokenizerBase) or hasattr(given, "convert_ids_to_tokens"):
        return True
    return not _is_module(given) and _tokenizer_in(given) is not None


def _is_module(given: Any) -> bool:
    return isinstance(given, nn.Module)


def _models_in(given: Any) -> Iterator[str]:
    """Where a wrapper keeps a model of transformers, outermost first: dotted names."""
    if _is_module(given):
        found = ((n, m) for n, m in given.named_modules() if isinstance(m, PreTrainedModel))
        yield from (name for name, module in found if _head_of(module) is not None)
        return
    for name, value in vars(given).items() if hasattr(given, "__dict__") else ():
        if isinstance(value, PreTrainedModel):
            yield name


def _head_of(model: PreTrainedModel) -> nn.Module | None:
    try:
        head: nn.Module | None = model.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    return head


def _decoder_of(model: PreTrainedModel) -> str:
    """What to load in the place of an encoder–decoder."""
    decoder = getattr(model, "decoder", None)
    if isinstance(decoder, PreTrainedModel) and _head_of(decoder) is not None:
        return (
            f"Pass model.decoder, a {type(decoder).__name__}, to trace that alone, without what "
            "the encoder gives it."
        )
    kind = str(getattr(model.config, "model_type", ""))
    own = _causal_class(kind)
    if own is not None:
        return (
            f"To trace its decoder alone, without what the encoder gives it, load {own} from the "
            "same checkpoint."
        )
    return "Load a decoder with AutoModelForCausalLM."


def _with_head(model: PreTrainedModel, kind: str) -> str:
    """What to load in the place of a model without a head."""
    own = _causal_class(kind) or _class_in("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES", kind)
    if own is None:
        return (
            f"there is none for models of its kind ({kind}). Load a language model, with "
            "AutoModelForCausalLM."
        )
    if own == type(model).__name__:
        return "load it anew, with AutoModelForCausalLM."
    return f"load {own} from the checkpoint (AutoModelForCausalLM does)."


def _causal_class(kind: str) -> str | None:
    return _class_in("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", kind)


def _class_in(table: str, kind: str) -> str | None:
    found = getattr(modeling_auto, table, {}).get(kind)
    return found if isinstance(found, str) or found is None else str(found[0])


def _configs_in(config: Any) -> Iterator[Any]:
    """A config, and those in it."""
    todo, seen = [config], set()
    while todo:
        one = todo.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [v for v in vars(one).values() if isinstance(v, PretrainedConfig)]
