"""`visit`: from a model and a prompt to the widget that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..flow import Keep
from ..lens import Lens
from ..model import Anatomy
from ..trace.inputs import Prompt
from ..trace.target import TargetLike
from ..trace.trace import Trace
from .sentences import check_view
from .session import Session
from .subject import session_of, untraced
from .view_state import alone, check_facts, checked_traits, read
from .widget import VisitWidget


def visit(
    model: Any,
    tokenizer: Any = None,
    prompt: Prompt | None = None,
    *,
    against: Prompt | Trace | None = None,
    focus: int = -1,
    target: TargetLike | None = None,
    foil: TargetLike | None = None,
    layers: Sequence[int] = (),
    keep: Keep | dict[str, Any] | None = None,
    measure: str = "logit",
    view: str = "block",
    lens: Lens | str | None = None,
    anatomy: Anatomy | None = None,
    keep_on: torch.device | str | None = None,
    attention_mask: Any = None,
    add_special_tokens: bool | None = None,
    view_state: dict[str, Any] | None = None,
    picture: bool = True,
) -> VisitWidget:
    """Show one forward pass of a causal language model as an interactive flow graph.

    Args:
        model: a decoder of `transformers`, left as it is found; or a trace, shown without a pass;
            or a generation (`vw.generate`), shown step by step.
        tokenizer: its tokenizer; None when the prompt is token ids.
        prompt: as in `trace`. Edited in the browser, it keeps its special tokens.
        against: another prompt, or a trace of it (of a model of the same make too), to compare
            with: both are drawn, and their difference (docs/compare.md).
        focus: the position whose computation is shown; −1 is the last token.
        target: token whose logit is followed, or several, or a direction (`Target`); the model's
            own first choice by default. Of a text that is several tokens the first is followed, and
            `status` says so.
        foil: likewise, to compare it against; with another prompt, by default, its first choice.
        layers: layers to show open.
        keep: what pruning keeps; `Keep.visit()` is the published tool's choice.
        measure: what ribbons mean: "logit", "share", "norm", "proximity" or "effect".
        view: "block" for the layers at the focus, "routes" for positions × layers.
        lens: what reads vectors as tokens (docs/lenses.md): a `Lens`, or "local", "logit",
            "calibrated", "jacobian" or "tuned"; one that needs fitting is fitted once, with a
            progress bar, and kept. By default the Jacobian lens where it has been fitted, else the
            local lens.
        anatomy: where the model keeps its parts, when that cannot be found.
        keep_on: as in `trace`.
        attention_mask: as in `trace`.
        add_special_tokens: as in `trace`.
        view_state: of a widget of the same model, `VisitWidget.view_state`, to make its picture
            again; prompt, focus and all else but `anatomy`, `keep_on` and `picture` come from it.
        picture: whether the notebook keeps a picture beside the widget (at most 400 kB), for
            readers who have no kernel: on GitHub, in a PDF, in a notebook that is not trusted.

    Raises:
        VisitError: an argument cannot be used; the message says why.
        UnsupportedModelError: the model's anatomy was not understood.

    Example:
        >>> widget = vw.visit(model, tokenizer, "The capital of Japan is the city of")
        >>> widget.expanded = [23]
        >>> widget.selection
        ['L23.H4']
    """
    if view_state is not None:
        alone(
            prompt=(prompt, None), against=(against, None), focus=(focus, -1),
            target=(target, None), foil=(foil, None), layers=(layers, ()), keep=(keep, None),
            measure=(measure, "logit"), view=(view, "block"), lens=(lens, None),
            attention_mask=(attention_mask, None), add_special_tokens=(add_special_tokens, None),
        )  # fmt: skip
        made = _remade(untraced(model, tokenizer, anatomy, keep_on), view_state)
        made.picture = picture
        return made
    check_view(view)
    session = session_of(
        model, tokenizer, prompt, anatomy, keep_on, attention_mask, add_special_tokens
    )
    session.against.read(against, session)
    first = session.first(focus, target, foil, keep, measure, lens)
    made = VisitWidget(session, first, layers, view)
    made.picture = picture
    return made


def _remade(session: Session, state: dict[str, Any]) -> VisitWidget:
    wanted = read(state, session)
    session.take(wanted.prompt, wanted.generation)
    session.against.take(wanted.against, session)
    traits = checked_traits(wanted, session)
    first = session.first(
        wanted.focus, wanted.target, wanted.foil, wanted.keep, wanted.measure, wanted.lens,
        session.interventions.listed(wanted.interventions, session.trace),
    )  # fmt: skip
    check_facts(state["model"], session)
    return VisitWidget(session, first, (), wanted.view, traits)
