"""Words of the prompt that its tokens begin: a label such as ␣Jap can be told as ␣Japanese."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import Any

from ..trace import Trace

# Scripts that leave a space between words: elsewhere a run of letters is no word.
_SPACED = frozenset(
    {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "HEBREW", "ARABIC", "HANGUL", "ETHIOPIC"}
)
# A token that begins a word, and one that goes on with it: letters, with a space before, or after
# where the tokenizer spells the ends of words. One letter begins too many.
_FIRST = re.compile(r"␣?([^\W\d_]{2,})")
_NEXT = re.compile(r"([^\W\d_]+)(␣?)")
# What may stand beside a word: nothing of a number, a name in code, a mark, or a spelled-out byte.
_BEFORE, _AFTER = re.compile(r".*[^\w\\◌]", re.DOTALL), re.compile(r"[^\w\\◌]")


def words_begun(trace: Trace) -> dict[int, str]:
    """See `begun_words`; of a trace's prompt, and nothing where it has no tokenizer."""
    if trace.tokenizer is None:
        return {}
    ids = trace.input_ids.tolist()
    special = set(getattr(trace.tokenizer, "all_special_ids", None) or ())
    return begun_words(ids, trace.texts(ids), trace.prompt, special)


def begun_words(
    ids: Sequence[int], texts: Sequence[str], prompt: str, special: Collection[int] = ()
) -> dict[int, str]:
    """Which tokens of a prompt are the first piece of one word wherever they stand in it.

    A word is sure where it is letters alone, of a script that leaves spaces between words, and
    stands in the prompt between what is no letter; the last one only where something follows, for
    it may go on.

    Args:
        ids: the prompt's tokens.
        texts: what each is shown as.
        prompt: its text.
        special: tokens that are no text (a chat template's), which end words.

    Returns:
        {token: the whole word, as tokens are shown}: it starts with the token's own text.
    """
    shown = ["⏎" if i in special else text for i, text in zip(ids, texts, strict=True)]
    words: dict[int, set[str | None]] = {}
    for at, token in enumerate(ids):
        words.setdefault(token, set()).add(_word_at(shown, at))
    sure = {token: next(iter(found)) for token, found in words.items() if len(found) == 1}
    return {
        token: word for token, word in sure.items() if word is not None and _stands(word, prompt)
    }


def begun(top: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The token of a node's label, where it begins a word: all that the label takes to be told."""
    return [token for token in top[:1] if "word" in token]


def _word_at(shown: Sequence[str], at: int) -> str | None:
    """The word of several tokens that begins with one; None where there is no such."""
    first = _FIRST.fullmatch(shown[at])
    if first is None or not _is_spaced(first[1]):
        return None
    if at > 0 and not shown[at].startswith("␣") and not _BEFORE.fullmatch(shown[at - 1]):
        return None
    word, last = shown[at], at
    while last + 1 < len(shown) and (piece := _NEXT.fullmatch(shown[last + 1])):
        if not _is_spaced(piece[1]):
            return None
        word, last = word + piece[0], last + 1
        if piece[2]:
            return word
    if last == at or last + 1 == len(shown) or not _AFTER.match(shown[last + 1]):
        return None
    return word


def _stands(word: str, prompt: str) -> bool:
    """Whether a text has it as one word: some tokenizers do not say where spaces are."""
    return re.search(rf"(?<!\w){re.escape(word.strip('␣'))}(?!\w)", prompt) is not None


def _is_spaced(letters: str) -> bool:
    return all(unicodedata.name(letter, "").split(" ")[0] in _SPACED for letter in letters)
