"""Whose words a chat's prompt is made of: by turn, which tokens were said and which the template
put around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ..model.encoding import decode, special_id

ASSISTANT = "assistant"


@dataclass(frozen=True)
class Turn:
    """One turn of a chat.

    Attributes:
        role: whose it is, as in the messages; None for what the template puts before the first.
        start, end: its tokens, start … end − 1. Turns follow one another without gaps.
        said: the first of those that were said, and the one after the last; all others are the
            template's. None where nothing was said (yet).
    """

    role: str | None
    start: int
    end: int
    said: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        said = None if self.said is None else list(self.said)
        return {"role": self.role, "start": self.start, "end": self.end, "said": said}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Turn:
        """From plain data."""
        said = data["said"]
        role = None if data["role"] is None else str(data["role"])
        return cls(
            role, int(data["start"]), int(data["end"]),
            None if said is None else (int(said[0]), int(said[1])),
        )  # fmt: skip


def going_on(turns: tuple[Turn, ...] | None, begun: int, n_tokens: int) -> tuple[Turn, ...] | None:
    """The turns of a prompt that the model has gone on with.

    Args:
        turns: of the prompt.
        begun: tokens of the prompt.
        n_tokens: tokens by now.
    """
    if not turns or n_tokens == begun:
        return turns
    last = turns[-1]
    if last.role != ASSISTANT:
        return (*turns, Turn(ASSISTANT, begun, n_tokens, (begun, n_tokens)))
    first = begun if last.said is None else last.said[0]
    return (*turns[:-1], replace(last, end=n_tokens, said=(first, n_tokens)))


# The text that the template makes of messages: of all of the prompt's, as that is (True), or of a
# chat that ends there (False).
Render = Callable[[Sequence[dict[str, Any]], bool], str]


def turns_of(
    tokenizer: Any,
    messages: Sequence[dict[str, Any]],
    contents: Sequence[str],
    text: str,
    ids: list[int],
    render: Render,
) -> tuple[Turn, ...] | None:
    """The turns of a prompt; None where they cannot be told from the text.

    Args:
        tokenizer: the tokenizer.
        messages: the chat, as its template takes it.
        contents: what each message says; "" where it says nothing.
        text: what the template made of them.
        ids: the tokens of that.
        render: makes a text of other messages.
    """
    spans = _spans(tokenizer, text, ids)
    if spans is None:
        return None
    places = _places_by_stand_ins(messages, contents, text, render)
    places = _places(text, contents) if places is None else places
    if places is None:
        return None
    borders = _borders(messages, places, text, render)
    first = _first(messages, places, borders, text, render)
    cuts = [_token_at(spans, b) for b in (first, *borders)]
    turns = []
    begins = ids[:1]
    if cuts[0] == 0 and begins == [special_id(tokenizer, "bos")]:
        # What begins a text may be what every turn begins with, too.
        cuts[0] = 0 if any(ids[c : c + 1] == begins for c in cuts[1:]) else 1
    if cuts[0]:
        turns.append(Turn(None, 0, cuts[0]))
    roles = [str(m["role"]) for m in messages]
    for role, place, (start, end) in zip(roles, places, pairwise(cuts), strict=True):
        said = None if place is None else _tokens_in(spans, *place)
        turns.append(Turn(role, start, end, said))
    if cuts[-1] < len(ids):
        turns.append(Turn(ASSISTANT, cuts[-1], len(ids)))
    return tuple(turns)


def _spans(tokenizer: Any, text: str, ids: list[int]) -> list[tuple[int, int]] | None:
    """Where each token is in the text."""
    if getattr(tokenizer, "is_fast", False):
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        if list(found["input_ids"]) == ids:
            return [(int(start), int(end)) for start, end in found["offset_mapping"]]
    if decode(tokenizer, ids) != text:
        return None
    ends = [len(decode(tokenizer, ids[: n + 1])) for n in range(len(ids))]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _places_by_stand_ins(
    messages: Sequence[dict[str, Any]], contents: Sequence[str], text: str, render: Render
) -> list[tuple[int, int] | None] | None:
    """Where in the text each content is, from what the template puts around others in its place;
    None where it does not put the same around them.
    """
    stand_ins = [stand_in(n) if content else "" for n, content in enumerate(contents)]
    others = [saying(m, s) if s else m for m, s in zip(messages, stand_ins, strict=True)]
    rest = _rendered(lambda m: render(m, True), others)
    if rest is None:
        return None
    places: list[tuple[int, int] | None] = []
    at = 0
    for other, content in zip(stand_ins, contents, strict=True):
        if not other:
            places.append(None)
            continue
        before, found, rest = rest.partition(other)
        start = at + len(before)
        if not found or text[at:start] != before:
            return None
        ends = (start + len(c) for c in (content, content.strip()) if text.startswith(c, start))
        end = next((e for e in ends if rest.startswith(text[e : e + 1])), None)
        if end is None:
            return None
        places.append((start, end))
        at = end
    return places if text[at:] == rest else None


def stand_in(number: int) -> str:
    """What stands in the place of a message's content, to see where a template puts it."""
    return f"⟦{number}⟧"


