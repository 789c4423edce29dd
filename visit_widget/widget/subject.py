"""What a widget is asked to show: a model, its tokenizer and a prompt, or what was made of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..model import Anatomy, VisitError
from ..model.given import not_a_model
from ..trace.generation import Generation
from ..trace.inputs import Prompt
from ..trace.trace import Trace
from .generated import Branch
from .session import Session

_USAGE = "Call vw.visit(model, tokenizer, prompt), or vw.visit(trace)."


def session_of(
    subject: Any,
    tokenizer: Any,
    prompt: Prompt | None,
    anatomy: Anatomy | None,
    keep_on: torch.device | str | None,
    attention_mask: Any = None,
    add_special_tokens: bool | None = None,
) -> Session:
    """The session of a widget, with its first trace.

    Args:
        subject: a model, a trace, or a generation, of which the first step is shown.
        tokenizer: the model's; None with a trace or a generation, or when the prompt is token ids.
        prompt: likewise.
        anatomy: as `visit_widget.trace`; None likewise.
        keep_on: likewise; with a trace, for those of other prompts.
        attention_mask: of the prompt, as `visit_widget.trace`.
        add_special_tokens: likewise.

    Raises:
        VisitError: the arguments are no such thing; the message says what to pass.
    """
    if isinstance(subject, (Trace, Generation)):
        if tokenizer is not None or prompt is not None or anatomy is not None:
            name = "trace" if isinstance(subject, Trace) else "generation"
            raise VisitError(
                f"A {name} has its own tokenizer, prompt and anatomy: pass vw.visit({name}) "
                "without them, and set widget.prompt to look at another prompt."
            )
        if isinstance(subject, Trace):
            return Session.of(subject, keep_on)
        session = Session.of(subject.traces[0], keep_on)
        session.said.branches.append(Branch(subject))
        return session
    _check(subject, tokenizer, prompt)
    assert prompt is not None
    session = Session(subject, tokenizer, anatomy, keep_on)
    session.read(prompt, attention_mask, add_special_tokens)
    return session


def untraced(
    subject: Any, tokenizer: Any, anatomy: Anatomy | None, keep_on: torch.device | str | None
) -> Session:
    """As `session_of`, of a prompt that comes later; that of a trace is there already."""
    if isinstance(subject, (Trace, Generation)):
        return session_of(subject, tokenizer, None, anatomy, keep_on)
    _check(subject, tokenizer, "")
    return Session(subject, tokenizer, anatomy, keep_on)


def _check(subject: Any, tokenizer: Any, prompt: Any) -> None:
    if isinstance(getattr(subject, "trace", None), Trace):
        raise VisitError("This is a widget already: pass its trace, as in vw.visit(widget.trace).")
    if isinstance(tokenizer, nn.Module) and not isinstance(subject, nn.Module):
        raise VisitError(f"The model comes first, then its tokenizer. {_USAGE}")
    if isinstance(tokenizer, str) and (prompt is None or not isinstance(prompt, str)):
        raise VisitError(
            f"{_short(tokenizer)} is a text where the tokenizer belongs: pass the model's "
            f"tokenizer before the prompt. {_USAGE}"
        )
    if not isinstance(subject, nn.Module):
        raise not_a_model(subject)
    if prompt is None:
        raise VisitError(f"There is no prompt: pass a text, or token ids. {_USAGE}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
