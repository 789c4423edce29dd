r"""Tokens as a person reads them, and back.

What is shown tells tokens apart: no two texts are shown alike, and nothing is invisible. A space at
the rim is ␣, a newline ⏎, a tab ⇥. Bytes that are no whole character, and control and format
characters, are spelled ``\xNN``; other spaces and what a page would draw as nothing (variation
selectors on their own, fillers) are numbers, ``\u3164``.
"""

from __future__ import annotations

import re
import unicodedata
import weakref
from contextlib import suppress
from functools import lru_cache
from typing import Any

SPACE, NEWLINE, TAB = "␣", "⏎", "⇥"
_NAMED = {" ": SPACE, "\n": NEWLINE, "\t": TAB}
_JOINER = "\u200d"
# What Unicode calls default-ignorable, besides format characters, and what looks like a blank.
_IGNORABLE = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x2800, 0x3164, 0xFFA0}
    | {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9)}
    | {*range(0xE0000, 0xE1000), *range(0x1D173, 0x1D17B), *range(0x1BCA0, 0x1BCA4)}
)
# Spelled byte by byte.
_BYTES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# A text that spells what is spelled out here.
_LOOKS_SPELLED = re.compile(r"\\(x([0189a-f][0-9a-f]|7f)|u[0-9a-f]{4}|U[0-9a-f]{8})")
_SELECTORS = range(0xFE00, 0xFE10)


def token_texts(tokenizer: Any, ids: list[int]) -> list[str]:
    """What each token stands for, shown so that nothing is invisible; ``#id`` for a token without a
    text, and without a tokenizer.
    """
    if tokenizer is None:
        return [f"#{i}" for i in ids]
    return _reader_of(tokenizer).read(tokenizer, ids)


def token_shown(tokenizer: Any, text: str, n_vocab: int) -> int | None:
    """The token that is shown as a text, or as the text's spaces at its rim are; None for none.

    Where several are (a word among the added tokens that is a word as well, say), the first.
    """
    index = _reader_of(tokenizer).index(tokenizer, n_vocab)
    return index.get(text, index.get(visible(text.encode("utf-8", "surrogatepass"))))


class _Reader:
    """Reads one tokenizer's tokens, each once."""

    def __init__(self, tokenizer: Any) -> None:
        self.size = _size(tokenizer)
        self.kind = _guess_kind(tokenizer, self.size)
        self.special = set(getattr(tokenizer, "all_special_ids", ()) or ())
        # Added tokens are plain text in a vocabulary that spells the others in stand-ins for bytes.
        added = getattr(tokenizer, "added_tokens_decoder", None) if self.kind == "bytes" else None
        self.added = set(added or ())
        self.texts: dict[int, str] = {}
        self._index: tuple[int, dict[str, int]] | None = None

    def read(self, tokenizer: Any, ids: list[int]) -> list[str]:
        new = list(dict.fromkeys(i for i in ids if i not in self.texts))
        for token, piece in zip(new, _pieces(tokenizer, new), strict=True):
            self.texts[token] = self._text(token, piece)
        return [self.texts[i] for i in ids]

    def index(self, tokenizer: Any, n_vocab: int) -> dict[str, int]:
        """{what is shown: the first token shown so}."""
        if self._index is None or self._index[0] != n_vocab:
            shown = self.read(tokenizer, list(range(n_vocab)))
            self._index = n_vocab, {text: i for i, text in reversed(list(enumerate(shown)))}
        return self._index[1]

    def _text(self, token: int, piece: Any) -> str:
        if piece is None or piece in ("", b""):
            return f"#{token}"
        if isinstance(piece, bytes):
            return visible(piece)
        if token in self.special and str(piece).isprintable() and not str(piece).isspace():
            return str(piece)
        kind = "plain" if token in self.added or token in self.special else self.kind
        return visible(_piece_bytes(str(piece), kind)) or f"#{token}"


# Keyed by tokenizer, which its reader does not hold on to.
_readers: weakref.WeakKeyDictionary[Any, _Reader] = weakref.WeakKeyDictionary()


def _reader_of(tokenizer: Any) -> _Reader:
    try:
        reader = _readers.get(tokenizer)
    except TypeError:  # it cannot be a key
        reader = getattr(tokenizer, "_visit_widget_reader", None)
    if reader is not None and reader.size == _size(tokenizer):
        return reader
    reader = _Reader(tokenizer)
    try:
        _readers[tokenizer] = reader
    except TypeError:
        with suppress(AttributeError):  # then it is read anew each time
            tokenizer._visit_widget_reader = reader
    return reader


