"""Many prompts in one widget: what is kept of each, and which of them is open.

Of each prompt are kept its token ids, the last token's stream after every layer, and what is read
in it; the passes are let go, and taken again for those that are opened, of which the last few stay.

`docs/protocol.md`, Many prompts, has the shapes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..findings.facts import Fact
from ..flow.glance import glance, streams_of
from ..lens import Lens
from ..lens.progress import Progress, told
from ..model import VisitError
from ..model.encoding import decode
from ..model.exclusive import MODEL_LOCK
from ..model.given import check_language_model
from ..model.loaded import check_traceable, unwrapped
from ..trace.batches import Batches, batched
from ..trace.inputs import Prepared, checked, prepare
from ..trace.target import Followed, TargetLike, first_token, followed
from ..trace.trace import Trace
from ..trace.tracing import trace_prepared
from .plain import compact

if TYPE_CHECKING:
    from .session import Session

MOST_PROMPTS = 500
# What is run at once, padding included.
BATCH_PROMPTS, BATCH_TOKENS = 16, 4096
# Traces that are kept of those that were opened.
MOST_TRACES = 3
# Letters of a prompt that travel with its small river.
MOST_LETTERS = 2000


def several(prompt: Any) -> list[Any] | None:
    """The prompts, where there are many: a list of texts, chats, lists of token ids, or facts. None
    for one prompt: the messages of a chat, or token ids.
    """
    if not isinstance(prompt, (list, tuple)) or not prompt:
        return None
    if len(prompt) == 1 and not isinstance(prompt[0], (str, Fact)):
        return None  # one chat or row of token ids in a batch of its own
    return list(prompt) if any(map(_is_prompt, prompt)) else None


def _is_prompt(given: Any) -> bool:
    """Whether an item of a list is a prompt by itself, and no message or token id."""
    if isinstance(given, Mapping):
        return "role" not in given
    if hasattr(given, "ndim"):
        return bool(given.ndim > 0)
    return isinstance(given, (str, Fact, list, tuple)) or hasattr(given, "input_ids")


@dataclass
class Entry:
    """One of many prompts.

    Attributes:
        prompt: as the model takes it; None where it cannot be used.
        text: as it is shown.
        problem: why it cannot be used.
        brief: of a chat, what was said last; "" elsewhere.
        answer: what it should say, where that is known.
        streams: (n_layers + 1, d_model) at its focus.
        target: what is followed; None for the first choice.
        focus, foil: as they were when it was left.
        row: what is shown of it.
        read_by: the lens by which it was read.
        opened: whether it has been opened.
    """

    prompt: Prepared | None
    text: str
    problem: str = ""
    brief: str = ""
    answer: Followed | None = None
    streams: Tensor | None = None
    target: Followed | None = None
    focus: int = -1
    foil: Followed | None = None
    row: dict[str, Any] = field(default_factory=dict)
    read_by: str = ""
    opened: bool = False

    @property
    def key(self) -> tuple[int, ...]:
        """What decides its streams."""
        return () if self.prompt is None else (self.focus, *self.prompt.ids.tolist())


class Many:
    """The prompts of a widget; none where it shows one alone.

    Attributes:
        entries: in the order in which they were given.
        now: the one whose graph is drawn.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.now = 0
        self._held: OrderedDict[int, Trace] = OrderedDict()

    def __len__(self) -> int:
        return len(self.entries)

    def take(
        self,
        given: Sequence[Any],
        session: Session,
        focus: int = -1,
        target: TargetLike | None = None,
        add_special_tokens: bool | None = None,
        progress: Progress = True,
    ) -> None:
        """Run prompts, keep of each what is shown, and give the session the trace of the first.

        Args:
            given: the prompts.
            session: of the widget.
            focus: the position that is shown of each.
            target: what is followed in each; by default a fact's answer, else the first choice.
            add_special_tokens: as `visit_widget.trace`.
            progress: a bar, silence, or what is told (done, total).

        Raises:
            VisitError: none of them can be used, or they are too many.
        """
        if len(given) > MOST_PROMPTS:
            raise VisitError(
                f"These are {len(given):,} prompts, and a widget shows at most {MOST_PROMPTS}: "
                "pass fewer, or look at all of them with vw.study."
            )
        model = unwrapped(session.model)
        check_language_model(model)
        check_traceable(model)
        tokenizer = session.tokenizer
        entries = [_entry(model, tokenizer, one, add_special_tokens) for one in given]
        for entry in entries:
            entry.focus = focus
        failed = self._run(entries, model, session, progress)
        usable = [n for n, entry in enumerate(entries) if not entry.problem]
        if not usable:
            if failed is not None:
                raise failed
            raise VisitError(f"None of the prompts can be used. {problems_in(entries)}")
        self.entries, self.now = entries, usable[0]
        self.open(usable[0], session)
        for entry, one in zip(entries, given, strict=True):
            entry.answer = _answer(session.trace, one)
            wanted = target if target is not None else entry.answer
            if isinstance(wanted, str):
                wanted = first_token(session.trace, wanted)[0]
            entry.target = None if wanted is None else followed(session.trace, wanted)

    def put(self, entries: list[Entry], drawn: int, session: Session, known: Many) -> None:
        """As `take`, of prompts that were taken before.

        Args:
            entries: them, without what is made by their passes.
            drawn: the number of the one whose trace the session is given.
            session: of the widget.
            known: prompts of the same model, whose passes need not be taken again.
        """
        model = unwrapped(session.model)
        check_language_model(model)
        check_traceable(model)
        own = {entry.key: entry.streams for entry in known.entries}
        for entry in entries:
            entry.streams = own.get(entry.key)
        self._run(entries, model, session, progress=False)
        for entry in entries:
            if entry.prompt is not None:
                entry.brief = _said_last(entry.prompt, session.tokenizer)
        self.entries, self.now = entries, drawn
        self.check(drawn)
        self.open(drawn, session)

    def _run(
        self, entries: list[Entry], model: Any, session: Session, progress: Progress
    ) -> VisitError | None:
        """Take the passes, a batch at a time, and keep the streams at the focus; the last error of
        a pass.
        """
        failed = None
        run = Batches(model, session.tokenizer, anatomy=session.anatomy, keep_on=session.keep_on)
        usable = [(e, e.prompt) for e in entries if e.prompt is not None and e.streams is None]
        plan = batched([p.ids.numel() for _, p in usable], BATCH_PROMPTS, BATCH_TOKENS)
        done = len(entries) - len(usable)
        loud = progress if callable(progress) else progress and len(plan) > 1
        with told(loud, len(entries), "visit", "prompt") as tell:
            tell(done, len(entries))
            for numbers in plan:
                batch = [usable[n] for n in numbers]
                try:
                    traces: Any = run([prompt for _, prompt in batch], stacklevel=6)
                    self._keep([entry for entry, _ in batch], traces)
                except VisitError:
                    # One of them: each by itself, so that no other is lost for it.
                    for entry, prompt in batch:
                        try:
                            self._keep([entry], [run.alone(prompt)])
                        except VisitError as error:
                            entry.problem, failed = str(error), error
                done += len(batch)
                tell(done, len(entries))
        return failed

    @staticmethod
    def _keep(entries: Sequence[Entry], traces: Any) -> None:
        for entry, trace in zip(entries, traces, strict=True):
            entry.streams = streams_of(trace, trace.position(entry.focus)).cpu()

    def check(self, number: int) -> int:
        """The number of a prompt, from 0, that can be opened.

        Raises:
            VisitError: there is none.
        """
        if not self.entries:
            raise VisitError(
                "This widget is of one prompt: pass a list of prompts to vw.visit to open one of "
                "many."
            )
        n = len(self)
        if isinstance(number, bool) or not isinstance(number, int) or not -n <= number < n:
            raise VisitError(f"There is no prompt {number}: there are {n}, from 0 to {n - 1}.")
        number %= n
        if self.entries[number].problem:
            raise VisitError(f"prompts[{number}] cannot be used: {self.entries[number].problem}")
        return number

    def open(self, number: int, session: Session) -> None:
        """Give the session the trace of a prompt."""
        trace = self.trace(number, session)
        self._hold(number, trace)
        session.trace = trace

    def trace(self, number: int, session: Session) -> Trace:
        """The trace of a prompt, taken again unless it is among the last few."""
        if number in self._held:
            return self._held[number]
        prompt, model = self.entries[number].prompt, unwrapped(session.model)
        assert prompt is not None
        with MODEL_LOCK:
            check_traceable(model)
            ready = checked(model, prompt)
            return trace_prepared(model, session.tokenizer, ready, session.anatomy, session.keep_on)

    def _hold(self, number: int, trace: Trace) -> None:
        self._held[number] = trace
        self._held.move_to_end(number)
        while len(self._held) > MOST_TRACES:
            self._held.popitem(last=False)

    def facts(self, trace: Trace) -> dict[str, Any]:
        """What a graph says of the prompt that it is of."""
        if not self.entries:
            return {}
        place = next((n for n, held in self._held.items() if held is trace), self.now)
        return {"opened": place}

    def leave(self, session: Session) -> None:
        """Remember how the prompt that is drawn is looked at."""
        entry, painter = self.entries[self.now], session.painter
        entry.focus, entry.target, entry.foil = painter.position, painter.target, painter.foil

    def drawn(self, session: Session) -> int:
        """Take note of a new graph: of which prompt it is, what it follows, and the prompt itself
        where it was changed.
        """
        trace = session.trace
        self.now = self.facts(trace)["opened"]
        entry = self.entries[self.now]
        if self._held.get(self.now) is not trace:
            entry.prompt = Prepared(trace.input_ids, trace._text, trace.special, turns=trace.turns)
            entry.text, entry.brief, entry.answer = trace.prompt, _brief(entry.prompt, trace), None
            entry.streams = None
            self._hold(self.now, trace)
        position = session.painter.position
        if entry.streams is None or position != trace.position(entry.focus):
            entry.streams, entry.row = streams_of(trace, position).cpu(), {}
        if entry.target != session.painter.target:
            entry.row = {}
        self.leave(session)
        return self.now

    def read(self, lens: Lens, trace: Trace, again: bool = False) -> None:
        """Read what has not been read: the prompt that is drawn by this lens, the others by any, or
        all of them again by this one.
        """
        with MODEL_LOCK:
            for number, entry in enumerate(self.entries):
                wanted = not entry.row or (
                    entry.read_by != lens.name and (again or number == self.now)
                )
                if wanted and entry.streams is not None:
                    seen = glance(trace, lens, entry.streams, entry.target)
                    entry.row, entry.read_by = _row(entry, seen), lens.name

    def data(self) -> dict[str, Any] | None:
        """What is shown of all, as the trait `prompts` carries it."""
        if not self.entries:
            return None
        rows = [entry.row or _text_of(entry, problem=entry.problem) for entry in self.entries]
        return {"lens": self.entries[self.now].read_by, "rows": rows}

    @property
    def target(self) -> Followed | None:
        """What is followed in the prompt that is drawn, where that was said."""
        return self.entries[self.now].target if self.entries else None

    @property
    def notes(self) -> str:
        """A sentence on the prompts that cannot be used; "" where all can."""
        return problems_in(self.entries)


