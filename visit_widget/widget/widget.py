"""The widget: an anywidget whose traits are the view's lasting state, and whose requests fetch the
rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import anywidget
import torch
import traitlets

from ..flow import FlowGraph, Keep
from ..flow.elements import MEASURES
from ..model import Anatomy, VisitError
from ..trace.inputs import Prompt
from ..trace.target import TargetLike
from ..trace.trace import Trace
from . import lifetime
from .page import STATIC
from .requests import Desk, logger
from .saved import REDRAWS, SETTABLE
from .saving import Saving
from .sentences import check_view, joined, sentence
from .session import First, Session
from .subject import session_of


def visit(
    model: Any,
    tokenizer: Any = None,
    prompt: Prompt | None = None,
    *,
    focus: int = -1,
    target: TargetLike | None = None,
    foil: TargetLike | None = None,
    layers: Sequence[int] = (),
    keep: Keep | dict[str, Any] | None = None,
    measure: str = "logit",
    view: str = "block",
    anatomy: Anatomy | None = None,
    keep_on: torch.device | str | None = None,
    attention_mask: Any = None,
    add_special_tokens: bool | None = None,
) -> VisitWidget:
    """Show one forward pass of a causal language model as an interactive flow graph.

    Args:
        model: a decoder of `transformers`, left as it is found; or a trace, shown without a pass.
        tokenizer: its tokenizer; None when the prompt is token ids.
        prompt: as in `trace`. Edited in the browser, it keeps its special tokens.
        focus: the position whose computation is shown; −1 is the last token.
        target: token whose logit is followed, or several, or a direction (`Target`); the model's
            own first choice by default. Of a text that is several tokens the first is followed, and
            `status` says so.
        foil: likewise, to compare it against.
        layers: layers to show open.
        keep: what pruning keeps; `Keep.visit()` is the published tool's choice.
        measure: what ribbons mean: "logit", "share", "norm" or "proximity".
        view: "block" for the layers at the focus, "routes" for positions × layers.
        anatomy: where the model keeps its parts, when that cannot be found.
        keep_on: as in `trace`.
        attention_mask: as in `trace`.
        add_special_tokens: as in `trace`.

    Raises:
        VisitError: an argument cannot be used; the message says why.
        UnsupportedModelError: the model's anatomy was not understood.

    Example:
        >>> widget = vw.visit(model, tokenizer, "The capital of Japan is the city of")
        >>> widget.expanded = [23]
        >>> widget.selection
        ['L23.H4']
    """
    check_view(view)
    session = session_of(
        model, tokenizer, prompt, anatomy, keep_on, attention_mask, add_special_tokens
    )
    first = session.first(focus, target, foil, keep, measure)
    return VisitWidget(session, first, layers, view)


class VisitWidget(Saving, anywidget.AnyWidget):
    """A flow graph in a notebook. Made by `visit`.

    Every trait may be set and observed from Python. Setting `prompt`, `focus`, `target`, `foil`,
    `keep` or `measure` publishes a new `graph`; only a new `prompt` takes a pass of the model. What
    cannot be used raises a VisitError and changes nothing.

    Attributes:
        prompt: the prompt's text.
        focus: the position shown, from 0.
        target: {"id", "text"} of the token followed; set a token id, a text that is one token,
            several of them, a `Target`, or None for the first choice.
        foil: likewise, or None for no comparison.
        graph: the first frame as plain data (docs/protocol.md).
        expanded: the open layers.
        selection: ids of the selected nodes.
        measure: what ribbons mean, and what prunes them.
        view: "block" or "routes".
        keep: what pruning keeps; set a Keep or a mapping of its fields.
        status: {"state", "message", "max_error", "exact"}.
    """

    # As text: of a path anywidget makes something that all instances are tied to, for good.
    _esm = (STATIC / "widget.js").read_text(encoding="utf-8")
    _css = (STATIC / "widget.css").read_text(encoding="utf-8")

    prompt = traitlets.Unicode().tag(sync=True)
    focus = traitlets.Int(0).tag(sync=True)
    target = traitlets.Any(None, allow_none=True).tag(sync=True)
    foil = traitlets.Any(None, allow_none=True).tag(sync=True)
    graph = traitlets.Dict().tag(sync=True)
    expanded = traitlets.List(traitlets.Int()).tag(sync=True)
    selection = traitlets.List(traitlets.Unicode()).tag(sync=True)
    measure = traitlets.Unicode("logit").tag(sync=True)
    view = traitlets.Unicode("block").tag(sync=True)
    keep = traitlets.Any().tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    def __init__(self, session: Session, first: First, layers: Sequence[int], view: str) -> None:
        self._session = session
        self._settled = False
        self._notes: dict[str, str] = {}
        super().__init__(
            prompt=session.trace.prompt,
            focus=first.focus,
            target=_named(first.graph["target"]),
            foil=_named(first.graph["foil"]),
            graph=first.graph,
            expanded=sorted({session.trace.layer(layer) for layer in layers}),
            measure=first.measure,
            view=view,
            keep=first.keep.to_dict(),
            status={"state": "ready", "message": first.notes, **session.exactness()},
        )
        lifetime.loosen(self)
        self._own_layout = self.layout
        self._settled = True
        self._desk = Desk(
            {
                "expand": session.expand,
                "project": session.project,
                "audit": session.audit,
                "routes": session.routes,
                "attribution": session.attribution,
                "predictions": session.predictions,
                "vocabulary": session.vocabulary,
                "retrace": self._retrace,
            },
            self.send,
        )
        self.on_msg(lambda _widget, message, _buffers: self._desk.receive(message))
        self.observe(self._on_change, names=["prompt", *REDRAWS])

    @property
    def model_id(self) -> str:
        """The id by which a page knows this widget; who asks for it may show it."""
        lifetime.hold(self)
        return str(super().model_id)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        lifetime.note_shown(self)
        return super()._repr_mimebundle_(**options)

    def close(self) -> None:
        """Take the widget off the page, and let go of the trace and the model."""
        super().close()
        if "_own_layout" in vars(self):
            self._own_layout.close()
            self._desk.methods = {}
            self._session = cast(Session, lifetime.Closed())

    @property
    def trace(self) -> Trace:
        """The trace behind the current graph."""
        return self._session.trace

    def routes(self) -> FlowGraph:
        """The routes graph of what is on screen, as plain data."""
        return self._session.painter.routes()

    def flow(self, layers: Sequence[int] | None = None) -> FlowGraph:
        """The graph as it is on screen, as plain data; the open layers by default."""
        return self._session.painter.graph(self.expanded if layers is None else layers)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """From the browser: what cannot be used is put back, and `status` says why.

        Traits that arrive together are drawn together.
        """
        before = {name: getattr(self, name) for name in SETTABLE}
        try:
            with self._settling():
                super().set_state(sync_data)
            drawn = {name: before[name] for name in ("prompt", *REDRAWS)}
            changed = {name: old for name, old in drawn.items() if getattr(self, name) != old}
            if changed:
                self._redraw(changed)
        except BaseException as error:
            self._put_back(before)
            self._report(sentence(error))
            self.send_state(sorted(set(sync_data) & set(self.keys)))
            if not isinstance(error, Exception):
                raise
            if not isinstance(error, (VisitError, traitlets.TraitError)):
                logger.exception("visit_widget could not draw what the browser asked for")

    @traitlets.validate("prompt")
    def _valid_prompt(self, proposal: Any) -> str:
        value = str(proposal["value"])
        if value != self._session.trace.prompt:
            self._session.edit(value)
        return value

    @traitlets.validate("focus")
    def _valid_focus(self, proposal: Any) -> int:
        return self._session.trace.position(proposal["value"])

    @traitlets.validate("target", "foil")
    def _valid_token(self, proposal: Any) -> dict[str, Any] | None:
        value = proposal["value"]
        if value is None:
            return None
        found, note = self._session.follow(value)
        named, name = self._session.named(found), proposal["trait"].name
        self._notes[name] = note
        if note and named == getattr(self, name):
            self.status = {**self.status, "message": note}  # no change, so nothing is drawn
        return named

    @traitlets.validate("keep")
    def _valid_keep(self, proposal: Any) -> dict[str, Any]:
        return Keep.of(proposal["value"]).to_dict()

    @traitlets.validate("measure")
    def _valid_measure(self, proposal: Any) -> str:
        if proposal["value"] not in MEASURES:
            raise VisitError(
                f"measure={proposal['value']!r} is not known: use {', '.join(map(repr, MEASURES))}."
            )
        return str(proposal["value"])

    @traitlets.validate("view")
    def _valid_view(self, proposal: Any) -> str:
        return check_view(proposal["value"])

    @traitlets.validate("expanded")
    def _valid_expanded(self, proposal: Any) -> list[int]:
        return [self._session.trace.layer(layer) for layer in proposal["value"]]

    def _on_change(self, change: Any) -> None:
        if self._settled:
            self._redraw({change["name"]: change["old"]})

    def _retrace(self, prompt: str) -> dict[str, Any]:
        self.prompt = prompt
        return {"revision": self._session.revision}

    def _redraw(self, before: dict[str, Any]) -> None:
        """Draw a new first frame and set every trait that goes with it, at once.

        Args:
            before: the old values of the traits that changed, put back if it cannot be drawn.
        """
        focus, target, foil = self.focus, self.target, self.foil
        if "prompt" in before:
            # The token at the focus, and the model's choice, are another prompt's now.
            focus, target, foil = len(self._session.trace) - 1, None, None
        elif "focus" in before and "target" not in before:
            target = None
        self.status = {**self.status, "state": "busy", "message": "drawing"}
        own = [self._notes.get(name, "") for name in before]
        notes = joined([*own, *(self._session.trace.notes if "prompt" in before else ())])
        self._notes.clear()
        try:
            target, foil = (
                None if t is None else self._session.follow(t)[0] for t in (target, foil)
            )
            graph = self._session.frame(focus, target, foil, self.keep, self.measure, [])
        except BaseException as error:
            self._put_back(before)
            self._report(sentence(error))
            raise
        with self._settling(), self.hold_sync():
            self.focus = focus
            self.target, self.foil = _named(graph["target"]), _named(graph["foil"])
            if "prompt" in before:
                self.selection = []
            self.graph = graph
            self.status = {"state": "ready", "message": notes, **self._session.exactness()}

    def _put_back(self, before: dict[str, Any]) -> None:
        self._session.keep_drawn()
        with self._settling():
            for name, value in before.items():
                self.set_trait(name, value)

    @contextmanager
    def _settling(self) -> Iterator[None]:
        """Within the block, changes of traits draw nothing."""
        settled, self._settled = self._settled, False
        try:
            yield
        finally:
            self._settled = settled

    def _report(self, message: str) -> None:
        self.status = {**self.status, "state": "error", "message": message}


def _named(token: dict[str, Any] | None) -> dict[str, Any] | None:
    kept = ("id", "text", "combine")
    return None if token is None else {name: token[name] for name in kept if name in token}
