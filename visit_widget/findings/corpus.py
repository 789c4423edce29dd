"""Findings over many prompts: batch by batch, resumable, in any split.

    found = vw.study(model, tokenizer, vw.findings.factual_prompts(), [head_overlap, norm_filter],
                     folder="heads-of-smollm")
    found.to_pandas("head_overlap").groupby("layer").final.mean()

A finding is a function of one trace that gives tidy rows: a list of dicts of plain values. Prompts
are run in padded batches, and every trace is of its own prompt, exactly as it would be alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ..lens.progress import Progress, told
from ..model import VisitError
from ..model.given import tokenizer_of
from ..model.loaded import unwrapped
from ..model.precision import wide
from ..trace import Trace
from ..trace.batch import Side
from ..trace.batches import Batches
from ..trace.fingerprint import fingerprint
from ..trace.inputs import prepare
from .facts import Fact
from .ranks import ranks_of
from .results import PROMPTS, Row, Study
from .store import Found, Store, digest

Finding = Callable[..., list[Row]]
Given = str | Fact | Mapping[str, Any] | Sequence[int]
ENGINES = ("local", "ray")


def study(
    model: PreTrainedModel,
    tokenizer: Any,
    prompts: Iterable[Given],
    findings: Sequence[Finding] | Mapping[str, Finding],
    *,
    batch_size: int = 8,
    padding: Side = "right",
    folder: str | Path | None = None,
    part: tuple[int, int] = (0, 1),
    engine: str = "local",
    n_workers: int = 2,
    progress: Progress = True,
) -> Study:
    """Run findings on many prompts.

    Args:
        model: as `vw.trace` takes it.
        tokenizer: its tokenizer; None where prompts are token ids.
        prompts: texts, `Fact`s (`factual_prompts`, `load_counterfact`), mappings with the keys of
            one, or token ids.
        findings: functions of a trace that give rows, those of `visit_widget.findings` or your own;
            one that takes `answer` is given the token id of the right answer, or None. A mapping
            names them.
        batch_size: prompts run in one padded pass, which is what memory is bounded by.
        padding: where prompts are padded: "right", or "left".
        folder: where to keep what is found, a file for each batch, whole or not there. Asked again
            for the same, a study goes on from what lies there, whatever stopped it.
        part: (i, n): only every n-th prompt, from the i-th. Several processes with one folder and
            a part each make one study. Those that torchrun or `accelerate launch` started share the
            prompts out by themselves, and each returns all of it; those that one model is sharded
            over (tensor parallelism) take the same ones.
        engine: "local", or "ray" to map batches over a Ray cluster (the extra `ray`).
        n_workers: actors of engine="ray", each with the model.
        progress: a bar, silence, or a function that is told (done, total).

    Raises:
        VisitError: a prompt or a finding cannot be used, or the folder holds another study; the
            message says what to do.
    """
    named = _named(findings)
    if engine not in ENGINES:
        raise VisitError(f"engine={engine!r} is not known: use 'local' or 'ray'.")
    if batch_size < 1:
        raise VisitError(f"batch_size={batch_size} runs nothing: use 1 or more.")
    index, of = part
    if not 0 <= index < of:
        raise VisitError(f"part={part} is no part: (0, 4) is the first of four, (3, 4) the last.")
    facts = [_fact(prompt) for prompt in prompts]
    if not facts:
        raise VisitError("There are no prompts to study: pass a list of texts or facts.")
    about = {
        "prompts": digest([vars(f) if isinstance(f, Fact) else list(f) for f in facts]),
        "findings": {name: _written(finding) for name, finding in named.items()},
    }
    worker = Worker(model, tokenizer, named, padding)
    with ranks_of(worker.model) as ranks:
        if engine != "local" and ranks.shares > 1:
            raise VisitError(
                f"engine={engine!r} has workers of its own, and torchrun started {ranks.shares} "
                "processes as well: leave engine= out, or start the script once."
            )
        store = ranks.agree(lambda: Store(folder, {"model": fingerprint(worker.model), **about}))
        done, asked = ranks.done(store), range(index, len(facts), of)
        todo = [n for n in asked if n not in done]
        batches = [todo[n : n + batch_size] for n in range(0, len(todo), batch_size)]
        mine = batches[ranks.share :: ranks.shares]
        left = sum(map(len, mine))
        total = left if ranks.shares > 1 else len(asked)
        count, shown = total - left, progress if ranks.first else False
        with ranks.sharing(store, worker.notes), told(shown, total, "study", "prompt") as tell:
            tell(count, total)
            for found in _results(engine, worker, facts, mine, n_workers):
                if ranks.first:
                    store.put(found)
                count += len(found)
                tell(count, total)
    return Study(store, list(named), len(facts), worker.notes)


def _results(
    engine: str,
    worker: Worker,
    facts: Sequence[Fact | list[int]],
    batches: Sequence[Sequence[int]],
    n_workers: int,
) -> Iterable[dict[int, Found]]:
    if engine == "ray":
        from .cluster import over_ray

        yield from over_ray(worker, facts, batches, n_workers)
        return
    for batch in batches:
        yield worker({n: facts[n] for n in batch})


class Worker:
    """Runs findings on batches of prompts.

    Args:
        model: the model.
        tokenizer: its tokenizer, or None.
        findings: by name.
        padding: where prompts are padded.

    Attributes:
        batches: what traces them.
        notes: what there is to say of how it went.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: Any, findings: Mapping[str, Finding], padding: Side
    ) -> None:
        self.model, self.tokenizer = unwrapped(model), tokenizer_of(tokenizer)
        self.findings = dict(findings)
        self.batches = Batches(self.model, self.tokenizer, padding)
        self.notes = self.batches.notes

    def __call__(self, batch: Mapping[int, Fact | list[int]]) -> dict[int, Found]:
        """{number of the prompt: {finding: rows}}, and the prompt's own row under "prompts"."""
        found: dict[int, Found] = {}
        for number, one in self.traced(batch).items():
            given = batch[number]
            answer = answer_of(one, given)
            rows: Found = {PROMPTS: [_about(one, number, given, answer)]}
            for name, finding in self.findings.items():
                more = {"answer": answer} if _wants_answer(finding) else {}
                rows[name] = [_plain(row) for row in finding(one, **more)]
            found[number] = rows
        return found

    def traced(self, batch: Mapping[int, Fact | list[int]]) -> dict[int, Trace]:
        """The traces of a batch: {number of the prompt: its trace}.

        Raises:
            VisitError: a prompt cannot be used.
        """
        made = []
        for number, given in batch.items():
            try:
                text = given.prompt if isinstance(given, Fact) else given
                made.append(prepare(self.model, self.tokenizer, text))
            except VisitError as error:
                raise type(error)(f"Prompt {number} cannot be used: {error}") from error
        return dict(zip(batch, self.batches(made, stacklevel=5), strict=True))


