"""Text to token ids and back, with whatever serves as a tokenizer: those of transformers, fast and
slow, of `tokenizers`, and objects that only encode and decode, as tiktoken's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import VisitError


def encode(tokenizer: Any, text: str, special: bool | None = None) -> list[int]:
    """The token ids of a text.

    Args:
        tokenizer: the tokenizer.
        text: special tokens in it are read as the tokenizer reads them.
        special: whether special tokens are put around it; as the tokenizer does by default.

    Raises:
        VisitError: the tokenizer cannot read a text.
    """
    options = {} if special is None else {"add_special_tokens": special}
    ways: list[tuple[Callable[..., Any], dict[str, Any]]] = []
    if callable(tokenizer):
        ways += [(tokenizer, options), (tokenizer, {})]
        if special is not None:
            ways.insert(1, (lambda t, **o: tokenizer(text=t, **o), options))
        else:
            ways.append((lambda t: tokenizer(text=t), {}))
    encoder = getattr(tokenizer, "encode", None)
    if callable(encoder):
        # tiktoken refuses texts of special tokens unless told to read them.
        ways += [
            (encoder, options), (encoder, {"allowed_special": "all"}), (encoder, {}),
        ]  # fmt: skip
        bos_eos = {"bos": bool(special), "eos": False}
        ways.append((encoder, bos_eos))
    for way, given in ways:
        try:
            ids = _ids_in(way(text, **given))
        except (TypeError, ValueError, AttributeError, KeyError):
            continue
        if ids is not None:
            return ids
    raise VisitError(
        f"{type(tokenizer).__name__} gives no token ids for a text: pass the model's tokenizer, or "
        "token ids."
    )


def decode(tokenizer: Any, ids: list[int]) -> str:
    """The text of token ids, special tokens and all spaces in it."""
    decoder = getattr(tokenizer, "decode", None)
    if not callable(decoder):
        return ""
    options: list[dict[str, Any]] = [
        {"skip_special_tokens": False, "clean_up_tokenization_spaces": False},
        {"skip_special_tokens": False},
        {},
    ]
    for given in options:
        try:
            return str(decoder(list(ids), **given))
        except TypeError:
            continue
        except (ValueError, KeyError, IndexError, OverflowError):
            return ""
    return ""


def special_id(tokenizer: Any, name: str) -> int | None:
    """The id of a special token: "bos", "eos" or "pad"; None where there is none."""
    for attribute in (f"{name}_token_id", f"{name}_id"):
        found = getattr(tokenizer, attribute, None)
        if callable(found):
            found = found()
        if isinstance(found, int) and not isinstance(found, bool) and found >= 0:
            return found
    return None


def _ids_in(found: Any) -> list[int] | None:
    """The ids in what a tokenizer gave for one text."""
    if hasattr(found, "keys") and "input_ids" in found:
        found = found["input_ids"]
    elif hasattr(found, "ids"):
        found = found.ids
    if hasattr(found, "tolist"):
        found = found.tolist()
    if isinstance(found, (list, tuple)) and len(found) == 1 and isinstance(found[0], (list, tuple)):
        found = found[0]
    if not isinstance(found, (list, tuple)) or not all(hasattr(i, "__index__") for i in found):
        return None
    return [int(i) for i in found]
