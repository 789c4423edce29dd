"""A generation in a widget: the tokens that came, which of them is shown, and its branches.

`docs/protocol.md`, Generations, has the shapes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import traitlets

from ..model import VisitError
from ..model.exclusive import MODEL_LOCK
from ..trace.generation import Generation
from ..trace.steps import Step
from ..trace.trace import Trace
from ..what_if.variants import Progress
from .plain import compact

if TYPE_CHECKING:
    from .session import Session


@dataclass(frozen=True)
class Branch:
    """One of the texts that a widget knows.

    Attributes:
        generation: it.
        of, at: which one it left, and at which new token; None for the first.
    """

    generation: Generation
    of: int | None = None
    at: int | None = None


class Said:
    """What a widget's model said: a generation and the branches that were made of it.

    Attributes:
        branches: in the order in which they were made; [] where the widget is of a prompt.
        now: which of them is shown.
    """

    def __init__(self) -> None:
        self.branches: list[Branch] = []
        self.now = 0

    @property
    def generation(self) -> Generation:
        """The one that is shown.

        Raises:
            VisitError: there is none.
        """
        if not self.branches:
            raise VisitError(
                "This widget is of a prompt and has no steps: pass it a generation, as in "
                "vw.visit(vw.generate(model, tokenizer, prompt))."
            )
        return self.branches[self.now].generation

    def place(self, trace: Trace) -> int | None:
        """Which step a trace is of; None for another prompt's."""
        if not self.branches:
            return None
        said, ids = self.generation, trace.input_ids.tolist()
        n = len(ids) - said.input_ids.numel()
        known = [*said.input_ids.tolist(), *said.token_ids[: max(n, 0)]]
        return n if 0 <= n < len(said) and ids == known else None

    def facts(self, trace: Trace) -> dict[str, Any]:
        """What a graph says of the step that it is of."""
        if not self.branches:
            return {}
        return {"branch": self.now, "step": self.place(trace)}

    def data(self) -> dict[str, Any] | None:
        """What is shown, as the trait `generation` carries it."""
        if not self.branches:
            return None
        said = self.generation
        data: dict[str, Any] = compact({
            "begun": said.input_ids.numel(),
            "tokens": [_token(step) for step in said.steps],
            "interrupted": said.interrupted,
            "branches": [_branch(b) for b in self.branches],
        })  # fmt: skip
        return data

    def step_to(self, step: int | None, session: Session) -> int | None:
        """Show a step; None leaves what is shown.

        Raises:
            VisitError: there is no such step.
        """
        now = self.place(session.trace)
        if step is None or step == now:
            return now
        said = self.generation
        if not -len(said) <= step < len(said):
            raise VisitError(
                f"There is no step {step}: the generation has {len(said)} new tokens, from 0 to "
                f"{len(said) - 1}."
            )
        session.trace = said.traces[step]
        return step % len(said)

    def turn_to(self, branch: int | None, session: Session) -> int | None:
        """Show a branch, at the step that is shown or the last before it; None leaves what is.

        Raises:
            VisitError: there is no such branch.
        """
        if not self.branches or branch is None or branch == self.now:
            if branch is not None:
                self.generation  # noqa: B018 - says that there is none
            return self.now if self.branches else None
        if not 0 <= branch < len(self.branches):
            raise VisitError(
                f"There is no branch {branch}: there are {len(self.branches)}, from 0 to "
                f"{len(self.branches) - 1}."
            )
        step = self.place(session.trace) or 0
        self.now = branch
        # Of the pass that they share, another token came.
        session.trace = self.generation.traces[min(step, len(self.generation) - 1)]
        return branch

    def add(self, at: int, token: int | str | None, tell: Progress | None) -> int:
        """Make a branch of what is shown (`Generation.branch`); which one it is."""
        said = self.generation
        more: dict[str, Any] = {} if tell is None else {"streamer": _Telling(tell, len(said) - at)}
        with MODEL_LOCK:
            made = said.branch(at, token, **more)
        self.branches.append(Branch(made, self.now, at))
        return len(self.branches) - 1


class _Telling:
    """Tells how far a generation is, as a streamer of `generate`."""

    def __init__(self, tell: Progress, total: int) -> None:
        self.tell, self.total, self.done = tell, max(total, 1), 0

    def put(self, _ids: Any) -> None:
        """Hear of the prompt, and then of each new token."""
        self.tell(min(self.done, self.total), self.total)
        self.done += 1

    def end(self) -> None:
        """Hear that it is done."""


