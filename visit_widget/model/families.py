"""Which families of models are known to be traced exactly.

`make families` traces a tiny random model of every family of causal language models that
`transformers` has, and writes down what came of it in `families.json`. Nothing depends on that
list: a model is checked when it is traced, whatever its family.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, overload

from .errors import VisitError

_DATA = Path(__file__).with_name("families.json")
_SIGNS = {"exact": "✓", "refused": "✗"}


@dataclass(frozen=True)
class Family:
    """A family of models, by its `model_type` in `transformers`.

    Attributes:
        name: the model type.
        status: "exact", "refused" (tracing raises `UnsupportedModelError`, no graph is drawn), or
            "not built" (no model of it could be made to look at).
        note: why it is refused, in a sentence; for exact families what there is to know, or "".
        parts: what is special about it: "grouped heads", "mixture of experts", …
        error: {dtype: what the largest error of the audit stays below}; empty unless exact.
    """

    name: str
    status: str
    note: str
    parts: tuple[str, ...]
    error: Mapping[str, float]

    @property
    def exact(self) -> bool:
        """Whether it is traced exactly."""
        return self.status == "exact"

    def __str__(self) -> str:
        """A sentence or two."""
        said = f"{self.name}: {self.status}"
        if self.error:
            said += ", errors below " + ", ".join(f"{e:.0e} in {d}" for d, e in self.error.items())
        said += f" ({', '.join(self.parts)})." if self.parts else "."
        return f"{said} {self.note}".strip()


class Supported(Sequence[Family]):
    """The families, in the order of their names. Prints as a table.

    Attributes:
        transformers: the version of `transformers` whose families these are.
    """

    def __init__(self, families: Sequence[Family], transformers: str) -> None:
        self._families, self.transformers = tuple(families), transformers

    def __len__(self) -> int:
        return len(self._families)

    def __iter__(self) -> Iterator[Family]:
        return iter(self._families)

    @overload
    def __getitem__(self, index: int) -> Family: ...
    @overload
    def __getitem__(self, index: slice) -> Supported: ...
    def __getitem__(self, index: int | slice) -> Family | Supported:
        if isinstance(index, slice):
            return Supported(self._families[index], self.transformers)
        return self._families[index]

    @property
    def exact(self) -> Supported:
        """Those that are traced exactly."""
        return self._of("exact")

    @property
    def refused(self) -> Supported:
        """Those that are refused."""
        return self._of("refused")

    def _of(self, status: str) -> Supported:
        return Supported([f for f in self if f.status == status], self.transformers)

    def __str__(self) -> str:
        width = max((len(f.name) for f in self), default=0)
        lines = [
            f"{_SIGNS.get(f.status, '–')} {f.name.ljust(width)}  "
            f"{', '.join(f.parts) if f.exact else f.note}".rstrip()
            for f in self
        ]
        count = sum(f.exact for f in self)
        last = (
            f"{count} of these {len(self)} families of transformers {self.transformers} are traced "
            "exactly. Any model is checked when it is traced: trace.audit()."
        )
        return "\n".join([*lines, "", last])

    __repr__ = __str__


@overload
def supported(name: None = None) -> Supported: ...
@overload
def supported(name: str) -> Family: ...
def supported(name: str | None = None) -> Supported | Family:
    """Which families of models are known to be traced exactly, and which are refused.

    Args:
        name: a family (`model.config.model_type`), for that one alone.

    Raises:
        VisitError: no family of that name was looked at.
    """
    every = _every()
    if name is None:
        return every
    known = {family.name: family for family in every}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise VisitError(
            f"No family {name!r} is on the list, which has the causal language models of "
            f"transformers {every.transformers}.{hint} A model is checked when it is traced, "
            "whatever its family."
        )
    return known[name]


@cache
def _every() -> Supported:
    data: dict[str, Any] = json.loads(_DATA.read_text(encoding="utf-8"))
    families = [
        Family(name, f["status"], f["note"], tuple(f.get("parts", ())), f.get("audit", {}))
        for name, f in data["families"].items()
    ]
    return Supported(families, data["transformers"])
