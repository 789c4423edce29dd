"""What circuits are sought for: pairs of prompts of as many tokens, that the model answers right.

Indirect objects (Wang et al. 2022), greater-than (Hanna et al. 2023) and the agreement of verbs
with their subjects; the templates are this package's own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NAMES = (
    "Mary", "John", "Tom", "James", "Sarah", "Emily", "David", "Peter", "Anna", "Paul", "Lucy",
    "Alice", "Kate", "Jack", "Robert", "George", "Daniel", "Adam", "Laura", "Helen", "Susan",
)  # fmt: skip
MEETINGS = (
    "When {a} and {b} went to the {place}, {c} gave a {thing} to",
    "After {a} and {b} left the {place}, {c} handed a {thing} to",
    "While {a} and {b} were at the {place}, {c} passed a {thing} to",
)
PLACES = ("store", "park", "station", "office", "library")
THINGS = ("drink", "book", "letter", "key", "ball")
EVENTS = ("war", "journey", "project", "strike", "famine", "siege", "reign", "trial")
NOUNS = (
    "key", "door", "dog", "boy", "girl", "teacher", "author", "pilot", "doctor", "farmer",
    "lawyer", "manager", "driver", "guard", "student", "letter", "nurse", "chair", "officer",
)  # fmt: skip
NEAR = ("near the {other}", "behind the {other}", "in front of the {other}")
SINGULAR, PLURAL = (" is", " was", " has"), (" are", " were", " have")


@dataclass(frozen=True)
class Pair:
    """A prompt, and another that takes the answer away.

    Attributes:
        clean, corrupted: (T,) token ids.
        target: tokens that answer the clean prompt; m is the mean of their logits, ...
        foil: ... less that of these.
    """

    clean: Tensor
    corrupted: Tensor
    target: list[int]
    foil: list[int]


Candidate = tuple[str, str, tuple[str, ...], tuple[str, ...]]


def indirect_objects(dice: random.Random) -> Candidate:
    """Who is given something; in the other prompt the other of the two gives."""
    a, b = dice.sample(NAMES, 2)
    place, thing, template = (dice.choice(among) for among in (PLACES, THINGS, MEETINGS))
    giver = dice.choice((a, b))
    getter = b if giver == a else a
    clean, corrupted = (
        template.format(a=a, b=b, c=c, place=place, thing=thing) for c in (giver, getter)
    )
    return clean, corrupted, (f" {getter}",), (f" {giver}",)


def greater_than(dice: random.Random) -> Candidate:
    """Which decade a later year is of; in the other prompt any would do."""
    century, decade, year = dice.choice((16, 17, 18)), dice.randint(2, 7), dice.randint(2, 8)
    text = f"The {dice.choice(EVENTS)} lasted from the year {{}} to the year {century}"
    later = tuple(str(d) for d in range(decade + 1, 10))
    earlier = tuple(str(d) for d in range(decade))
    return text.format(f"{century}{decade}{year}"), text.format(f"{century}0{year}"), later, earlier


def agreement(dice: random.Random) -> Candidate:
    """The number of a verb; in the other prompt the subject has the other number."""
    subject, other = dice.sample(NOUNS, 2)
    near = dice.choice(NEAR).format(other=other + dice.choice(("", "s")))
    one, many = f"The {subject} {near}", f"The {subject}s {near}"
    return (one, many, SINGULAR, PLURAL) if dice.random() < 0.5 else (many, one, PLURAL, SINGULAR)


TASKS: dict[str, Callable[[random.Random], Candidate]] = {
    "indirect objects": indirect_objects,
    "greater-than": greater_than,
    "agreement": agreement,
}
# Of the greater-than pair, the corrupted prompt has no wrong answer.
ONE_SIDED = ("greater-than",)


def pairs(model: Any, tokenizer: Any, task: str, n: int, seed: int = 0) -> tuple[list[Pair], int]:
    """Pairs of a task that the model answers right, no two alike, and how many were tried."""
    found: list[Pair] = []
    for tried, pair in enumerate(_candidates(tokenizer, task, seed), 1):
        sides = (1, 0) if task in ONE_SIDED else (1, -1)
        m = said(model, torch.stack([pair.clean, pair.corrupted]), pair).tolist()
        if all(side * value > 0 for side, value in zip(sides, m, strict=True) if side):
            found.append(pair)
            if len(found) == n:
                return found, tried
    raise SystemExit(f"The model answers only {len(found)} pairs of {task!r}.")


def _candidates(tokenizer: Any, task: str, seed: int) -> Iterator[Pair]:
    dice, seen = random.Random(seed), set()
    for _ in range(10_000):
        clean, corrupted, target, foil = TASKS[task](dice)
        ids = [torch.tensor(tokenizer(text)["input_ids"]) for text in (clean, corrupted)]
        answers = [[tokenizer(word)["input_ids"] for word in words] for words in (target, foil)]
        whole = all(len(word) == 1 for words in answers for word in words)
        if len(ids[0]) == len(ids[1]) and whole and clean not in seen:
            seen.add(clean)
            yield Pair(ids[0], ids[1], *([word[0] for word in words] for words in answers))


@torch.no_grad()
def said(model: Any, ids: Tensor, pair: Pair) -> Tensor:
    """(n,) m of prompts (n, T)."""
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1].double()
    return logits[:, pair.target].mean(-1) - logits[:, pair.foil].mean(-1)
