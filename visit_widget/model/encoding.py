"""Text to token ids and back, with whatever serves as a tokenizer: those of transformers, fast and
slow, of `tokenizers`, and objects that only encode and decode, as tiktoken's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import VisitError
from .pieces import tried


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
    reason = ""
    for way, given in ways:
        try:
            ids = _ids_in(way(text, **given))
        except (TypeError, AttributeError, KeyError):
            continue  # it is called in another way
        except Exception as error:  # noqa: BLE001 - tokenizers raise anything
            reason = reason or " ".join(str(error).split())[:160]
            continue
        if ids is not None:
            return ids
    name = type(tokenizer).__name__
    if reason:
        shown = text if len(text) <= 40 else f"{text[:40]}…"
        raise VisitError(
            f"{name} cannot read {shown!r} ({reason}): write it in words that it knows, or pass "
            "token ids."
        )
    raise VisitError(
        f"{name} gives no token ids for a text: pass the model's tokenizer, or token ids."
    )


def put_around(tokenizer: Any, text: str) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after a text by itself."""
    try:
        bare, whole = encode(tokenizer, text, special=False), encode(tokenizer, text)
    except VisitError:
        return [], []
    return around(bare, whole)


def around(bare: list[int], whole: list[int]) -> tuple[list[int], list[int]]:
    """What stands before and after the bare ids in the whole; nothing where they are not in it."""
    more = len(whole) - len(bare)
    for start in range(more, -1, -1):
        if whole[start : start + len(bare)] == bare:
            return whole[:start], whole[start + len(bare) :]
    return [], []


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
        text = tried(decoder, list(ids), **given)
        if isinstance(text, str):
            return text
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
    """The ids in what a tokenizer gave for one text, without padding."""
    mask = None
    if hasattr(found, "keys") and "input_ids" in found:
        mask = found.get("attention_mask", None)
        found = found["input_ids"]
    elif hasattr(found, "ids"):
        mask, found = getattr(found, "attention_mask", None), found.ids
    ids, shown = _whole_numbers(found), _whole_numbers(mask)
    if ids is None or shown is None or len(shown) != len(ids):
        return ids
    return [i for i, keep in zip(ids, shown, strict=True) if keep]


def _whole_numbers(found: Any) -> list[int] | None:
    if hasattr(found, "tolist"):
        found = found.tolist()
    if isinstance(found, (list, tuple)) and len(found) == 1 and isinstance(found[0], (list, tuple)):
        found = found[0]
    if not isinstance(found, (list, tuple)) or not all(hasattr(i, "__index__") for i in found):
        return None
    return [int(i) for i in found]
