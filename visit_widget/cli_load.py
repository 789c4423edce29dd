"""Loading what `--model` names, as the command's other arguments say."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli_sentences import sentence_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEMO = "demo"
DTYPES = ("auto", "float32", "bfloat16", "float16")


class CommandError(Exception):
    """The command cannot be carried out; the message is the one sentence that the user reads."""


@dataclass(frozen=True)
class Wanted:
    """A model as it was asked for.

    Attributes:
        name: "demo", a folder, a GGUF file, or a model of the hub.
        gguf_file: the GGUF file in a folder or in a model of the hub.
        device: where it is to compute; None where it comes to lie.
        dtype: one of DTYPES.
        trust: whether its own code may run.
    """

    name: str = DEMO
    gguf_file: str | None = None
    device: str | None = None
    dtype: str = "auto"
    trust: bool = False

    def place(self) -> tuple[str, str | None]:
        """The folder or the model of the hub, and the GGUF file in it."""
        path = Path(self.name)
        if self.gguf_file is None and path.suffix.lower() == ".gguf":
            if path.is_file():
                return str(path.parent), path.name
            repository, colon, file = self.name.rpartition(":")
            # A single letter is a drive.
            if colon and len(repository) > 1:
                return repository, file
            raise CommandError(f"there is no file '{self.name}'")
        return self.name, self.gguf_file


def load_model(wanted: Wanted) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads the demo model, a folder, a GGUF file, or a model of the hub.

    Raises:
        CommandError: it cannot be loaded; the message says what to do.
    """
    check_device(wanted.device)
    if wanted.name == DEMO and wanted.gguf_file is None and not Path(wanted.name).is_dir():
        from .model.demo import load_demo

        model, tokenizer = load_demo()
        if wanted.dtype != "auto":
            model = model.to(_dtype(wanted.dtype))
        return _on_device(model, wanted), tokenizer

    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import enable_progress_bars
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    logging.disable_progress_bar()
    enable_progress_bars()  # of these two, only downloads take long enough
    place, file = wanted.place()
    if Path(place).is_file():
        raise CommandError(
            f"'{place}' is a file: name the folder that the model is in, or a file that ends in "
            ".gguf"
        )
    shared: dict[str, Any] = {"trust_remote_code": wanted.trust}
    if file is not None:
        _check_gguf(wanted.name)
        shared["gguf_file"] = file
    try:
        model = AutoModelForCausalLM.from_pretrained(
            place, **shared, **{_dtype_name(): _dtype(wanted.dtype)}
        )
        tokenizer = AutoTokenizer.from_pretrained(place, **shared)
    except Exception as error:  # loaders fail in many ways; all of them are told
        raise CommandError(sentence_of(error, wanted.name, wanted.device)) from error
    return _on_device(model, wanted), tokenizer


def check_device(device: str | None) -> None:
    """Refuses, before any long work, a device that is not there.

    Raises:
        CommandError: it is not.
    """
    if device is None:
        return
    import torch

    try:
        torch.empty(0, device=torch.device(device))
    except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
        here = ["cpu"]
        if torch.cuda.is_available():
            here += ["cuda", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
        if torch.backends.mps.is_available():
            here.append("mps")
        raise CommandError(
            f"there is no device '{device}' that torch can use here: pass --device "
            f"{' or '.join(here)}"
        ) from error
    if torch.device(device).type == "meta":
        raise CommandError("the device 'meta' holds no numbers: pass --device cpu")


def _on_device(model: Any, wanted: Wanted) -> Any:
    if wanted.device is None:
        return model
    try:
        return model.to(wanted.device)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise CommandError(sentence_of(error, wanted.name, wanted.device)) from error


def _check_gguf(name: str) -> None:
    from .model.demo import GGUF_READERS

    if missing := [package for package in GGUF_READERS if find_spec(package) is None]:
        raise CommandError(
            f"reading the GGUF file of '{name}' needs {' and '.join(missing)}: run 'pip install "
            f"{' '.join(missing)}'"
        )


def _dtype(name: str) -> Any:
    import torch

    return name if name == "auto" else getattr(torch, name)


def _dtype_name() -> str:
    """What the loaders call it."""
    version = tuple(int(part) for part in metadata.version("transformers").split(".")[:2])
    return "dtype" if version >= (4, 56) else "torch_dtype"
