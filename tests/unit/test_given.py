"""What users hand over as model and tokenizer: traced, or a sentence that says what it is and what
to load.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as tf
from torch import nn

import visit_widget as vw
from tests.families.configs import PROMPT, config_of
from tests.tiny import make_speaker, tokenizer

TEXT = "the cat"
SMALL: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 64,
}  # fmt: skip
BART: dict[str, Any] = {
    "vocab_size": 97, "d_model": 32, "encoder_layers": 1, "decoder_layers": 2,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
T5: dict[str, Any] = {
    "vocab_size": 97, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
}  # fmt: skip
DISTIL = {"dim": 32, "n_layers": 1, "n_heads": 4, "hidden_dim": 48}
WHISPER = {**BART, "num_mel_bins": 8}
BERT: dict[str, Any] = {**SMALL, "type_vocab_size": 2}


def built(name: str, config: str, **sizes: Any) -> Any:
    return getattr(tf, name)(getattr(tf, config)(**sizes)).eval()


def refusal(model: Any, tokenizer: Any = None, prompt: Any = PROMPT) -> str:
    """The sentence with which `trace` refuses; the widget does too."""
    with pytest.raises(vw.VisitError) as traced:
        vw.trace(model, tokenizer, prompt)
    with pytest.raises(vw.VisitError):
        vw.visit(model, tokenizer, prompt)
    return str(traced.value)


# Encoder–decoders, encoders, classifiers.


@pytest.mark.parametrize(
    ("name", "config", "sizes", "load"),
    [
        ("T5ForConditionalGeneration", "T5Config", T5, "AutoModelForCausalLM"),
        ("MT5ForConditionalGeneration", "MT5Config", T5, "AutoModelForCausalLM"),
        ("T5Model", "T5Config", T5, "AutoModelForCausalLM"),
        ("BartForConditionalGeneration", "BartConfig", BART, "BartForCausalLM"),
        ("BartForSequenceClassification", "BartConfig", BART, "BartForCausalLM"),
        ("MBartForConditionalGeneration", "MBartConfig", BART, "MBartForCausalLM"),
        ("MarianMTModel", "MarianConfig", BART, "MarianForCausalLM"),
        ("PegasusForConditionalGeneration", "PegasusConfig", BART, "PegasusForCausalLM"),
        ("WhisperForConditionalGeneration", "WhisperConfig", WHISPER, "WhisperForCausalLM"),
    ],
)  # fmt: skip
def test_an_encoder_decoder_is_told_what_to_load(
    name: str, config: str, sizes: dict[str, Any], load: str
) -> None:
    said = refusal(built(name, config, **sizes))
    assert said.startswith(f"{name} is an encoder–decoder")
    assert load in said


def test_an_encoder_decoder_wrapper_is_told_that_its_decoder_can_be_traced() -> None:
    encoder = built("BertModel", "BertConfig", **BERT)
    decoder = tf.GPT2LMHeadModel(
        tf.GPT2Config(
            vocab_size=97, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2,
            add_cross_attention=True,
        )
    )  # fmt: skip
    model = tf.EncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    said = refusal(model)
    assert "encoder–decoder" in said
    assert "model.decoder, a GPT2LMHeadModel" in said
    assert vw.trace(model.decoder, None, PROMPT).audit().exact


@pytest.mark.parametrize(
    ("name", "config", "sizes", "load"),
    [
        ("LlamaForSequenceClassification", "LlamaConfig", SMALL, "LlamaForCausalLM"),
        ("LlamaForTokenClassification", "LlamaConfig", SMALL, "LlamaForCausalLM"),
        ("LlamaForQuestionAnswering", "LlamaConfig", SMALL, "LlamaForCausalLM"),
        ("LlamaModel", "LlamaConfig", SMALL, "LlamaForCausalLM"),
        ("Qwen2ForSequenceClassification", "Qwen2Config", SMALL, "Qwen2ForCausalLM"),
        ("GPT2Model", "GPT2Config", {"n_embd": 32, "n_layer": 1, "n_head": 4}, "GPT2LMHeadModel"),
        ("BertModel", "BertConfig", BERT, "BertLMHeadModel"),
        ("DistilBertForSequenceClassification", "DistilBertConfig", DISTIL, "AutoModelForCausalLM"),
    ],
)  # fmt: skip
def test_a_model_without_a_language_model_head_is_told_which_class_has_one(
    name: str, config: str, sizes: dict[str, Any], load: str
) -> None:
    said = refusal(built(name, config, **sizes))
    assert said.startswith(f"{name} has no language-model head")
    assert load in said


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("BertForMaskedLM", "BertConfig"),
        ("RobertaForMaskedLM", "RobertaConfig"),
        ("DistilBertForMaskedLM", "DistilBertConfig"),
        ("ModernBertForMaskedLM", "ModernBertConfig"),
    ],
)
def test_an_encoder_is_told_that_it_is_one(name: str, config: str) -> None:
    sizes = {**BERT, "dim": 32, "hidden_dim": 48, "n_heads": 4, "n_layers": 1}
    if config == "ModernBertConfig":
        sizes.update(pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2)
    said = refusal(built(name, config, **sizes))
    assert said.startswith(f"{name} is an encoder")
    assert "AutoModelForCausalLM" in said


def test_a_model_that_reads_pictures_only_is_refused_in_a_sentence() -> None:
    model = built(
        "ViTForImageClassification", "ViTConfig", hidden_size=32, num_hidden_layers=1,
        num_attention_heads=4, intermediate_size=48, image_size=8, patch_size=4,
    )  # fmt: skip
    assert "no language-model head" in refusal(model)


def test_a_second_head_beside_the_language_model_head_is_no_hindrance() -> None:
    model = built(
        "GPT2DoubleHeadsModel", "GPT2Config", vocab_size=97, n_embd=32, n_layer=2, n_head=4,
        bos_token_id=1, eos_token_id=2, num_labels=1,
    )  # fmt: skip
    assert vw.trace(model, None, PROMPT).audit().exact


# What is no model of transformers.


class Holder(nn.Module):
    """A wrapper of one's own: a value head, a training module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.pretrained_model = model