def _named(findings: Sequence[Finding] | Mapping[str, Finding]) -> dict[str, Finding]:
    if isinstance(findings, Mapping):
        named = dict(findings)
    else:
        names = [_name(finding) for finding in findings]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise VisitError(
                f"Two findings are called {twice!r}: name them, as in "
                f"{{'first': {twice}, 'second': …}}."
            )
        named = dict(zip(names, findings, strict=True))
    wrong = [name for name, finding in named.items() if not callable(finding)]
    if wrong or PROMPTS in named:
        raise VisitError(
            f"{wrong[0]!r} is no function of a trace: pass one of visit_widget.findings, or "
            "your own."
            if wrong
            else f"A finding cannot be called {PROMPTS!r}: that is what the prompts' own rows are."
        )
    return named


def _name(finding: Any) -> str:
    inner = finding.func if isinstance(finding, partial) else finding
    return str(getattr(inner, "__name__", type(inner).__name__))


def _written(finding: Any) -> str:
    """What tells a finding from another, so far as it can be written down."""
    if isinstance(finding, partial):
        return f"{_name(finding)}({finding.args}, {sorted(finding.keywords.items())})"
    return _name(finding)


def _wants_answer(finding: Any) -> bool:
    return "answer" in inspect.signature(finding).parameters


def _fact(given: Any) -> Fact | list[int]:
    if isinstance(given, Fact):
        return given
    if isinstance(given, str):
        return Fact(given)
    if isinstance(given, Mapping):
        known = {k: given[k] for k in ("prompt", "answer", "relation", "subject") if k in given}
        if isinstance(known.get("prompt"), str):
            return Fact(**known)
        raise VisitError("A prompt that is a mapping has a text under 'prompt'.")
    try:
        return [int(i) for i in given]
    except (TypeError, ValueError) as error:
        raise VisitError(
            f"A prompt is a text, a Fact or token ids, not {type(given).__name__}."
        ) from error


def answer_of(one: Trace, given: Fact | list[int]) -> int | None:
    """The first token of the answer, as it goes on after the prompt."""
    if not isinstance(given, Fact) or not given.answer or one.tokenizer is None:
        return None
    ids = one._ids_of(given.answer)
    return ids[0] if ids else None


def _plain(row: Mapping[str, Any]) -> Row:
    """A row of plain values: numbers and lists in the place of tensors."""
    return {k: v.tolist() if hasattr(v, "tolist") else v for k, v in row.items()}


def _about(one: Trace, number: int, given: Fact | list[int], answer: int | None) -> Row:
    said = wide(one.record.logits)
    first = int(said.argmax())
    followed = first if answer is None else answer
    fact = given if isinstance(given, Fact) else Fact(one.prompt)
    return {
        "prompt": number, "text": fact.prompt, "relation": fact.relation, "subject": fact.subject,
        "answer": None if answer is None else one.texts([answer])[0],
        "predicted": one.texts([first])[0],
        "correct": None if answer is None else first == answer,
        "probability": float(said.softmax(-1)[followed]),
        "rank": int((said > said[followed]).sum()) + 1,
        "n_tokens": len(one),
    }  # fmt: skip
