"""Tokens as a person reads them."""

from __future__ import annotations

import unicodedata
import weakref
from functools import lru_cache
from typing import Any

SPACE, NEWLINE, TAB = "␣", "⏎", "⇥"
_NAMED = {" ": SPACE, "\n": NEWLINE, "\t": TAB}


def token_texts(tokenizer: Any, ids: list[int]) -> list[str]:
    r"""What each token stands for, shown so that nothing is invisible.

    A leading space is shown as ␣, a newline as ⏎, a tab as ⇥; other control characters and bytes
    that are no whole character as ``\xNN``; never a replacement mark. Without a tokenizer a token
    is ``#id``.
    """
    if tokenizer is None:
        return [f"#{i}" for i in ids]
    reader = _readers.get(tokenizer)
    if reader is None or reader.size != len(tokenizer):
        reader = _readers[tokenizer] = _Reader(tokenizer)
    return reader.read(tokenizer, ids)


class _Reader:
    """Reads one tokenizer's tokens, each once."""

    def __init__(self, tokenizer: Any) -> None:
        self.size = len(tokenizer)
        self.kind = _guess_kind(tokenizer)
        self.special = set(getattr(tokenizer, "all_special_ids", ()))
        # Added tokens are plain text in a vocabulary that spells the others in stand-ins for bytes.
        added = getattr(tokenizer, "added_tokens_decoder", ()) if self.kind == "bytes" else ()
        self.added = set(added)
        self.texts: dict[int, str] = {}

    def read(self, tokenizer: Any, ids: list[int]) -> list[str]:
        new = [i for i in ids if i not in self.texts]
        pieces = tokenizer.convert_ids_to_tokens(new)
        self.texts.update({i: self._text(i, p) for i, p in zip(new, pieces, strict=True)})
        return [self.texts[i] for i in ids]

    def _text(self, token: int, piece: Any) -> str:
        if piece is None:
            return f"#{token}"
        if token in self.special:
            return str(piece)
        return visible(_piece_bytes(str(piece), "plain" if token in self.added else self.kind))


# Keyed by tokenizer, which its reader does not hold on to.
_readers: weakref.WeakKeyDictionary[Any, _Reader] = weakref.WeakKeyDictionary()


def visible(raw: bytes) -> str:
    """The bytes as text, with what a page would swallow or mangle spelled out."""
    text = raw.decode("utf-8", errors="surrogateescape")
    shown = []
    for at, char in enumerate(text):
        if char == " ":
            # Only a space at the rim, or next to another, can be overlooked.
            rim = at == 0 or at == len(text) - 1 or text[at - 1] == " " or text[at + 1] == " "
            shown.append(SPACE if rim else char)
        elif char in _NAMED:
            shown.append(_NAMED[char])
        elif 0xDC80 <= ord(char) <= 0xDCFF:
            shown.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif char == "�" or unicodedata.category(char) in (
            "Cc",
            "Cf",
            "Cs",
            "Co",
            "Cn",
            "Zl",
            "Zp",
        ):
            shown.append("".join(f"\\x{b:02x}" for b in char.encode("utf-8", "surrogatepass")))
        elif unicodedata.category(char) == "Zs":
            shown.append(f"\\u{ord(char):04x}")
        elif unicodedata.combining(char) and at == 0:
            shown.append("◌" + char)
        else:
            shown.append(char)
    return "".join(shown)


def _guess_kind(tokenizer: Any) -> str:
    vocabulary = _vocabulary_sample(tokenizer)
    if any("Ġ" in piece for piece in vocabulary):
        return "bytes"
    if any("▁" in piece for piece in vocabulary):
        return "sentencepiece"
    if any(piece.endswith("</w>") for piece in vocabulary):
        return "wordpiece"
    return "plain"


def _vocabulary_sample(tokenizer: Any) -> list[str]:
    size = len(tokenizer)
    step = max(1, size // 2000)
    return [str(p) for p in tokenizer.convert_ids_to_tokens(list(range(0, size, step)))]


def _piece_bytes(piece: str, kind: str) -> bytes:
    if kind == "bytes":
        alphabet = _byte_alphabet()
        if all(char in alphabet for char in piece):
            return bytes(alphabet[char] for char in piece)
        return piece.encode()
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        return bytes([int(piece[3:5], 16)])
    if kind == "sentencepiece":
        return piece.replace("▁", " ").encode()
    if kind == "wordpiece":
        return piece.replace("</w>", " ").encode()
    return piece.encode()


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
