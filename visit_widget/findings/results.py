"""What a study found: tidy rows of each finding, and a row for each prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..model import VisitError
from .statistics import Summary, summarise
from .store import Store

Row = dict[str, Any]
# Under this name the prompts themselves are kept.
PROMPTS = "prompts"


class Study(Mapping[str, list[Row]]):
    """What a study has found so far.

        found["head_overlap"]              # its rows, each with the number of its prompt
        found.prompts                      # text, answer, what the model said, whether that was it
        found.to_pandas("head_overlap")    # both together
        found.summary("head_overlap", "final", by=["layer", "correct"])

    From a folder, rows are read when they are asked for, and not kept.

    Attributes:
        total: how many prompts were given.
        notes: sentences on how it was run, where there is something to say.
    """

    def __init__(
        self, store: Store, names: Sequence[str], total: int, notes: Sequence[str] = ()
    ) -> None:
        self._store, self._names = store, list(names)
        self.total, self.notes = total, list(notes)

    def __repr__(self) -> str:
        done = len(self._store.done())
        of = f"{done} prompts" if done == self.total else f"{done} of {self.total} prompts"
        return f"Study({of}: {', '.join(self._names) or 'no findings'})"

    def __getitem__(self, name: str) -> list[Row]:
        return list(self.rows(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def prompts(self) -> list[Row]:
        """A row for each prompt that is done: `prompt` (its number), `text`, `relation`, `subject`,
        `answer`, `predicted` (the model's first choice), `correct` (None without an answer),
        `probability` and `rank` of the answer (of the first choice, without one), `n_tokens`.

        An answer of several tokens is told by its first.
        """
        return [row for _, found in self._store for row in found[PROMPTS]]

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of a finding, one after the other, with `prompt`, `relation` and `correct` of
        their prompt before what the finding says.

        Raises:
            VisitError: it was not among the findings.
        """
        if name not in self._names:
            raise VisitError(
                f"{name!r} is not among this study's findings: {', '.join(self._names)}."
            )
        for _, found in self._store:
            about = {key: found[PROMPTS][0][key] for key in ("prompt", "relation", "correct")}
            for row in found[name]:
                yield {**about, **row}

    def summary(
        self, name: str, value: str, by: Sequence[str] = ("layer",), seed: int = 0
    ) -> list[Summary]:
        """Mean of a column over prompts, with a bootstrap interval; see `summarise`.

        Args:
            name: of the finding.
            value: its column.
            by: columns whose values make groups.
            seed: of the bootstrap.
        """
        return summarise(self.rows(name), value, by, seed=seed)

    def to_pandas(self, name: str = PROMPTS) -> Any:
        """The rows of a finding, or of the prompts, as a table.

        Raises:
            VisitError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise VisitError("A table needs pandas: pip install pandas.") from error
        return pd.DataFrame(self.prompts if name == PROMPTS else self[name])