def problems_in(entries: Sequence[Entry]) -> str:
    """A sentence on the prompts that cannot be used; "" where all can."""
    bad = [(n, entry.problem) for n, entry in enumerate(entries) if entry.problem]
    if not bad:
        return ""
    named = " ".join(f"prompts[{n}]: {problem}" for n, problem in bad[:3])
    more = f" And {len(bad) - 3} more." if len(bad) > 3 else ""
    return f"{len(bad)} of {len(entries)} prompts cannot be used. {named}{more}"


def _entry(model: Any, tokenizer: Any, given: Any, special: bool | None) -> Entry:
    asked = given.prompt if isinstance(given, Fact) else given
    try:
        own = special if isinstance(asked, str) else None
        prompt = prepare(model, tokenizer, asked, add_special_tokens=own)
    except VisitError as error:
        return Entry(None, asked if isinstance(asked, str) else repr(asked)[:60], str(error))
    return _usable(prompt, tokenizer)


def _usable(prompt: Prepared, tokenizer: Any) -> Entry:
    if prompt.text is not None:
        return Entry(prompt, prompt.text)
    ids = prompt.ids.tolist()
    text = " ".join(f"#{i}" for i in ids) if tokenizer is None else decode(tokenizer, ids)
    return Entry(prompt, text, brief=_said_last(prompt, tokenizer))