class Steps(traitlets.HasTraits):
    """The part of the widget that shows a generation (`vw.visit(generation)`).

    Attributes:
        generation: the new tokens as plain data (docs/protocol.md), or None.
        branch: which branch is shown; 0 is the generation that was passed.
        step: which new token's pass is shown, from 0, with the token that came as the target.
            Setting it leaves the rest of the view as it is. None where what is shown is none of
            them.
        playing: whether one step after the other is shown by `play`. While they pass by, the page
            asks for nothing that it would not show; set False to stop.
    """

    _session: Session
    focus: Any
    target: Any
    foil: Any

    generation = traitlets.Any(None, allow_none=True, read_only=True).tag(sync=True)
    branch = traitlets.Int(None, allow_none=True).tag(sync=True)
    step = traitlets.Int(None, allow_none=True).tag(sync=True)
    playing = traitlets.Bool(False).tag(sync=True)

    _playing: asyncio.Task[None] | None = None

    def play(self, delay: float = 1.0) -> asyncio.Task[None]:
        """Show one step after the other up to the last one, as a task of the notebook's event loop.

        Between two steps the kernel is free. It begins with the step that is shown, or with the
        first where that is the last. Whoever sets `step` or `branch` meanwhile ends it; so does
        `cancel()` of what is returned.

        Args:
            delay: seconds for which each step stands.

        Raises:
            VisitError: there is no generation, or no event loop that runs (in a script): set `step`
                in a loop of your own there.
        """
        self._session.said.generation  # noqa: B018 - says that there is none
        if delay < 0:
            raise VisitError(
                f"delay={delay} is before now: pass the seconds that each step stands."
            )
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise VisitError(
                "Nothing can be played here, because no event loop runs: set widget.step = i in a "
                "loop of your own, or call widget.play() in a notebook."
            ) from None
        self._stop()
        self._playing = loop.create_task(self._play(delay))
        self._playing.add_done_callback(self._rest)
        self.playing = True
        return self._playing

    def _rest(self, task: asyncio.Task[None]) -> None:
        if self._playing is task or self._playing is None:
            self._playing, self.playing = None, False

    async def _play(self, delay: float) -> None:
        last = len(self._session.said.generation) - 1
        if self.step is None or self.step == last:
            self.step = 0
        while self.step is not None and self.step < last:
            shown = self.branch, self.step
            await asyncio.sleep(delay)
            if (self.branch, self.step) != shown:
                return
            self.step += 1

    def _stop(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
            self._playing = None

    @traitlets.observe("playing")
    def _heard_playing(self, change: Any) -> None:
        if not change["new"]:
            self._stop()

    @traitlets.validate("branch")
    def _valid_branch(self, proposal: Any) -> int | None:
        return self._session.said.turn_to(proposal["value"], self._session)

    @traitlets.validate("step")
    def _valid_step(self, proposal: Any) -> int | None:
        return self._session.said.step_to(proposal["value"], self._session)

    def _tell_step(self) -> None:
        """Set the traits by what the session shows."""
        said = self._session.said
        self.set_trait("generation", said.data())
        self.branch = said.now if said.branches else None
        self.step = said.place(self._session.trace)

    def _aim(self, before: dict[str, Any]) -> tuple[int, Any, Any]:
        """Focus, target and foil of another step: its last token and the one that came, unless they
        came along.
        """
        last = len(self._session.trace) - 1
        return (
            self.focus if "focus" in before else last,
            self.target if "target" in before else None,
            self.foil if "foil" in before else None,
        )


def _token(step: Step) -> dict[str, Any]:
    first = {"id": step.first, "text": step.first_text, "probability": step.first_probability}
    return {
        "id": step.token,
        "text": step.text,
        "probability": step.probability,
        "rank": step.rank,
        "first": None if step.rank == 1 else first,
        "put": step.put,
    }


def _branch(branch: Branch) -> dict[str, Any]:
    at, said = branch.at, branch.generation
    token = None
    if at is not None:
        token = {"id": said.token_ids[at], "text": said.tokens[at]}
    return {"of": branch.of, "at": at, "token": token}
