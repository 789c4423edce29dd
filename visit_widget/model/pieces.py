"""A tokenizer's own pieces, and the bytes that they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")
_SPACE_MARK, _WORD_END = "▁", "</w>"


@dataclass(frozen=True)
class Spelling:
    """How a tokenizer spells bytes in its pieces.

    Attributes:
        stand_ins: each character stands for a byte, as in GPT-2.
        space: what stands for a space; "" for nothing.
        word_end: what stands for a space at the end; "" for nothing.
        fallback: whether ``<0xNN>`` is a byte.
    """

    stand_ins: bool = False
    space: str = ""
    word_end: str = ""
    fallback: bool = False


def tried(ask: Callable[..., T], *args: Any, **options: Any) -> T | None:
    """What a tokenizer gives, None where it raises: past the end of their vocabulary tokenizers
    raise anything, tiktoken what is no Exception at all.
    """
    try:
        return ask(*args, **options)
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException:  # noqa: BLE001 - as said above
        return None


def size_of(tokenizer: Any) -> int:
    """How many tokens the tokenizer says it has; 0 where it does not say."""
    found: Any = tried(len, tokenizer)
    for name in ("n_vocab", "vocab_size", "get_vocab_size", "get_piece_size", "n_words"):
        if isinstance(found, int) and found > 0:
            return found
        found = getattr(tokenizer, name, None)
        found = tried(found) if callable(found) else found
    return found if isinstance(found, int) and found > 0 else 0


def pieces_of(tokenizer: Any, ids: Sequence[int]) -> list[Any]:
    """The tokenizer's pieces, texts or bytes; None where it has none for an id."""
    many = getattr(tokenizer, "convert_ids_to_tokens", None)
    if callable(many):
        found: Any = tried(many, list(ids))
        if isinstance(found, list) and len(found) == len(ids):
            return found
    return [_piece(tokenizer, i) for i in ids]


def _piece(tokenizer: Any, token: int) -> Any:
    for name in (
        "convert_ids_to_tokens", "id_to_token", "decode_single_token_bytes", "id_to_piece",
        "IdToPiece",
    ):  # fmt: skip
        one = getattr(tokenizer, name, None)
        piece = tried(one, token) if callable(one) else None
        if isinstance(piece, (str, bytes)):
            return piece
    decoder = getattr(tokenizer, "decode", None)
    text = tried(decoder, [token]) if callable(decoder) else None
    # A part of a character comes out as a replacement mark, which says nothing.
    if not isinstance(text, str) or "\ufffd" in text:
        return None
    return text.encode("utf-8", "surrogatepass")


def spelling_of(tokenizer: Any, size: int) -> Spelling:
    """How the tokenizer spells, as its decoder says; told from its pieces where it has none.

    Args:
        tokenizer: the tokenizer.
        size: how many tokens it has.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    steps = [*_steps(getattr(backend, "decoder", None))]
    kinds = {str(step.get("type")) for step in steps}
    fallback = "ByteFallback" in kinds
    if "ByteLevel" in kinds:
        return Spelling(stand_ins=True)
    for step in steps:
        if step.get("type") == "Metaspace":
            return Spelling(space=str(step.get("replacement", _SPACE_MARK)), fallback=True)
        if step.get("type") == "BPEDecoder":
            return Spelling(word_end=str(step.get("suffix", _WORD_END)))
        if step.get("type") == "Replace" and step.get("content") == " ":
            pattern = step.get("pattern")
            mark = pattern.get("String") if isinstance(pattern, dict) else pattern
            if isinstance(mark, str) and mark:
                return Spelling(space=mark, fallback=fallback)
    if "WordPiece" in kinds:
        return Spelling()
    if getattr(tokenizer, "byte_decoder", None):
        return Spelling(stand_ins=True)
    return _guessed(tokenizer, size, fallback)


def _guessed(tokenizer: Any, size: int, fallback: bool) -> Spelling:
    sample = range(0, size, max(1, size // 2000))
    pieces = [p for p in pieces_of(tokenizer, sample) if isinstance(p, str)]
    marks = {
        "Ġ": sum("Ġ" in p or "Ċ" in p for p in pieces),
        _SPACE_MARK: sum(_SPACE_MARK in p for p in pieces),
        _WORD_END: sum(p.endswith(_WORD_END) for p in pieces),
    }
    most = max(marks, key=lambda mark: marks[mark])
    if not marks[most]:
        return Spelling(fallback=fallback)
    if most == "Ġ":
        return Spelling(stand_ins=True)
    if most == _WORD_END:
        return Spelling(word_end=_WORD_END)
    return Spelling(space=_SPACE_MARK, fallback=True)


def _steps(decoder: Any) -> Iterator[dict[str, Any]]:
    """What a decoder of `tokenizers` does, step by step."""
    state = tried(decoder.__getstate__) if hasattr(decoder, "__getstate__") else None
    if not isinstance(state, (bytes, str)):
        return
    todo = [tried(json.loads, state)]
    while todo:
        step = todo.pop(0)
        if isinstance(step, dict):
            yield step
            todo += step.get("decoders") or []


def bytes_of(piece: Any, spelling: Spelling) -> tuple[bytes, bool]:
    """The bytes that a piece stands for, and whether it is spelled as those of texts are: not one
    byte on its own, nor written in plain text among others that are not.
    """
    if isinstance(piece, bytes):
        return piece, True
    piece = str(piece)
    if spelling.stand_ins:
        alphabet = _byte_alphabet()
        if all(char in alphabet for char in piece):
            return bytes(alphabet[char] for char in piece), True
        return piece.encode("utf-8", "surrogatepass"), False
    if spelling.fallback and len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        byte = tried(int, piece[3:5], 16)
        if byte is not None:
            return bytes([byte]), False
    usual = True
    if spelling.space:
        usual = " " not in piece
        piece = piece.replace(spelling.space, " ")
    if spelling.word_end and piece.endswith(spelling.word_end):
        piece = piece.removesuffix(spelling.word_end) + " "
    return piece.encode("utf-8", "surrogatepass"), usual


@lru_cache(maxsize=1)
def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes: printable Latin-1 as itself, the rest from
    U+0100 on.
    """
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(b): b for b in itself}
    others = (b for b in range(256) if b not in set(itself))
    table.update({chr(0x100 + n): b for n, b in enumerate(others)})
    return table
