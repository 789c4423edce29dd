"""What every test may ask for: the demo model, and a tiny model with its tokenizer in a folder."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Before transformers is imported: no test may reach for the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEMO_PROMPT = "The capital of Japan is the city of"
TINY_WORDS = ("the", "cat", "sat", "on", "a", "mat", "dog", "ran", "to", "city", "red", "blue")


@pytest.fixture(autouse=True)
def no_lenses_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Which lens is the default hangs on what has been fitted: here, nothing."""
    from visit_widget.lens import files, kept

    folder = tmp_path_factory.getbasetemp() / f"cache-{uuid.uuid4()}"
    monkeypatch.setattr(files, "cache_folder", lambda: folder)
    kept._kept.clear()


@pytest.fixture(autouse=True, scope="session")
def hooks_only_where_a_model_is_held() -> Iterator[None]:
    """Whatever the package hooks onto a model, another thread's pass would meet: it must hold the
    model, in every test.
    """
    from torch import nn

    from visit_widget.model import exclusive

    def guarded(name: str) -> Callable[..., object]:
        register = getattr(nn.Module, name)

        def checked(module: nn.Module, hook: object, *args: object, **options: object) -> object:
            ours = sys._getframe(1).f_globals["__name__"].startswith("visit_widget.")
            if ours and not exclusive.is_door(hook) and not exclusive._held:
                raise AssertionError(f"a hook is put on a {type(module).__name__} nobody holds")
            return register(module, hook, *args, **options)

        return checked

    with pytest.MonkeyPatch.context() as patch:
        for name in ("register_forward_hook", "register_forward_pre_hook"):
            patch.setattr(nn.Module, name, guarded(name))
        yield


@pytest.fixture(scope="session")
def demo() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The demo model and its tokenizer, from the user's cache."""
    from visit_widget.model.demo import load_demo

    return load_demo()


@pytest.fixture(scope="session")
def make_tiny() -> Callable[..., tuple[PreTrainedModel, PreTrainedTokenizerBase]]:
    """Builds a random two-layer model ("gpt2" or "llama") with a tokenizer of a few words."""
    return build_tiny


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a saved tiny Llama and its tokenizer, as `--model PATH` takes it."""
    folder = tmp_path_factory.mktemp("tiny-llama")
    model, tokenizer = build_tiny("llama")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build_tiny(family: str = "llama") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    tokenizer = word_tokenizer()
    torch.manual_seed(0)
    if family == "gpt2":
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=32, n_embd=16, n_layer=2, n_head=2
        )
        return GPT2LMHeadModel(config).eval(), tokenizer
    llama = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
    )
    return LlamaForCausalLM(llama).eval(), tokenizer


def word_tokenizer() -> PreTrainedTokenizerBase:
    """A byte-level tokenizer that knows whole words with their leading space, as GPT-2's does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sentences = [" ".join(TINY_WORDS), *(f" {word}" for word in TINY_WORDS)] * 4
    tokenizer.train_from_iterator(sentences, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|end|>", eos_token="<|end|>"
    )
