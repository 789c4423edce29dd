"""The messages of a chat, through the model's own template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model import VisitError
from .turns import Turn, saying, stand_in, turns_of


def messages_in(prompt: Any) -> list[dict[str, Any]] | None:
    """The messages of a chat, where the prompt is one."""
    if isinstance(prompt, Mapping):
        prompt = prompt.get("messages", [prompt])
    if isinstance(prompt, (list, tuple)) and prompt and all(map(_is_conversation, prompt)):
        if len(prompt) > 1:
            raise VisitError("A trace is of one chat: pass the messages of one, not of several.")
        prompt = prompt[0]
    return [dict(m) for m in prompt] if _is_conversation(prompt) else None


def _is_conversation(given: Any) -> bool:
    if not isinstance(given, (list, tuple)) or not given:
        return False
    return all(isinstance(m, Mapping) and "role" in m for m in given)


@dataclass(frozen=True)
class Templated:
    """What a template made of the messages of a chat.

    Attributes:
        ids: the token ids, as the tokenizer gives them.
        goes_on: whether the last message is the assistant's, which goes on with it.
        messages: as the template took them.
        contents: what each says.
        text: the ids as text; None where the template gives none.
    """

    ids: Any
    goes_on: bool
    messages: list[dict[str, Any]]
    contents: list[str]
    text: str | None

    def turns(self, tokenizer: Any, ids: list[int]) -> tuple[Turn, ...] | None:
        """Whose words the ids are; None where that cannot be told."""
        if self.text is None:
            return None

        def render(messages: Sequence[dict[str, Any]], as_it_is: bool) -> str:
            how = _how(self.goes_on) if as_it_is else {}
            text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, **how)
            return text

        return turns_of(tokenizer, self.messages, self.contents, self.text, ids, render)


def templated(tokenizer: Any, messages: list[dict[str, Any]]) -> Templated:
    """What the model's template makes of the messages of a chat, ready for the assistant to speak,
    or to go on where the last message is its own.

    Raises:
        VisitError: there is no template, or it cannot take these messages.
    """
    template = getattr(tokenizer, "apply_chat_template", None)
    none = VisitError(
        "The tokenizer has no chat template to put messages into a text with: pass a text, or set "
        "tokenizer.chat_template."
    )
    if template is None or not getattr(tokenizer, "chat_template", True):
        raise none
    goes_on = messages[-1]["role"] == "assistant"
    try:
        return _templated(template, messages, goes_on)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise VisitError(f"The chat template could not take these messages: {reason}") from error
    except Exception as error:  # of the template's own language, whose package is not imported here
        if type(error).__module__.partition(".")[0] != "jinja2":
            raise
        raise VisitError(f"The chat template could not take these messages: {error}") from error


def _how(goes_on: bool) -> dict[str, bool]:
    return {"continue_final_message": True} if goes_on else {"add_generation_prompt": True}


def _templated(template: Any, messages: list[dict[str, Any]], goes_on: bool) -> Templated:
    """What a template makes of the messages.

    Some templates take contents that are texts, some lists of parts, some both; those that do not
    take what they get leave it out or write it out as a list. So both are tried, and the one that
    every text comes out of is taken.
    """
    texts = [{**m, "content": _text_in(m.get("content"))} for m in messages]
    parts = [
        {**m, "content": [{"type": "text", "text": m["content"]}]} if m["content"] else m
        for m in texts
    ]
    said = [m["content"].strip() for m in texts if m["content"]]
    how, last = _how(goes_on), None
    best, most, shown = None, -1, None
    for given in (texts, parts):
        try:
            text = template(given, tokenize=False, **how)
        except Exception as error:  # noqa: BLE001 - a template raises what it likes
            last = last or error
            continue
        if not isinstance(text, str):
            best, most, shown = given, len(said), None
            break
        found = _shown(template, given, said, text, how) - (given is parts and "'type'" in text)
        if found > most:
            best, most, shown = given, found, text
        if found == len(said):
            break
    if best is None:
        assert last is not None
        raise last
    ids = template(best, tokenize=True, return_dict=False, **how)
    ids = ids["input_ids"] if hasattr(ids, "keys") else ids
    return Templated(ids, goes_on, best, [m["content"] or "" for m in texts], shown)


def _shown(
    template: Any, given: list[dict[str, Any]], said: list[str], text: str, how: dict[str, bool]
) -> int:
    """How many contents the template shows, seen from others in their place: what they say may
    stand in its own words.
    """
    others = [saying(m, stand_in(n)) if m["content"] else m for n, m in enumerate(given)]
    try:
        written = template(others, tokenize=False, **how)
    except Exception:  # noqa: BLE001 - a template raises what it likes
        return sum(one in text for one in said)
    wanted = [stand_in(n) for n, m in enumerate(given) if m["content"]]
    shown = sum(one in written for one in wanted)
    blank = len(wanted) - len(said)  # contents of spaces alone
    return max(0, min(shown - blank, len(said)))


def _text_in(content: Any) -> str | None:
    """The text of a message's content.

    Raises:
        VisitError: it holds something else.
    """
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, (list, tuple)):
        raise VisitError(
            f"The content of a message is a text, or a list of parts with one, not "
            f"{type(content).__name__}."
        )
    others = {
        str(part.get("type"))
        for part in content
        if isinstance(part, Mapping) and not isinstance(part.get("text"), str)
    }
    if others:
        raise VisitError(
            f"The messages hold {', '.join(sorted(others))}, which is not traced: leave only text."
        )
    return "".join(part["text"] if isinstance(part, Mapping) else str(part) for part in content)
