"""English words that carry grammar rather than meaning, to tell what a projection is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..model.encoding import decode

# Articles, pronouns, prepositions, conjunctions, auxiliaries and particles: the closed classes.
_WORDS = """
a about above across after again against all along also although always am among an and
another any anyone anything are around as at away back be because been before behind being
below beneath beside between beyond both but by can cannot could did do does doing done
down during each either else enough even ever every everyone everything few for from had
has have having he hence her here hers herself him himself his how however i if in indeed
inside instead into is it its itself just least less like many may me might mine more most
much must my myself near neither never no nobody none nor not nothing now of off often on
once one only onto or other others our ours ourselves out outside over own per perhaps
quite rather same shall she should since so some someone something somewhat soon still
such than that the their theirs them themselves then there therefore these they this those
though through throughout thus to together too toward towards under unless until up upon
us very was we well were what whatever when whenever where whereas wherever whether which
while who whoever whom whose why will with within without would yes yet you your yours
yourself
"""
FUNCTION_WORDS = frozenset(_WORDS.split())


def is_function_word(text: str) -> bool:
    """Whether a token's text, but for space and case, is one of these."""
    return text.strip().lower() in FUNCTION_WORDS


def share_of_function_words(tokenizer: Any, ids: Sequence[int]) -> float | None:
    """How many of some tokens are function words, of 1; None without a tokenizer."""
    if tokenizer is None or not len(ids):
        return None
    return sum(is_function_word(decode(tokenizer, [i])) for i in ids) / len(ids)
