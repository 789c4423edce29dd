"""What the command says of a model that could not be loaded: one sentence, with what to do next.

Loaders fail in many ways, other ones in other versions, and wrap one error in another. What is
looked at is the whole chain of causes: the types in it by name, then the status and the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

# (what to install, how it shows in a message)
_PACKAGES = ("accelerate", "gguf", "sentencepiece", "tiktoken", "protobuf", "bitsandbytes")
_GATED = ("gated repo", "is gated", "access to model", "awaiting a review", "accept the conditions")
_NO_MODEL = (
    "is not a local folder and is not a valid model identifier", "not a valid model identifier",
    "repository not found", "repo id must",
)  # fmt: skip
_OFFLINE = (
    "couldn't connect", "can't load the model", "offline mode", "traffic has been disabled",
    "connection error", "name resolution", "max retries exceeded", "internet connection",
)  # fmt: skip
_INCOMPLETE = (
    "does not appear to have a file named", "no file named", "is not a valid json file",
    "unrecognized model in", "should have a `model_type` key", "can't load tokenizer",
    "does not contain", "no such file",
)  # fmt: skip


def sentence_of(error: BaseException, name: str, device: str | None = None) -> str:
    """What a user reads when loading a model failed.

    Args:
        error: what the loaders raised.
        name: the model as it was asked for.
        device: where it was to go.
    """
    chain = list(_chain(error))
    kinds = {kind.__name__ for one in chain for kind in type(one).__mro__}
    text = " ".join(" ".join(str(one).split()) for one in chain)
    low, folder = text.lower(), Path(name).exists()
    statuses = {_status(one) for one in chain}
    repository = name.rpartition(":")[0] or name  # of ID:FILE.gguf

    if missing := _missing_package(chain, text):
        return f"loading '{name}' needs {missing}: run 'pip install {missing}'"
    if "trust_remote_code" in low:
        return (
            f"'{name}' comes with code of its own, which would run here: read it, and pass "
            "--trust-remote-code if you trust it"
        )
    if "GatedRepoError" in kinds or any(words in low for words in _GATED):
        return (
            f"'{name}' is a gated model: accept its licence on https://huggingface.co/"
            f"{repository}, then log in with 'hf auth login' or set HF_TOKEN"
        )
    if "DisabledRepoError" in kinds:
        return f"'{name}' was disabled on the Hugging Face hub: choose another model"
    if "unrecognized configuration class" in low:
        return f"'{name}' is not a causal language model that transformers can load"
    if "does not recognize this architecture" in low or "not supported yet" in low:
        return (
            f"the architecture of '{name}' is one that this transformers does not know: run 'pip "
            "install --upgrade transformers', or pass --trust-remote-code if the model brings its "
            "own code"
        )
    if kinds & {"OutOfMemoryError", "MemoryError"} or "out of memory" in low:
        where = f" on {device}" if device else ""
        return (
            f"there is not enough memory{where} for '{name}': pass --dtype bfloat16, another "
            "--device, or a smaller model"
        )
    if folder:
        return _of_folder(name, kinds, low, text)
    if "RepositoryNotFoundError" in kinds or any(words in low for words in _NO_MODEL):
        return (
            f"no model '{name}' was found, neither as a folder nor on the Hugging Face hub (if it "
            "is private, log in with 'hf auth login')"
        )
    if 401 in statuses or 403 in statuses:
        return (
            f"the Hugging Face hub does not let you read '{name}': log in with 'hf auth login' or "
            "set HF_TOKEN, to an account that may"
        )
    unreached = {"OfflineModeIsEnabled", "ConnectionError", "ConnectError", "Timeout",
                 "LocalEntryNotFoundError", "TimeoutError", "ConnectTimeout"}  # fmt: skip
    if kinds & unreached or any(words in low for words in _OFFLINE):
        return (
            f"'{name}' is no folder and not among the models downloaded before, and the Hugging "
            "Face hub cannot be reached: connect (or unset HF_HUB_OFFLINE), or pass a folder"
        )
    if any(words in low for words in _INCOMPLETE) or "EntryNotFoundError" in kinds:
        return (
            f"'{name}' on the Hugging Face hub holds no complete model and tokenizer for "
            "transformers; for GGUF files, name the one to load: --model "
            f"{name}:FILE.gguf"
        )
    if "OSError" in kinds:
        return f"no model '{name}' was found, neither as a folder nor on the Hugging Face hub"
    return _otherwise(name, chain)


def _of_folder(name: str, kinds: set[str], low: str, text: str) -> str:
    kind = "file" if Path(name).is_file() else "folder"
    if "SafetensorError" in kinds or "UnpicklingError" in kinds or "magic" in low:
        return f"the weights in '{name}' are damaged, or were not downloaded whole: get them again"
    if any(words in low for words in _INCOMPLETE) or kinds & {"OSError", "HFValidationError"}:
        return f"the {kind} '{name}' holds no complete model and tokenizer"
    return f"the {kind} '{name}' holds no model that can be loaded ({_short(text)})"


def _otherwise(name: str, chain: list[BaseException]) -> str:
    first = chain[0]
    return f"'{name}' could not be loaded ({type(first).__name__}: {_short(str(first))})"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status of an answer."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status
    found = re.search(r"\b(401|403|404)\b (?:Client Error|Unauthorized|Forbidden)", str(error))
    return int(found[1]) if found else None


def _missing_package(chain: list[BaseException], text: str) -> str | None:
    """The package that is not installed, if that is what is wrong."""
    for error in chain:
        if isinstance(error, ImportError):
            said = re.search(r"pip install (?:-U |--upgrade )?[`'\"]?([\w.\[\]-]+)", str(error))
            if said and said[1] != "transformers":
                return said[1].rstrip(".")
            named = next((p for p in _PACKAGES if p in str(error).lower()), None)
            if named or error.name:
                return named or str(error.name).partition(".")[0]
    low = text.lower()
    for package in _PACKAGES:
        # What is said of a package that is there is something else.
        if (
            package in low
            and re.search(r"install|required|requires|need", low)
            and not _there(package)
        ):
            return package
    return None


def _there(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec({"protobuf": "google.protobuf"}.get(package, package)) is not None


def _short(text: str) -> str:
    return " ".join(text.split())[:160].rstrip(".")