def saying(message: dict[str, Any], content: str) -> dict[str, Any]:
    """A message with another content, of the same kind."""
    parts = isinstance(message.get("content"), list)
    return {**message, "content": [{"type": "text", "text": content}] if parts else content}


def _places(text: str, contents: Sequence[str]) -> list[tuple[int, int] | None] | None:
    """Where in the text each content is; None in the place of one that says nothing."""
    places: list[tuple[int, int] | None] = []
    at = 0
    for content in contents:
        said = content if content in text[at:] else content.strip()
        if not said:
            places.append(None)
            continue
        start = text.find(said, at)
        if start < 0:
            return None
        at = start + len(said)
        places.append((start, at))
    return places


def _borders(
    messages: Sequence[dict[str, Any]],
    places: Sequence[tuple[int, int] | None],
    text: str,
    render: Render,
) -> list[int]:
    """Where in the text each turn ends.

    It is where the text of a chat ends that ends there; where the template writes such a chat in
    another way, where the content ends.
    """
    borders: list[int] = []
    for n, place in enumerate(places):
        before = borders[-1] if borders else 0
        rest = [p[0] for p in places[n + 1 :] if p is not None]
        border = place[1] if place is not None else before
        written = _rendered(lambda m: render(m, False), messages[: n + 1])
        fits = written is not None and text.startswith(written)
        if written is not None and fits and border <= len(written) <= min([*rest, len(text)]):
            border = len(written)
        elif n + 1 == len(messages) and not text[border:].strip():
            border = len(text)
        borders.append(border)
    return borders


def _first(
    messages: Sequence[dict[str, Any]],
    places: Sequence[tuple[int, int] | None],
    borders: Sequence[int],
    text: str,
    render: Render,
) -> int:
    """Where the first turn begins: after what the template puts before any.

    What stands before the content of a later turn of the same role stands there too.
    """
    first, role = places[0], messages[0]["role"]
    if first is None:
        return 0
    for n in range(1, len(messages)):
        place = places[n]
        if messages[n]["role"] == role and place is not None:
            return _after(text[: first[0]], text[borders[n - 1] : place[0]])
    other = "user" if role == ASSISTANT else ASSISTANT
    several = [
        saying({**messages[0], "role": who}, stand_in(n))
        for n, who in enumerate((role, other, role))
    ]
    shorter, longer = (
        _rendered(lambda m: render(m, False), some) for some in (several[:2], several)
    )
    if shorter is None or longer is None or not longer.startswith(shorter):
        return 0
    header, found, _ = longer[len(shorter) :].partition(stand_in(2))
    return _after(text[: first[0]], header) if found else 0


def _after(before: str, header: str) -> int:
    return len(before) - len(header) if header and before.endswith(header) else 0


def _rendered(
    render: Callable[[Sequence[dict[str, Any]]], str], messages: Sequence[dict[str, Any]]
) -> str | None:
    try:
        text = render(messages)
    except Exception:  # noqa: BLE001 - a template raises what it likes
        return None
    return text if isinstance(text, str) else None


def _token_at(spans: list[tuple[int, int]], place: int) -> int:
    """The first token that reaches beyond a place in the text."""
    return next((n for n, (_, end) in enumerate(spans) if end > place), len(spans))


def _tokens_in(spans: list[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The tokens between two places, those that reach over them too."""
    inside = [n for n, (begin, stop) in enumerate(spans) if stop > start and begin < end]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)
