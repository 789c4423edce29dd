"""The widget: an anywidget whose traits are the view's lasting state, and whose requests fetch the
rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import anywidget
import traitlets

from ..flow import FlowGraph, Keep
from ..flow.elements import MEASURES
from ..model import VisitError
from ..trace.trace import Trace
from ..viewer.output import Output
from ..viewer.page import STATIC
from ..what_if.variants import Progress
from . import lifetime
from .answers import effects_map, measured_in, score_matrix
from .finding import Findings
from .fitting import Fits
from .generated import Steps
from .intervening import of_any_prompt, of_no_other
from .overview import Overview
from .picture import DISPLAY, NO_FILTERS, checks
from .requests import Desk, logger
from .runs import Runs
from .saved import REDRAWS, SETTABLE
from .saving import Saving
from .sentences import check_view, joined, sentence
from .session import First, Session
from .stated import Stated


class VisitWidget(Output, Stated, Steps, Overview, Runs, Findings, Saving, anywidget.AnyWidget):
    """A flow graph in a notebook. Made by `visit`.

    Every trait may be set and observed from Python. Setting `prompt`, `focus`, `target`, `foil`,
    `keep`, `measure` or `lens` publishes a new `graph`; only a new `prompt` takes a pass of the
    model. So do `step` and `branch` where it is of a generation (`Steps`), and `opened` where it is
    of many prompts (`Overview`). What cannot be used raises a VisitError and changes nothing.

    Attributes:
        prompt: the prompt's text.
        against: the text of the other prompt that it is compared with, or None; set a prompt, a
            trace, or None. `graph` then has the other side under "against".
        focus: the position shown, from 0.
        target: {"id", "text"} of the token followed; set a token id, a text that is one token,
            several of them, a `Target`, or None for the first choice.
        foil: likewise, or None for no comparison.
        graph: the first frame as plain data (docs/protocol.md).
        expanded: the open layers.
        selection: ids of the selected nodes.
        measure: what ribbons mean, and what prunes them.
        view: "block" or "routes".
        lens: the name of the lens that reads vectors as tokens; set one of `lenses`, a `Lens`, or
            None for the default. What has to be fitted first is not set, but said.
        lenses: the names of those that can be set at once.
        keep: what pruning keeps; set a Keep or a mapping of its fields.
        interventions: what is done to parts of the pass: [{"id", "action", "positions"}], or
            {id: action} as `Trace.rerun` takes; [] for the pass as it is. `graph` is then of the
            pass run again, and its "before" says what was. `runs` keeps each of them.
        pins: ids of up to four nodes that are compared.
        filters: {"layers": [first, last] or None, "heads": {layer: heads}}: what is drawn plainly;
            the rest is dimmed or drawn as one, and stays in all sums.
        display: {"under", "least", "unfolded", "search"}: what stands under the prompt's tokens,
            whether the panel's least tokens are open, whether a long prompt is unfolded, and what
            is looked for: {"query", "hit"}, or None.
        status: {"state", "message", "max_error", "exact"}.
        picture: whether the page is to draw the picture that the notebook keeps for readers without
            a kernel; False once it has. Set True to have it drawn anew.
    """

    # As text: of a path anywidget makes something that all instances are tied to, for good.
    _esm = (STATIC / "widget.js").read_text(encoding="utf-8")
    _css = (STATIC / "widget.css").read_text(encoding="utf-8")

    prompt = traitlets.Unicode().tag(sync=True)
    against = traitlets.Any(None, allow_none=True).tag(sync=True)
    focus = traitlets.Int(0).tag(sync=True)
    target = traitlets.Any(None, allow_none=True).tag(sync=True)
    foil = traitlets.Any(None, allow_none=True).tag(sync=True)
    graph = traitlets.Dict().tag(sync=True)
    expanded = traitlets.List(traitlets.Int()).tag(sync=True)
    selection = traitlets.List(traitlets.Unicode()).tag(sync=True)
    measure = traitlets.Unicode("logit").tag(sync=True)
    view = traitlets.Unicode("block").tag(sync=True)
    lens = traitlets.Any("logit").tag(sync=True)
    lenses = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    keep = traitlets.Any().tag(sync=True)
    interventions = traitlets.Any([]).tag(sync=True)
    pins = traitlets.List(traitlets.Unicode()).tag(sync=True)
    filters = traitlets.Dict(NO_FILTERS).tag(sync=True)
    display = traitlets.Dict(DISPLAY).tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    def __init__(
        self, session: Session, first: First, layers: Sequence[int], view: str,
        more: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._session = session
        self._settled = False
        self._notes: dict[str, str] = {}
        super().__init__(
            prompt=session.trace.prompt,
            against=session.against.text,
            focus=first.focus,
            target=_named(first.graph["target"]),
            foil=_named(first.graph["foil"]),
            graph=first.graph,
            measure=first.measure,
            view=view,
            lens=first.lens,
            keep=first.keep.to_dict(),
            interventions=first.graph.get("interventions", []),
            status={"state": "ready", "message": first.notes, **session.exactness()},
            **(more or {"expanded": sorted({session.trace.layer(layer) for layer in layers})}),
        )
        self.set_trait("lenses", session.lenses())
        self._tell_step()
        self._tell_open(first.graph)
        self._note_run(first.graph)
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
                "score_parts": partial(session.of_pass, "A score's parts are", score_matrix),
                "vocabulary": session.vocabulary,
                "retrace": self._retrace,
                "keep_picture": self.keep_picture,
                **self._findings(session),
            },
            self.send,
            {
                "effects": partial(session.of_pass, "Measured effects are", measured_in),
                "effects_map": partial(session.of_pass, "Maps of effects are", effects_map),
                "patching": partial(session.of_pass, "Patching is", session.against.patched),
                "branch": self._branch_off,
                **self._slow_findings(session),
            },
            {"fit_lens": Fits(session, partial(self.set_trait, "lenses"))},
        )
        self.on_msg(lambda _widget, message, _buffers: self._desk.receive(message))
        self.observe(self._on_change, names=["prompt", *REDRAWS])

    @property
    def model_id(self) -> str:
        """The id by which a page knows this widget; who asks for it may show it."""
        lifetime.hold(self)
        return str(super().model_id)

    def _note_shown(self) -> None:
        lifetime.note_shown(self)

    def close(self) -> None:
        """Take the widget off the page, and let go of the trace and the model."""
        self._stop()
        super().close()
        if "_own_layout" in vars(self):
            self._own_layout.close()
            self._desk.close()
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

    @traitlets.validate("against")
    def _valid_against(self, proposal: Any) -> str | None:
        self._session.against.read(proposal["value"], self._session)
        return self._session.against.text

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

    @traitlets.validate("interventions")
    def _valid_interventions(self, proposal: Any) -> list[dict[str, Any]]:
        session = self._session
        return session.interventions.listed(proposal["value"], session.trace)

    @traitlets.validate("measure")
    def _valid_measure(self, proposal: Any) -> str:
        if proposal["value"] not in MEASURES:
            raise VisitError(
                f"measure={proposal['value']!r} is not known: use {', '.join(map(repr, MEASURES))}."
            )
        return str(proposal["value"])

    @traitlets.validate("lens")
    def _valid_lens(self, proposal: Any) -> str:
        return self._session.lens(proposal["value"]).name

    @traitlets.validate("view")
    def _valid_view(self, proposal: Any) -> str:
        return check_view(proposal["value"])

    @traitlets.validate("selection", "pins", "filters", "display")
    def _valid_picture(self, proposal: Any) -> Any:
        return checks(self._session.trace)[proposal["trait"].name](proposal["value"])

    @traitlets.validate("expanded")
    def _valid_expanded(self, proposal: Any) -> list[int]:
        return [self._session.trace.layer(layer) for layer in proposal["value"]]

    def _on_change(self, change: Any) -> None:
        if self._settled:
            self._redraw({change["name"]: change["old"]})

    def _retrace(self, prompt: str) -> dict[str, Any]:
        self.prompt = prompt
        return {"revision": self._session.revision}

    def _branch_off(
        self, at: int, token: int | str | None, progress: Progress | None = None
    ) -> dict[str, Any]:
        before = {"branch": self.branch, "step": self.step}
        new = self._session.said.add(at, token, progress)
        with self._settling():
            self.branch, self.step = new, at
        self._redraw(before)
        return {"branch": new, "revision": self._session.revision}

    def _redraw(self, before: dict[str, Any]) -> None:
        """Draw a new first frame and set every trait that goes with it, at once.

        Args:
            before: the old values of the traits that changed, put back if it cannot be drawn.
        """
        if self._is_drawn(before):
            return
        focus, target, foil = self.focus, self.target, self.foil
        if "prompt" in before:
            # The token at the focus, and the model's choice, are another prompt's now.
            focus, target, foil = len(self._session.trace) - 1, None, None
        elif before.keys() & {"step", "branch", "opened"}:
            focus, target, foil = self._aim(before)
        elif "focus" in before and "target" not in before:
            target = None
        if "against" in before and self.against is None:
            self._session.against.trace = None  # None is not validated
        if "against" in before and "target" not in before:
            target = None
        if target is None and self._session.against.trace is not None and "foil" not in before:
            foil = None  # by default the other's first choice
        self.status = {**self.status, "state": "busy", "message": "drawing"}
        own = [self._notes.get(name, "") for name in before]
        notes = joined([*own, *(self._session.trace.notes if "prompt" in before else ())])
        self._notes.clear()
        try:
            target, foil = (
                None if t is None else self._session.follow(t)[0] for t in (target, foil)
            )
            done = self.interventions
            if (
                before.keys() & {"prompt", "step", "branch", "opened"}
                and "interventions" not in before
            ):
                done = of_any_prompt(done)
            if "against" in before:
                done = of_no_other(done)
            graph = self._session.frame(
                focus, target, foil, self.keep, self.measure, [], self.lens, done
            )
        except BaseException as error:
            self._put_back(before)
            self._report(sentence(error))
            raise
        self._publish(graph, notes, **({"selection": []} if "prompt" in before else {}))

    def _publish(self, graph: dict[str, Any], notes: str, **more: Any) -> None:
        """Set every trait that goes with a new graph, at once."""
        with self._settling(), self.hold_sync():
            self.prompt, self.focus = graph["prompt"], graph["position"]
            self.against = self._session.against.text
            self.interventions = graph.get("interventions", [])
            self.target, self.foil = _named(graph["target"]), _named(graph["foil"])
            for name, value in more.items():
                self.set_trait(name, value)
            self.set_trait("lenses", self._session.lenses())
            self._tell_step()
            self._tell_open(graph)
            self.set_trait("lens", graph["lens"])
            self.graph = graph
            self._note_run(graph)
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
