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
from collections.abc import Sequence
from typing import Any

from .pieces import bytes_of, pieces_of, size_of, spelling_of

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
# A word after a space or none, with nothing in it to think about.
_PLAIN = re.compile(r"( ?)([!-\[\]-~À-ʯΑ-ΡΣ-ωА-яぁ-ゖァ-ヺ一-龥가-힣]+)")


def token_texts(tokenizer: Any, ids: Sequence[int], n_vocab: int = 0) -> list[str]:
    """What each token stands for, shown so that nothing is invisible and no two are alike; ``#id``
    for a token without a text, and without a tokenizer.

    Args:
        tokenizer: the tokenizer, or None.
        ids: the tokens.
        n_vocab: how many tokens the model has, if more than the tokenizer says it knows.
    """
    if tokenizer is None:
        return [f"#{i}" for i in ids]
    reader = _reader_of(tokenizer, n_vocab)
    return [reader.text(i) for i in ids]


def token_shown(tokenizer: Any, text: str, n_vocab: int) -> int | None:
    """The token that is shown as a text, or as the text's spaces at its rim are; None for none."""
    index = _reader_of(tokenizer, n_vocab).index
    return index.get(text, index.get(visible(text.encode("utf-8", "surrogatepass"))))


class _Reader:
    """One tokenizer's tokens, each with a text of its own.

    Of several that stand for the same text, it belongs to the one that texts are read as; the
    others (a byte beside its character, an added token beside a word) bear their number as well.

    Attributes:
        size: how many tokens the tokenizer said it has.
        texts: of each of the vocabulary's tokens, what is shown.
        index: {what is shown: the token}.
    """

    def __init__(self, tokenizer: Any, size: int, n_vocab: int) -> None:
        self.size = size
        self.texts: list[str] = [""] * n_vocab
        self.index: dict[str, int] = {}
        spelling = spelling_of(tokenizer, size or n_vocab)
        special = set(getattr(tokenizer, "all_special_ids", None) or ())
        # Added tokens are plain text, whatever the others are spelled in.
        written = special | set(getattr(tokenizer, "added_tokens_decoder", None) or ())
        others: list[tuple[int, str]] = []
        for token, piece in enumerate(pieces_of(tokenizer, range(n_vocab))):
            if piece is None or piece in ("", b""):
                others.append((token, f"#{token}"))
            elif token in written:
                others.append((token, visible(str(piece).encode("utf-8", "surrogatepass"))))
            else:
                raw, usual = bytes_of(piece, spelling)
                text = visible(raw) or f"#{token}"
                if usual and text not in self.index:
                    self._name(token, text)
                else:
                    others.append((token, text))
        for token, text in others:
            while text in self.index:
                text = f"{text}#{token}"
            self._name(token, text)

    def _name(self, token: int, text: str) -> None:
        self.texts[token] = text
        self.index[text] = token

    def text(self, token: int) -> str:
        return self.texts[token] if 0 <= token < len(self.texts) else f"#{token}"


# Keyed by tokenizer, which its reader does not hold on to.
_readers: weakref.WeakKeyDictionary[Any, _Reader] = weakref.WeakKeyDictionary()
# Of the tokenizers that cannot be keys, the one last read.
_last: list[tuple[Any, _Reader]] = []


def _reader_of(tokenizer: Any, n_vocab: int) -> _Reader:
    size = size_of(tokenizer)
    # Those that are compared by their content, or not at all, are told apart by themselves.
    key = not any("__eq__" in vars(kind) for kind in type(tokenizer).__mro__[:-1])
    if key:
        try:
            reader = _readers.get(tokenizer)
        except TypeError:
            key, reader = False, None
    if not key:
        reader = next((r for known, r in _last if known is tokenizer), None)
    if reader is not None and reader.size == size and len(reader.texts) >= n_vocab:
        return reader
    reader = _Reader(tokenizer, size, max(size, n_vocab))
    if key:
        _readers[tokenizer] = reader
    else:
        _last[:] = [(tokenizer, reader)]
    return reader


def visible(raw: bytes) -> str:
    """The bytes as text, with what a page would swallow or mangle spelled out; no two alike."""
    text = raw.decode("utf-8", errors="surrogateescape")
    if (plain := _PLAIN.fullmatch(text)) is not None:
        return SPACE + plain[2] if plain[1] else text
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
