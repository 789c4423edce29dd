"""What the kernel knows behind one widget: the model, the current trace, and how to draw it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch

from ..flow import Keep, Painter
from ..flow.detail import details, sheet_of
from ..flow.predictions import predictions
from ..flow.target import name_of
from ..lens import Lens, known_lenses, lens_of
from ..model import Anatomy, VisitError
from ..model.exclusive import MODEL_LOCK
from ..model.given import check_language_model, tokenizer_of
from ..model.loaded import check_traceable, unwrapped
from ..trace.audit import last_logits_error, tolerance_of
from ..trace.inputs import Prepared, Prompt, checked
from ..trace.target import Followed, TargetLike, first_token, followed
from ..trace.trace import Trace
from ..trace.tracing import trace, trace_prepared
from .against import Against, against_of, retraced
from .auditing import audited
from .generated import Said
from .intervening import Interventions, before_of
from .many import Many
from .plain import compact, compact_graph
from .routed import routes_of
from .said_state import take_said
from .sentences import joined
from .vocabulary import matching

VOCABULARY_LIMIT, FOLLOWED_LIMIT = 50, 256
# What makes an answer of what is drawn.
Answer = Callable[..., dict[str, Any]]


class First(NamedTuple):
    """What a widget starts with: its first graph, and what that was drawn for."""

    graph: dict[str, Any]
    focus: int
    measure: str
    keep: Keep
    notes: str
    lens: str = "logit"


class Session:
    """The state behind one widget, and its answers to the browser's requests.

    Args:
        model, tokenizer: as `visit_widget.trace`.
        anatomy: where the model keeps its parts, when that cannot be found.
        keep_on: device for the tensors that traces keep; where they were made by default.

    Attributes:
        trace: the current trace.
        painter: draws it, for the current focus, target and pruning.
        revision: grows with every new graph.
        facts: the model's name and sizes, as a graph has them.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        anatomy: Anatomy | None = None,
        keep_on: torch.device | str | None = None,
    ) -> None:
        self.model, self.tokenizer, self.anatomy = model, tokenizer_of(tokenizer), anatomy
        self.keep_on = keep_on
        self.trace: Trace
        # What is drawn, and the same of the pass as it is; one where nothing is edited.
        self.painter: Painter
        self._as_is: Painter
        self.revision = 0
        self.facts: dict[str, Any] = {}
        # By name, those that were given as objects.
        self._given: dict[str, Lens] = {}
        self.against = Against()
        self.interventions = Interventions(self.against)
        self.said, self.many = Said(), Many()
        self._vocabulary: list[str] | None = None
        self._predictions: WeakKeyDictionary[Trace, list[dict[str, Any]]] = WeakKeyDictionary()
        # By trace and position: an audit takes passes of the model, and does not depend on the
        # target.
        self._audits: WeakKeyDictionary[Trace, dict[int, dict[str, Any]]] = WeakKeyDictionary()
        # By what the browser knows them by: targets that are more than the id of a token.
        self._followed: OrderedDict[str, Followed] = OrderedDict()

    @classmethod
    def of(cls, trace: Trace, keep_on: torch.device | str | None = None) -> Session:
        """The session of a trace that is there already; no pass is taken.

        Raises:
            VisitError: the trace has no model to read vectors with.
        """
        trace.needs_model("A flow graph")
        own = trace.anatomy_given
        session = cls(
            trace.model,
            trace.tokenizer,
            trace.anatomy if own else None,
            trace.keep_on if keep_on is None else keep_on,
        )
        session.trace = trace
        return session

    def read(
        self, prompt: Prompt, attention_mask: Any = None, add_special_tokens: bool | None = None
    ) -> None:
        """Trace a first prompt; see `visit_widget.trace`."""
        with MODEL_LOCK:
            self.trace = trace(
                self.model, self.tokenizer, prompt, anatomy=self.anatomy, keep_on=self.keep_on,
                attention_mask=attention_mask, add_special_tokens=add_special_tokens,
            )  # fmt: skip

    def edit(self, text: str) -> None:
        """Trace the prompt with its text changed, and its special tokens as they were; the old
        trace stays if this one cannot be.
        """
        with MODEL_LOCK:
            self.trace = retraced(self.model, self.trace, text, self.anatomy, self.keep_on)

    def take(self, prompt: Prepared, said: dict[str, Any] | None = None) -> None:
        """Trace a prompt that was traced before, unless it is the one that is there.

        Args:
            prompt: it.
            said: what a view state says of a generation that it may be a step of.
        """
        if said is not None:
            self.said = take_said(said, self)
            if said["step"] is not None:
                self.trace = self.said.generation.traces[said["step"]]
                return
        with MODEL_LOCK:
            now = getattr(self, "trace", None)
            if (
                now is not None
                and now.input_ids.tolist() == prompt.ids.tolist()
                and (now._text, now.special) == (prompt.text, prompt.special)
            ):
                return
            model = unwrapped(self.model)
            check_language_model(model)
            check_traceable(model)
            ready = checked(model, prompt)
            self.trace = trace_prepared(model, self.tokenizer, ready, self.anatomy, self.keep_on)

    def keep_drawn(self) -> None:
        """Go back to the trace of the last graph drawn, after another could not be."""
        self.trace = self._as_is.trace
        self.against.keep_drawn()

    def frame(
        self, focus: int, target: TargetLike | Followed | None, foil: TargetLike | Followed | None,
        keep: Keep | dict[str, Any] | None, measure: str, layers: list[int],
        lens: Lens | str | None = None, interventions: Sequence[dict[str, Any]] = (),
    ) -> dict[str, Any]:  # fmt: skip
        """A new first frame, as the `graph` trait carries it."""
        with MODEL_LOCK:
            known = getattr(self, "_as_is", None)
            more = self.said.facts(self.trace) | self.many.facts(self.trace)
            chosen = self.lens(lens)
            pair = self.against.pair(self.trace)
            if pair is not None:
                target, foil = pair.followed(pair.foci(focus), target, foil)
            as_is = Painter(self.trace, focus, target, foil, keep, measure, chosen, known)
            painter = as_is
            if interventions:
                again = self.interventions.rerun(interventions, self.trace, as_is.position)
                alike = as_is.target, as_is.foil
                painter = Painter(again, focus, *alike, keep, measure, chosen)
                before = before_of(as_is, as_is.position)
                more = {"interventions": list(interventions), "before": compact(before)}
            both = None
            if pair is not None:
                both = self.against.painters(pair, painter, chosen)
                more["against"] = against_of(both)
            graph = painter.graph(layers)
            self.painter, self._as_is, self.facts = painter, as_is, dict(graph.model)
            self.against.drawn = both
            self.revision += 1
            self._remember(painter.target)
            self._remember(painter.foil)
            return {**compact_graph(graph), **more, "revision": self.revision}

    def lens(self, lens: Lens | str | None, fit: bool = False) -> Lens:
        """A lens for this model, by name or as it is; one that was given once is known by its name.

        Args:
            lens: a lens, the name of one, or None for the default.
            fit: whether to fit one that has not been.

        Raises:
            VisitError: there is none, it is another model's, or it has not been fitted.
        """
        with MODEL_LOCK:
            if isinstance(lens, str) and lens in self._given:
                return self._given[lens]
            found = lens_of(lens, self.trace, fit)
            if not isinstance(lens, str):
                self._given[found.name] = found
            return found

    def lenses(self) -> list[str]:
        """The names of the lenses that can be chosen at once."""
        known = known_lenses(self.trace)
        return [*known, *(name for name in self._given if name not in known)]

    def first(
        self,
        focus: int,
        target: TargetLike | Followed | None,
        foil: TargetLike | Followed | None,
        keep: Keep | dict[str, Any] | None,
        measure: str,
        lens: Lens | str | None = None,
        interventions: Sequence[dict[str, Any]] = (),
    ) -> First:
        """The first frame of a widget; arguments as `visit`."""
        position, keep = self.trace.position(focus), Keep.of(keep)
        asked = [(None, "") if t is None else self.follow(t) for t in (target, foil)]
        chosen = self.lens(lens, fit=True)
        told = asked[0][0], asked[1][0]
        graph = self.frame(position, *told, keep, measure, [], chosen, interventions)
        notes = joined((*(note for _, note in asked), *self.trace.notes))
        return First(graph, position, measure, keep, notes, graph["lens"])

    @property
    def edited(self) -> bool:
        """Whether what is drawn is a rerun with interventions."""
        return self.painter is not self._as_is

    def _check_as_is(self, what: str) -> None:
        if self.edited:
            raise VisitError(
                f"{what} of the pass as it is: take the interventions off to see them."
            )

    def exactness(self) -> dict[str, Any]:
        """How far off the identities are that can be checked without another pass."""
        with MODEL_LOCK:
            drawn = max(sheet.max_error for sheet in self.painter.sheets.values())
            error = max(drawn, last_logits_error(self.trace))
        tolerance = tolerance_of(self.trace)
        return {"max_error": compact(error), "exact": error <= tolerance}

    def audit(self, revision: int | None = None) -> dict[str, Any]:
        """How far off each identity is at the focus, against fresh passes of the model itself."""
        with MODEL_LOCK:
            self._check_revision(revision)
            self._check_as_is("Audits are")
            known = self.known_audit()
            if known is not None:
                return known
            trace, position = self.painter.trace, self.painter.position
            answer: dict[str, Any] = compact(audited(trace, position))
            self._audits.setdefault(trace, {})[position] = answer
            return answer

    def known_audit(self) -> dict[str, Any] | None:
        """The audit of the graph drawn, if it has been asked for."""
        return self._audits.get(self.painter.trace, {}).get(self.painter.position)

    def expand(self, layer: int, revision: int | None = None) -> dict[str, Any]:
        """The block graph of one layer."""
        with MODEL_LOCK:
            self._check_revision(revision)
            other = self.against.side(layer)
            nodes, edges = self.painter.block(layer)
            data = {"nodes": nodes, "edges": edges}
            return {"layer": layer, "revision": self.revision, **compact(data), **other}

    def project(
        self, nodes: list[str], revision: int | None = None, lenient: bool = False
    ) -> dict[str, Any]:
        """Vocabulary projections and all else that a panel shows of nodes.

        Args:
            nodes: their ids.
            revision: of the graph that they are asked of.
            lenient: say under "missing" why a node is not there, instead of answering for none.
        """
        with MODEL_LOCK:
            self._check_revision(revision)
            missing: dict[str, str] = {}
            others = [self.lens(name) for name in self.lenses()]
            other = self.against.details(nodes, others)
            there = other.get("against", ())
            nodes = [i for i in nodes if i not in there or self.against.shared(i, self.painter)]
            for node_id in nodes if lenient else ():
                try:
                    sheet_of(self.painter, node_id)
                except VisitError as error:
                    missing[node_id] = str(error)
            found = details(self.painter, [i for i in nodes if i not in missing], others)
            answer = {"revision": self.revision, "nodes": compact(found), **other}
            return {**answer, "missing": missing} if lenient else answer

    def routes(self, revision: int | None = None) -> dict[str, Any]:
        """The routes graph of what is drawn; what a node has none of is left out."""
        with MODEL_LOCK:
            self._check_revision(revision)
            self._check_as_is("Routes are")
            both = self.against.drawn
            return {"revision": self.revision, **routes_of(self.painter, both)}

    def attribution(self, revision: int | None = None) -> dict[str, Any]:
        """What each token adds to the followed logit along the kept routes."""
        with MODEL_LOCK:
            self._check_revision(revision)
            self._check_as_is("What tokens add is")
            return {"revision": self.revision, **compact(self.painter.attribution())}

    def predictions(self, revision: int | None = None) -> dict[str, Any]:
        """What the model says comes after each token."""
        with MODEL_LOCK:
            self._check_revision(revision)
            trace = self.painter.trace
            if trace not in self._predictions:
                self._predictions[trace] = compact(predictions(trace, self.painter.lens))
            return {"revision": self.revision, "positions": self._predictions[trace]}

    def of_pass(
        self, what: str, answer: Answer, revision: int | None = None, **params: Any
    ) -> dict[str, Any]:
        """An answer that is of the pass as it is.

        Args:
            what: it is, for the sentence that says so while interventions are drawn.
            answer: makes it of a painter and the params.
            revision: of the graph that it was asked on.
            params: what the browser said.
        """
        with MODEL_LOCK:
            self._check_revision(revision)
            self._check_as_is(what)
            return {"revision": self.revision, **compact(answer(self._as_is, **params))}

    def follow(self, value: Any) -> tuple[Followed, str]:
        """What a value of the `target` or `foil` trait follows, and a note where a text was several
        tokens, whose first is followed.

        Raises:
            VisitError: it can be no target.
        """
        note = ""
        if isinstance(value, dict):
            value = value.get("id")
            if isinstance(value, str):
                if value not in self._followed:
                    raise VisitError(
                        "This target is not known any more: set it from Python again, as in "
                        "widget.target = vw.Target([…])."
                    )
                return self._followed[value], note
        if isinstance(value, str):
            value, note = first_token(self.trace, value)
        found = followed(self.trace, value)
        self._remember(found)
        return found, note

    def named(self, target: Followed) -> dict[str, Any]:
        """A target as the traits have it."""
        texts = self.trace.texts(target.ids)
        if target.kind == "token":
            return {"id": target.ids[0], "text": texts[0]}
        return {"id": target.key, "text": name_of(target, texts), "combine": target.kind}

    def _remember(self, target: Followed | None) -> None:
        if target is None or target.kind == "token":
            return
        self._followed[str(target.key)] = target
        while len(self._followed) > FOLLOWED_LIMIT:
            self._followed.popitem(last=False)

    def vocabulary(self, query: str, limit: int = VOCABULARY_LIMIT) -> dict[str, Any]:
        """Tokens that match what was typed: equal first, then beginning with it, then containing
        it; short ones first.
        """
        if self._vocabulary is None:
            self._vocabulary = self.trace.texts(range(self.trace.n_vocab))
        return {"tokens": matching(self._vocabulary, query, limit)}

    def _check_revision(self, revision: int | None) -> None:
        if revision is not None and revision != self.revision:
            raise VisitError(
                "The graph has changed since this was asked; ask again on the new one."
            )
