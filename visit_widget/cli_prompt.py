"""The prompt of the command: words on the command line, standard input, or a chat."""

from __future__ import annotations

import sys
from typing import Any

from .cli_load import CommandError

STDIN = "-"


def read_prompt(given: str | None) -> str | None:
    """The prompt's text: as given, or what standard input holds; None where there is none.

    Args:
        given: the command's argument; "-" or None for standard input.

    Raises:
        CommandError: standard input is no text.
    """
    if given is not None and given != STDIN:
        return given
    if sys.stdin is None or (given is None and sys.stdin.isatty()):
        return None
    try:
        text = sys.stdin.read()
    except UnicodeDecodeError as error:
        raise CommandError("standard input is no text in UTF-8") from error
    except OSError:
        return None
    # `echo` ends its line; the prompt does not go on in the next one.
    text = text.removesuffix("\n").removesuffix("\r")
    return text if text or given == STDIN else None


def chat_ids(tokenizer: Any, prompt: str, system: str | None) -> list[int]:
    """The prompt as a user's message, as the model's own template puts it.

    Args:
        tokenizer: its tokenizer, which has the template.
        prompt: what the user says.
        system: what is said before that, or None.

    Raises:
        CommandError: there is no template, or it takes no such message.
    """
    from .model import VisitError
    from .trace.chat import templated

    messages = [] if system is None else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": prompt})
    try:
        ids = templated(tokenizer, messages).ids
    except VisitError as error:
        left_out = "--chat" if system is None else "--system, or --chat"
        raise CommandError(f"{str(error).rstrip('.')}. Or leave out {left_out}") from error
    return [int(i) for i in ids]
