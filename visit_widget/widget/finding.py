"""Findings that a widget shows: where attention is parked, and what concerns one head or neuron.

`docs/protocol.md`, Requests, has the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..findings.corpus import Worker, answer_of
from ..findings.elsewhere import most_telling, part_at_work
from ..findings.facts import Fact, factual_prompts
from ..findings.head_reads import head_reads
from ..findings.joint_embedding import joint_embedding
from ..findings.results import Study
from ..findings.sinks import OUTLIER, parked_tokens, stream_ratios
from ..model import VisitError
from ..what_if.variants import Progress

if TYPE_CHECKING:
    from ..flow import Painter
    from ..trace import Trace
    from .session import Session

# Facts of each relation that are looked through, where no study was given.
EACH = 3
N_TELLING = 5
BATCH = 8
# Bytes of traces that are kept for the next question.
KEPT_BYTES = 2**27
# Heads that are shown apart of those that a head reads.
N_READ = 12

_HEAD = re.compile(r"L(\d+)\.H(\d+)$")


def sinks(painter: Painter) -> dict[str, Any]:
    """Tokens on which attention is parked, and those whose stream is far longer than the others'
    (docs/protocol.md).
    """
    trace = painter.trace
    ratios = stream_ratios(trace)
    said = []
    for at in range(len(trace)):
        layer = int(ratios[:, at].argmax())
        ratio = float(ratios[layer, at])
        found = {"position": at, "ratio": ratio, "layer": layer} if ratio >= OUTLIER else None
        said.append(found)
    here = ratios[:, painter.position]
    return {
        "sinks": parked_tokens(trace),
        "outliers": [found for found in said if found is not None],
        "streams": [
            {"layer": layer, "ratio": float(here[layer])}
            for layer in range(trace.n_layers)
            if here[layer] >= OUTLIER
        ],
    }


def joined(painter: Painter, head: str) -> dict[str, Any]:
    """A head's queries and keys in one space (docs/protocol.md)."""
    layer, number = _numbers(head)
    rows = joint_embedding(painter.trace, layer, number)
    keys = ("kind", "position", "x", "y")
    (first, *_) = rows
    return {
        "head": head, "points": [{k: row[k] for k in keys} for row in rows],
        "correlation": first["correlation"], "explained": first["explained"],
    }  # fmt: skip


