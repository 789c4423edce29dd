"""The pass once more, with parts of it taken away, scaled or exchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ..model import VisitError
from ..model.exclusive import exclusive
from ..model.forward import logits_of
from ..model.loaded import eval_mode
from ..model.watch import input_device
from ..trace import Trace
from ..trace.changes import HeldNorm
from ..trace.edits import Edits
from ..trace.recording import record
from .actions import ActionLike, action_of
from .compiled import Compiler
from .parts import part_of

Positions = str | int | Sequence[int]
FREEZE = ("attention", "norms")


def rerun(
    trace: Trace,
    interventions: Mapping[str, ActionLike],
    positions: Positions = "focus",
    freeze: Sequence[str] = (),
) -> Trace:
    """Run a traced prompt again with interventions.

    Args:
        trace: the pass as it was.
        interventions: {id: action}; ids as in `parts.py`, actions "zero", "mean" (over the prompt's
            positions), a factor, a vector of d_model that takes the part's place in the stream (of
            a query, key or value: of its own width), or a trace of another prompt to take the same
            part from. Several are done at once.
        positions: where, for ids that do not say: "focus" (the last token), "all", a position, or
            several.
        freeze: what is held as it was: "attention" (the weights), "norms" (their scales).

    Returns:
        The trace of that pass. What it says of parts that were edited is as they are after it; what
        an edit leaves between a whole and its parts is drawn as a part of its own.

    Raises:
        VisitError: an argument means nothing here; the message says what does.
    """
    run, where = Rerun(trace), positions_of(trace, positions)
    for name, action in interventions.items():
        run.add(name, action, where)
    return run.trace(freeze)


class Rerun:
    """A run of a prompt with interventions, which are added one by one.

    Args:
        before: the pass as it was.

    Raises:
        VisitError: it cannot be run again.
    """

    def __init__(self, before: Trace) -> None:
        before.needs_model("A run with a part taken away")
        if before.edits is not None:
            raise VisitError(
                "This trace is a rerun itself: run the trace that it was made of again, with all "
                "interventions at once."
            )
        self.before, self.edits = before, Edits()

    def add(self, name: str, action: ActionLike, positions: Positions = "focus") -> None:
        """One intervention; arguments as `rerun`.

        Raises:
            VisitError: an argument means nothing here.
        """
        trace, done = self.before, action_of(self.before, action)
        part = part_of(trace, name)
        where = positions_of(trace, positions) if part.position is None else [part.position]
        with exclusive(self.before.model):
            Compiler(trace, self.edits).add(part, done, where, torch.tensor(where))
        self.edits.names[name] = str(done)

    def trace(self, freeze: Sequence[str] = ()) -> Trace:
        """The trace of the run.

        Args:
            freeze: as `rerun`.
        """
        before, edits = self.before, self.edits
        wrong = [name for name in freeze if name not in FREEZE]
        if wrong:
            raise VisitError(f"freeze={wrong[0]!r} is nothing that can be held: use {FREEZE}.")
        with exclusive(self.before.model):
            if "attention" in freeze:
                edits.held = {
                    n: layer.attention
                    for n, layer in enumerate(before.record.layers)
                    if layer.attention is not None
                }
            if "norms" in freeze:
                edits.hooks[:0] = held_norms(before)
            kept = record(before.model, before.anatomy, before.input_ids, before.keep_on, edits)
        made = Trace(
            before.model, before.tokenizer, before.input_ids, before.anatomy, kept, before._text
        )
        made.anatomy_given, made.keep_on = before.anatomy_given, before.keep_on
        made.special, made.notes, made.edits = before.special, before.notes, edits
        made.next_token, made.turns = before.next_token, before.turns
        return made


def positions_of(trace: Trace, positions: Positions) -> list[int]:
    """Positions from 0, checked."""
    if positions == "focus":
        return [len(trace) - 1]
    if positions == "all":
        return list(range(len(trace)))
    if isinstance(positions, int):
        return [trace.position(positions)]
    told = [] if isinstance(positions, str) else [trace.position(int(p)) for p in positions]
    if not told:
        raise VisitError(
            f"positions={positions!r} says nowhere: use 'focus', 'all', a position or a list of "
            "them."
        )
    return sorted(set(told))


def held_norms(trace: Trace) -> list[HeldNorm]:
    """The model's norms at the scales of the pass as it was, which is run once more for them."""
    scales: dict[nn.Module, list[Tensor]] = {}
    norms = {module: trace.norm(module, width=width) for module, width in _norms(trace).items()}

    def note(module: nn.Module, args: Any, _output: Any) -> None:
        norm = norms[module]
        assert norm is not None
        scales.setdefault(module, []).append(norm.scale(args[0].to(norm.gain.dtype)))

    ids = trace.input_ids[None].to(input_device(trace.model))
    with torch.no_grad(), ExitStack() as stack, eval_mode(trace.model):
        for module in norms:
            stack.callback(module.register_forward_hook(note).remove)
        logits_of(trace.model, ids, afresh=scales.clear)
    return [HeldNorm(norms[m], m, every) for m, every in scales.items()]  # type: ignore[arg-type]


def _norms(trace: Trace) -> dict[nn.Module, int | None]:
    """The norms on the way, and their widths where that is not the stream's."""
    found: dict[nn.Module, int | None] = {}
    for part in trace.anatomy.blocks:
        for join in (part.attention_join, part.mlp_join):
            for norm in (join.post_norm, join.carry_norm, join.stream_norm):
                if norm is not None:
                    found[norm] = None
        for norm in (part.attention_norm, part.mlp_norm):
            if norm is not None:
                found[norm] = None
        for norm in (*part.inner_norms, part.heads_norm):
            if norm is not None:
                found[norm] = next((p.numel() for p in norm.parameters()), None)
    if trace.anatomy.final_norm is not None:
        found[trace.anatomy.final_norm] = None
    return found