def _brief(prompt: Prepared, trace: Trace) -> str:
    return _said_last(prompt, trace.tokenizer)


def _said_last(prompt: Prepared, tokenizer: Any) -> str:
    """Of a chat, what was said last; "" of anything else."""
    spans = [turn.said for turn in prompt.turns or () if turn.said is not None]
    if not spans or tokenizer is None:
        return ""
    start, end = spans[-1]
    return decode(tokenizer, prompt.ids[start:end].tolist()).strip()


def _answer(trace: Trace, given: Any) -> Followed | None:
    """What a fact should go on with."""
    if not isinstance(given, Fact) or not given.answer or trace.tokenizer is None:
        return None
    return followed(trace, first_token(trace, given.answer)[0])


def _row(entry: Entry, seen: dict[str, Any]) -> dict[str, Any]:
    right = None
    if entry.answer is not None:
        right = seen["first"]["id"] in entry.answer.ids
    numbers: dict[str, Any] = compact(seen)
    numbers["probabilities"] = [None if p is None else round(p, 4) for p in seen["probabilities"]]
    return {**_text_of(entry, right=right), **numbers}


def _text_of(entry: Entry, **more: Any) -> dict[str, Any]:
    text, half = entry.text, MOST_LETTERS // 2
    if len(text) > MOST_LETTERS:
        text = f"{text[:half]} … {text[-half:]}"
    brief = {"brief": entry.brief[:MOST_LETTERS]} if entry.brief else {}
    return {"text": text, **brief, **{k: v for k, v in more.items() if v is not None}}