def elsewhere(module: str, name: str, **attributes: Any) -> Any:
    return type(name, (), {"__module__": module, **attributes})()


GIVEN: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: None, r"none was given.*AutoModelForCausalLM"),
    "a name": (lambda: "gpt2", r"not the name 'gpt2'.*from_pretrained"),
    "a path": (lambda: Path("models/own"), r"not the name 'models/own'.*from_pretrained"),
    "a class": (lambda: tf.LlamaForCausalLM, r"is a class.*LlamaForCausalLM\.from_pretrained"),
    "a config": (tf.LlamaConfig, r"config.*no weights.*from_pretrained"),
    "weights": (lambda: nn.Linear(2, 2).state_dict(), r"weights without a model.*load_state_dict"),
    "a pipeline": (
        lambda: tf.pipeline("text-generation", model=make_speaker(), tokenizer=tokenizer()),
        r"TextGenerationPipeline, which holds one: pass its \.model, and its \.tokenizer",
    ),
    "a wrapper": (lambda: Holder(make_speaker()), r"Holder.*pass its \.pretrained_model\."),
    "a holder": (lambda: SimpleNamespace(lm=make_speaker()), r"holds one: pass its \.lm\."),
    "a tokenizer": (tokenizer, r"stands where the model belongs: pass the model first"),
    "a processor": (
        lambda: SimpleNamespace(tokenizer=tokenizer()), r"stands where the model belongs",
    ),
    "vLLM": (lambda: elsewhere("vllm.entrypoints.llm", "LLM"), r"LLM.*vLLM.*AutoModelForCausalLM"),
    "llama.cpp": (
        lambda: elsewhere("llama_cpp.llama", "Llama", tokenizer=lambda self: None),
        r"llama\.cpp.*load the same weights with AutoModelForCausalLM",
    ),
    "a module": (lambda: nn.Linear(2, 2), r"not Linear: load one with AutoModelForCausalLM"),
    "a number": (lambda: 3, r"not int: load one with AutoModelForCausalLM"),
}  # fmt: skip


@pytest.mark.parametrize("what", GIVEN)
def test_something_else_than_a_model_is_told_what_to_pass(what: str) -> None:
    make, pattern = GIVEN[what]
    assert re.search(pattern, refusal(make(), tokenizer(), TEXT))


# Tokenizers, and what holds one.


class Processor:
    """Takes pictures first, as processors do."""

    def __init__(self, inner: Any, **more: Any) -> None:
        self.tokenizer = inner
        self.__dict__.update(more)

    def __call__(self, images: Any = None, text: Any = None, **more: Any) -> Any:
        return self.tokenizer(text, **more)

    def decode(self, *given: Any, **more: Any) -> Any:
        return self.tokenizer.decode(*given, **more)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_processor_is_asked_for_its_tokenizer(depth: int) -> None:
    given: Any = tokenizer()
    for _ in range(depth):
        given = Processor(given)
    model = make_speaker()
    trace = vw.trace(model, given, TEXT)
    assert trace.tokenizer is tokenizer()
    assert trace.input_ids.tolist() == tokenizer()(TEXT)["input_ids"]
    widget = vw.visit(model, given, TEXT, target=" dog")
    assert widget.prompt == TEXT
    widget.prompt = "the dog"
    assert not widget.status.get("error")
    assert widget.trace.input_ids.tolist() == tokenizer()("the dog")["input_ids"]


