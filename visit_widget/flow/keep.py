"""What pruning keeps. What it leaves out goes to `rest` nodes, never out of sight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import torch
from torch import Tensor

from ..model import VisitError

Count = int | tuple[int, int]
KINDS = ("heads", "memories", "neurons", "rows")


@dataclass(frozen=True)
class Limit:
    """The largest parts of a whole, as far as each of these allows; None does not limit.

    Attributes:
        count: how many, the largest first. A pair (p, n) keeps the p most positive and the n most
            negative ones.
        threshold: the least size, in the unit of what ranks the parts (share: a fraction, logit:
            logits, norm: a length).
        mass: stop once the kept parts make up this much of the sum of all parts' sizes (0 … 1).
    """

    count: Count | None = None
    threshold: float | None = None
    mass: float | None = None

    def __post_init__(self) -> None:
        given: Any = self.count
        if isinstance(given, list):
            object.__setattr__(self, "count", tuple(given))
        pair = self.count if isinstance(self.count, tuple) else (self.count, 0)
        counts = [v for v in pair if isinstance(v, int) and not isinstance(v, bool) and v >= 0]
        if self.count is not None and not len(pair) == len(counts) == 2:
            raise VisitError(
                "A limit is a count, or a pair of counts (most positive, most negative), not "
                f"{self.count!r}."
            )
        if self.threshold is not None and not (_is_number(self.threshold) and self.threshold >= 0):
            raise VisitError(f"The threshold of a limit is 0 or more, not {self.threshold!r}.")
        if self.mass is not None and not (_is_number(self.mass) and 0 < self.mass <= 1):
            raise VisitError(f"The mass of a limit is above 0 and at most 1, not {self.mass!r}.")

    @classmethod
    def of(cls, value: Any) -> Limit:
        """From a Limit, a count, a pair of counts, or a mapping of the fields."""
        if isinstance(value, Limit):
            return value
        if isinstance(value, Mapping):
            unknown = sorted(set(value) - {f.name for f in fields(cls)})
            if unknown:
                raise VisitError(
                    f"A limit has no {unknown[0]!r}; it has count, threshold and mass."
                )
            return cls(**value)
        if value is None:
            raise VisitError(
                "A limit is a count, or a pair of counts (most positive, most negative), not None; "
                "vw.Limit() keeps all."
            )
        return cls(value)

    def to_json(self) -> Any:
        """A count or a pair where that is all, else the three fields."""
        count = list(self.count) if isinstance(self.count, tuple) else self.count
        if self.threshold is None and self.mass is None and count is not None:
            return count
        return {"count": count, "threshold": self.threshold, "mass": self.mass}

    @property
    def is_none(self) -> bool:
        """Whether nothing is kept, whatever there is."""
        return self.count in (0, (0, 0))

    def select(self, values: Tensor, more: int = 0) -> list[int]:
        """The indices to keep of a whole's parts, largest |value| first.

        Args:
            values: (n,) what ranks each part.
            more: how many of the largest that would be left out to keep as well.
        """
        sizes = values.abs()
        order = sizes.argsort(descending=True, stable=True)
        ranked = order.tolist()
        kept = ranked
        if isinstance(self.count, tuple):
            signs = values[order].sign()
            places = [
                (signs == sign).nonzero()[:count, 0]
                for sign, count in zip((1, -1), self.count, strict=True)
            ]
            kept = order[torch.cat(places).sort().values].tolist()
        elif self.count is not None:
            kept = ranked[: self.count]
        if self.threshold is not None and kept:
            kept = kept[: int((sizes[kept] >= self.threshold).sum())]
        if self.mass is not None and kept:
            total = float(sizes.sum())
            reached = torch.cumsum(sizes[kept], 0) >= (self.mass - 1e-12) * total
            if bool(reached.any()):
                kept = kept[: int(reached.nonzero()[0]) + 1]
        if more > 0:
            among = set(kept)
            kept = kept + [i for i in ranked if i not in among][:more]
        return kept

    def among(self, values: Tensor) -> Tensor:
        """Which parts to keep of each of n wholes: (n, parts) of what ranks them → booleans."""
        if self.count is None and self.mass is None:
            return values.abs() >= (self.threshold or 0.0)
        kept = torch.zeros_like(values, dtype=torch.bool)
        for row, ranked in enumerate(values):
            kept[row, self.select(ranked)] = True
        return kept


@dataclass(frozen=True)
class Keep:
    """Which parts of a whole are drawn as nodes of their own.

    A count keeps that many parts, the largest first; a pair (p, n) the p most positive and the n
    most negative ones; a `Limit` adds a threshold or a cumulative mass.

    Attributes:
        heads: heads of a layer.
        memories: sources of a head.
        neurons: neurons of a layer.
        rows: W_O rows of a layer, shown apart from their heads.
        mass: a cumulative mass for each of these that has none of its own.
        threshold: a threshold for each of these that has none of its own.
        by: what ranks parts: the graph's "measure", or "visit", the published tool's rule: memories
            by attention weight, neurons and W_O rows by activation × length with the activation's
            sign, heads by length.
        more: {id of a rest node: how many of the next largest parts to draw as well}.
        routes: of a routes graph: the parts of each stream, by |influence| as a fraction of the
            prediction's (of the logit's, or of 1 logit where that is smaller).
        routes_by: "influence", or "edge" for Ferrando & Voita's rule: an edge's own measure has to
            reach the threshold, whatever its influence.

    Raises:
        VisitError: a value means nothing here; the message says what does.
    """

    heads: Any = 10
    memories: Any = 2
    neurons: Any = 12
    rows: Any = 0
    mass: float | None = None
    threshold: float | None = None
    by: Literal["measure", "visit"] = "measure"
    more: dict[str, int] = field(default_factory=dict)
    routes: Any = field(default_factory=lambda: Limit(threshold=0.01))
    routes_by: Literal["influence", "edge"] = "influence"

    def __post_init__(self) -> None:
        for name in (*KINDS, "routes"):
            try:
                object.__setattr__(self, name, Limit.of(getattr(self, name)))
            except VisitError as error:
                raise VisitError(f"Keep.{name}: {error}") from None
        for name in ("mass", "threshold"):
            try:
                Limit(**{name: getattr(self, name)})
            except VisitError as error:
                raise VisitError(f"Keep.{name}: {error}") from None
        for name, known in (("by", ("measure", "visit")), ("routes_by", ("influence", "edge"))):
            if getattr(self, name) not in known:
                raise VisitError(
                    f"Keep.{name} is {known[0]!r} or {known[1]!r}, not {getattr(self, name)!r}."
                )
        more = self.more
        counts = more.values() if isinstance(more, Mapping) else [None]
        if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in counts):
            raise VisitError(
                "Keep.more says of rest nodes how many parts more to draw, as in "
                f"{{'L23.mlp.rest': 12}}, not {more!r}."
            )
        object.__setattr__(self, "more", {str(k): n for k, n in more.items() if n > 0})

    @classmethod
    def visit(cls) -> Keep:
        """The published tool's graph: 10 heads, 2 memories a head, 18 + 7 neurons, 18 + 7 W_O
        rows, chosen by its rule.
        """
        return cls(heads=10, memories=2, neurons=(18, 7), rows=(18, 7), by="visit")

    @classmethod
    def everything(cls) -> Keep:
        """All heads, memories and neurons; W_O rows stay in their heads."""
        return cls(heads=Limit(), memories=Limit(), neurons=Limit(), routes=Limit(threshold=0))

    @classmethod
    def of(cls, value: Keep | dict[str, Any] | None) -> Keep:
        """From a Keep, a mapping of its fields (as it travels in JSON), or None for the default."""
        if value is None:
            return cls()
        if isinstance(value, Keep):
            return value
        known = {f.name for f in fields(cls)}
        if not isinstance(value, dict):
            raise VisitError(f"keep is a Keep or a mapping of its fields, not {value!r}.")
        unknown = sorted(set(value) - known)
        if unknown:
            raise VisitError(f"Keep has no {unknown[0]!r}; it has {', '.join(sorted(known))}.")
        return cls(**value)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: limits as counts and pairs where that is all they are."""
        plain = {name: getattr(self, name).to_json() for name in (*KINDS, "routes")}
        return {**asdict(self), **plain}

    def limit(self, kind: str) -> Limit:
        """The limit of one kind, with the threshold and mass that hold for all."""
        own: Limit = getattr(self, kind)
        threshold = self.threshold if own.threshold is None else own.threshold
        return Limit(own.count, threshold, self.mass if own.mass is None else own.mass)


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)
