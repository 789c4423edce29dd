"""Prompts with a known answer: a packaged set of our own, and files in the form of CounterFact.

    for fact in factual_prompts():
        fact.prompt, fact.answer     # "The capital of Japan is the city of", " Tokyo"

Meng et al. (2022), "Locating and Editing Factual Associations in GPT", arXiv 2202.05262, made
CounterFact, which Katz & Belinkov (2023) took their prompts from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..model import VisitError

_FACTS = Path(__file__).with_name("facts.json")


@dataclass(frozen=True)
class Fact:
    """A prompt and how it goes on.

    Attributes:
        prompt: the text, without the answer.
        answer: what comes next, with the space before it where there is one; "" where it is not
            known.
        relation: what kind of fact it is.
        subject: what it is about.
    """

    prompt: str
    answer: str = ""
    relation: str = ""
    subject: str = ""


def factual_prompts(relations: Iterable[str] | None = None, each: int | None = None) -> list[Fact]:
    """The packaged facts: capitals, languages, currencies, opposites, plurals and others.

    Args:
        relations: which; all by default.
        each: of each relation at most so many, spread over it.

    Raises:
        VisitError: there is no such relation.
    """
    known: dict[str, Any] = json.loads(_FACTS.read_text("utf-8"))["relations"]
    chosen = list(known) if relations is None else list(relations)
    missing = [name for name in chosen if name not in known]
    if missing:
        raise VisitError(f"There are no facts called {missing[0]!r}: use {', '.join(known)}.")
    found: list[Fact] = []
    for name in chosen:
        template, facts = known[name]["prompt"], list(known[name]["facts"].items())
        if each is not None and each < len(facts):
            facts = [facts[n * len(facts) // each] for n in range(each)]
        found += [Fact(template.format(s), f" {a}", name, s) for s, a in facts]
    return found


def load_counterfact(path: str | Path, limit: int | None = None) -> list[Fact]:
    """The facts of a file in the form of CounterFact: a JSON list, or a JSON object a line, with
    `prompt` (a `{}` where the subject goes), `subject`, and `target_true` as a text or as
    {"str": …}; all of them may stand in `requested_rewrite`.

    Args:
        path: of the file, as it was downloaded.
        limit: at most so many.

    Raises:
        VisitError: there is no such file, or it has another form.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8").strip()
    except OSError as error:
        raise VisitError(f"{path} could not be read ({error.strerror}): check the path.") from error
    try:
        if text.startswith("["):
            records = json.loads(text)
        else:
            records = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise VisitError(f"{path} is no JSON ({error}): pass the file as it is shared.") from error
    return [_counterfact(record, n) for n, record in enumerate(records[:limit])]


def _counterfact(record: Any, number: int) -> Fact:
    asked = record.get("requested_rewrite", record) if isinstance(record, Mapping) else {}
    prompt, subject = asked.get("prompt"), asked.get("subject")
    answer = asked.get("target_true")
    answer = answer.get("str") if isinstance(answer, Mapping) else answer
    if not (isinstance(prompt, str) and isinstance(subject, str) and isinstance(answer, str)):
        raise VisitError(
            f"Record {number} has no prompt, subject and target_true: that is what a file in the "
            "form of CounterFact has in each."
        )
    whole = prompt.replace("{}", subject) if "{}" in prompt else prompt
    relation = str(asked.get("relation_id") or asked.get("relation") or "")
    return Fact(whole.rstrip(), " " + answer.strip(), relation, subject)