def test_a_processors_chat_template_goes_with_its_tokenizer() -> None:
    trace = vw.trace(make_speaker(), Processor(tokenizer(), chat_template="{{ 'the' }}"), TEXT)
    assert trace.tokenizer.chat_template == "{{ 'the' }}"
    assert getattr(tokenizer(), "chat_template", None) is None


@pytest.mark.parametrize(
    ("given", "pattern"),
    [
        ("gpt2", r"not the name 'gpt2'.*AutoTokenizer\.from_pretrained"),
        (tf.PreTrainedTokenizerFast, r"is a class.*from_pretrained"),
        (nn.Linear(2, 2), r"Linear stands where the tokenizer belongs: pass the model first"),
    ],
    ids=["name", "class", "module"],
)
def test_something_else_than_a_tokenizer_is_told_what_to_pass(given: Any, pattern: str) -> None:
    assert re.search(pattern, refusal(make_speaker(), given, TEXT))


# Models of pictures, sounds and text, given text alone.

ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}}
VISUAL = [
    ("Qwen2VLForConditionalGeneration", "qwen2_vl", {"text_config": ROPE}),
    (
        "Qwen2_5_VLForConditionalGeneration",
        "qwen2_5_vl",
        {"text_config": ROPE},
    ),
    ("Qwen3VLForConditionalGeneration", "qwen3_vl", {}),
    ("LlavaForConditionalGeneration", "llava", {}),
    ("Gemma3ForConditionalGeneration", "gemma3", {}),
    ("MllamaForConditionalGeneration", "mllama", {}),
    ("SmolVLMForConditionalGeneration", "smolvlm", {}),
    ("InternVLForConditionalGeneration", "internvl", {}),
    ("Mistral3ForConditionalGeneration", "mistral3", {}),
    ("Llama4ForConditionalGeneration", "llama4", {}),
    ("Phi4MultimodalForCausalLM", "phi4_multimodal", {}),
    ("Qwen2AudioForConditionalGeneration", "qwen2_audio", {}),
]


@pytest.mark.parametrize(("name", "kind", "changes"), VISUAL, ids=[k for _, k, _ in VISUAL])
def test_a_model_of_pictures_or_sounds_is_traced_on_text(
    name: str, kind: str, changes: dict[str, Any]
) -> None:
    if not hasattr(tf, name):
        pytest.skip(f"this version of transformers has no {name}")
    if int(tf.__version__.partition(".")[0]) < 5:
        pytest.skip("the small configs are of later versions: these models would take gigabytes")
    torch.manual_seed(0)
    model = getattr(tf, name)(config_of(kind, **changes)).eval()
    try:
        with torch.no_grad():
            says = model(input_ids=torch.tensor([PROMPT]), use_cache=False).logits[0, -1]
    except AttributeError as error:  # Llama 4 in 5.24, which asks its text model for pictures
        pytest.skip(f"transformers {tf.__version__} does not run it on text: {error}")
    trace = vw.trace(model, None, PROMPT)
    assert trace.audit().exact
    for position in (-1, 2):
        assert trace.flow(position, layers=[0]).nodes
    total = sum(trace.logit_parts(int(says.argmax()), by="head").values())
    assert total == pytest.approx(float(says.max()), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("place", "key", "value", "what"),
    [
        ("", "image_token_id", 17, "an image"),
        ("", "image_token_index", 17, "an image"),
        ("", "video_token_id", 17, "a video"),
        ("", "audio_token_id", 17, "a sound"),
        ("", "boi_token_index", 17, "an image"),
        ("", "eoi_token_id", 17, "an image"),
        ("vision_config", "image_token_id", 17, "an image"),
        ("", "vision_start_token_id", 17, "an image"),
        ("", "image_token_ids", [5000, 17], "an image"),
    ],
)
def test_placeholders_of_pictures_and_sounds_are_told_to_be_left_out(
    place: str, key: str, value: Any, what: str
) -> None:
    model = make_speaker("llama")
    config = model.config
    if place:
        setattr(config, place, tf.PretrainedConfig())
        config = getattr(config, place)
    setattr(config, key, value)
    said = refusal(model, None, [3, 17, 5])
    assert said.startswith(f"Token 17 of the prompt stands for {what} ({key}")
    assert "leave such tokens out" in said
    assert len(vw.trace(model, None, [3, 16, 5])) == 3


def test_the_usual_special_tokens_are_no_placeholders() -> None:
    model = make_speaker("llama")
    model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id = 1, 2, 3
    assert len(vw.trace(model, None, [1, 3, 2])) == 3