def _size(tokenizer: Any) -> int:
    """How many tokens the tokenizer says it has."""
    try:
        return len(tokenizer)
    except TypeError:
        pass
    for name in ("n_vocab", "vocab_size", "get_vocab_size", "n_words"):
        found = getattr(tokenizer, name, None)
        try:
            found = found() if callable(found) else found
        except TypeError:
            continue
        if isinstance(found, int):
            return found
    return 0


def _pieces(tokenizer: Any, ids: list[int]) -> list[Any]:
    """The tokenizer's own pieces, texts or bytes; None where it has none for an id."""
    many = getattr(tokenizer, "convert_ids_to_tokens", None)
    if callable(many):
        try:
            found = many(ids)
            if isinstance(found, list) and len(found) == len(ids):
                return found
        except _NO_PIECE:
            pass
    return [_piece(tokenizer, i) for i in ids]


# What tokenizers raise past the end of their vocabulary; tiktoken panics with an error of its own.
_NO_PIECE = (LookupError, ValueError, TypeError, OverflowError, RuntimeError, AttributeError)


def _piece(tokenizer: Any, token: int) -> Any:
    for name in (
        "convert_ids_to_tokens", "id_to_token", "decode_single_token_bytes", "id_to_piece",
        "IdToPiece",
    ):  # fmt: skip
        one = getattr(tokenizer, name, None)
        if not callable(one):
            continue
        try:
            piece = one(token)
        except _NO_PIECE:
            continue
        if piece is not None:
            return piece
    decoder = getattr(tokenizer, "decode", None)
    if not callable(decoder):
        return None
    try:
        text = decoder([token])
    except _NO_PIECE:
        return None
    # A part of a character comes out as a replacement mark, which says nothing.
    return None if "\ufffd" in str(text) else str(text).encode()


def visible(raw: bytes) -> str:
    """The bytes as text, with what a page would swallow or mangle spelled out; no two alike."""
    text = raw.decode("utf-8", errors="surrogateescape")
    shown: list[str] = []
    stands = False  # whether the last character is drawn, so that a mark may be put on it
    for at, char in enumerate(text):
        spelled = _spelled(text, at, char, stands)
        shown.append(spelled)
        stands = spelled == char and char not in _NAMED
    return "".join(shown)


def _spelled(text: str, at: int, char: str, stands: bool) -> str:
    code, category = ord(char), unicodedata.category(char)
    if char == " ":
        # Only a space at the rim, or next to another, can be overlooked.
        rim = at == 0 or at == len(text) - 1 or text[at - 1] == " " or text[at + 1] == " "
        return SPACE if rim else char
    if char in _NAMED:
        return _NAMED[char]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    follows = text[at + 1 : at + 2]
    if char == _JOINER and stands and follows and unicodedata.category(follows) == "So":
        return char  # one emoji made of two
    if code in _SELECTORS and stands:
        return char  # how the character before it is drawn
    if char == "\ufffd" or category in _BYTES:
        return "".join(f"\\x{b:02x}" for b in char.encode("utf-8", "surrogatepass"))
    if category == "Zs" or code in _IGNORABLE:
        return _number(code)
    if category in ("Mn", "Mc", "Me") and not stands:
        return "◌" + char
    # What stands for something else here is told from it.
    if char in (SPACE, NEWLINE, TAB) or (char == "◌" and _is_mark(follows)):
        return _number(code)
    if char == "\\" and _LOOKS_SPELLED.match(text, at):
        return _number(code)
    return char


def _is_mark(char: str) -> bool:
    return bool(char) and unicodedata.category(char) in ("Mn", "Mc", "Me")


def _number(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _guess_kind(tokenizer: Any, size: int) -> str:
    step = max(1, size // 2000)
    pieces = [str(p) for p in _pieces(tokenizer, list(range(0, size, step))) if isinstance(p, str)]
    if any("Ġ" in piece for piece in pieces):
        return "bytes"
    if any("▁" in piece for piece in pieces):
        return "sentencepiece"
    if any(piece.endswith("</w>") for piece in pieces):
        return "wordpiece"
    return "plain"


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