def reads(painter: Painter, head: str, progress: Progress | None = None) -> dict[str, Any]:
    """The earlier heads that a head reads most (docs/protocol.md)."""
    layer, number = _numbers(head)
    rows = head_reads(painter.trace, layer, number, painter.position, progress)
    by_weights = sorted(rows, key=lambda row: -row["score"])[: N_READ // 2]
    shown = [*rows[:N_READ], *(row for row in by_weights if row not in rows[:N_READ])]
    where = {row["reads"]: row["source"] for row in rows}
    return {
        "head": head, "sources": where, "count": len(rows),
        "edges": [
            {"source": f"L{row['writer_layer']}.H{row['writer']}", "target": head,
             "reads": row["reads"], "score": row["score"], "traced": row["traced"]}
            for row in shown
        ],
    }  # fmt: skip


class Elsewhere:
    """What a head or neuron does in other prompts: those of a study, or packaged facts.

    Attributes:
        study: whose prompts are looked through; None for the packaged ones.
    """

    def __init__(self) -> None:
        self.study: Study | None = None
        # What was found, by part; and traces of the first facts: the prompts stay the same.
        self._known: dict[str, dict[str, Any]] = {}
        self._traces: dict[Fact, Trace] = {}

    def take(self, study: Study | None) -> None:
        """Look through another study from now on.

        Raises:
            VisitError: it is none, or has no prompts.
        """
        if study is not None and (not isinstance(study, Study) or not study.prompts):
            raise VisitError(
                "This is no study with prompts: pass what vw.study(…) gives, or None for the "
                "packaged facts."
            )
        self.study, self._known, self._traces = study, {}, {}

    def __call__(
        self, painter: Painter, part: str, progress: Progress | None = None
    ) -> dict[str, Any]:
        """The prompts that show best what a part does (docs/protocol.md)."""
        if part not in self._known:
            self._known[part] = self._look(painter.trace, part, progress)
        return self._known[part]

    def _look(self, trace: Trace, part: str, progress: Progress | None) -> dict[str, Any]:
        facts, of = self._facts(part)
        worker = Worker(trace.model, trace.tokenizer, {}, "right")
        rows: list[dict[str, Any]] = []
        for begin in range(0, len(facts), BATCH):
            some = dict(enumerate(facts[begin : begin + BATCH], begin))
            for number, one in self._traced(worker, some).items():
                if progress is not None:
                    progress(number, len(facts))
                fact = facts[number]
                (row,) = part_at_work(one, answer_of(one, fact), part)
                rows.append({"text": fact.prompt, "answer": bool(fact.answer), **row})
        best = most_telling(rows, N_TELLING)
        keys = (
            "text", "answer", "target", "foil", "effect", "says", "token", "attention",
            "activation",
        )  # fmt: skip
        return {
            "part": part, "looked": of, "study": self.study is not None,
            "prompts": [{k: row.get(k) for k in keys} for row in best],
            "mean": sum(abs(row["effect"]) for row in rows) / len(rows),
        }  # fmt: skip

    def _traced(self, worker: Worker, facts: dict[int, Fact]) -> dict[int, Trace]:
        known = {n: self._traces[f] for n, f in facts.items() if f in self._traces}
        if len(known) == len(facts):
            return known
        found = worker.traced(facts)
        held = sum(map(_size, self._traces.values()))
        for number, one in found.items():
            held += _size(one)
            if held <= KEPT_BYTES:
                self._traces[facts[number]] = one
        return found

    def _facts(self, part: str) -> tuple[Sequence[Fact], int]:
        """The prompts to run, and of how many they are the most telling."""
        if self.study is None:
            facts = factual_prompts(each=EACH)
            return facts, len(facts)
        prompts = self.study.prompts
        if "part_effects" in self.study:
            measured = [row for row in self.study.rows("part_effects") if row["part"] == part]
            best = {row["prompt"] for row in most_telling(measured, N_TELLING)}
            prompts = [row for row in prompts if row["prompt"] in best] or prompts
        facts = [
            Fact(r["text"], (r["answer"] or "").replace("␣", " "), r["relation"], r["subject"])
            for r in prompts
        ]
        return facts, len(self.study.prompts)


def _size(trace: Trace) -> int:
    """About how many bytes a trace keeps."""
    found = 0
    for n, layer in enumerate(trace.record.layers):
        kept = layer.attention
        found += 2 * trace.residual(n, "pre").nbytes
        found += 0 if kept is None else sum(t.nbytes for t in (kept.query, kept.key, kept.value))
    return found


def _numbers(head: str) -> tuple[int, int]:
    found = _HEAD.match(str(head))
    if found is None:
        raise VisitError(f"{head!r} is no head: ask with an id such as 'L3.H4'.")
    return int(found[1]), int(found[2])


class Findings:
    """The part of the widget that answers for findings."""

    _elsewhere: Elsewhere

    @property
    def study(self) -> Study | None:
        """The study whose prompts tell what heads and neurons do elsewhere; None for packaged
        facts. Of one that holds `part_effects` only the most telling prompts are run again.
        """
        return self._elsewhere.study

    @study.setter
    def study(self, study: Study | None) -> None:
        self._elsewhere.take(study)

    def _findings(self, session: Session) -> dict[str, Any]:
        self._elsewhere = Elsewhere()
        return {
            "sinks": partial(session.of_pass, "Sinks are", sinks),
            "joint_embedding": partial(session.of_pass, "Queries and keys are", joined),
        }

    def _slow_findings(self, session: Session) -> dict[str, Any]:
        return {
            "head_reads": partial(session.of_pass, "What heads read is", reads),
            "elsewhere": partial(session.of_pass, "What parts do is", self._elsewhere),
        }
