"""A folder that holds what a study has found so far: a file for each batch, whole or not there.

A file is written beside its place and then moved there, so that whoever is stopped leaves only
whole ones; which prompts are done is told by what lies in the folder. Several processes can write
into one: each prompt belongs to one batch, and a batch is called by its first prompt.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..model import VisitError

# What one prompt gives: {finding: rows}.
Found = dict[str, list[dict[str, Any]]]
_ABOUT = "study.json"


class Store:
    """What has been found, by prompt.

    Args:
        folder: where it is kept; None for memory.
        about: what is studied; a folder that holds another study is refused.

    Raises:
        VisitError: the folder holds another study, or cannot be written to.
    """

    def __init__(self, folder: str | Path | None, about: Mapping[str, Any]) -> None:
        self.folder = None if folder is None else Path(folder)
        self._memory: dict[int, Found] = {}
        self._numbers: dict[Path, set[int]] = {}
        if self.folder is not None:
            self._open(self.folder, json.loads(json.dumps(about)))

    def put(self, found: Mapping[int, Found]) -> None:
        """Keep what the prompts of a batch gave: {number of the prompt: what it gave}."""
        if self.folder is None:
            self._memory.update(found)
        else:
            packed = {str(n): {k: _packed(rows) for k, rows in f.items()} for n, f in found.items()}
            write(self.folder / f"batch-{min(found):06d}.json", packed)

    def done(self) -> set[int]:
        """The numbers of the prompts that are done."""
        if self.folder is None:
            return set(self._memory)
        for path in self._files():
            if path not in self._numbers:  # what was written once stays as it is
                self._numbers[path] = set(map(int, read(path)))
        return set().union(*self._numbers.values())

    def __iter__(self) -> Iterator[tuple[int, Found]]:
        """What each prompt gave, in the order of the prompts. From a folder, a file is read when
        its first prompt comes: only those are in memory whose prompts lie between one another.
        """
        if self.folder is None:
            yield from sorted(self._memory.items())
            return
        files, opened = self._files()[::-1], dict[int, Found]()
        while files or opened:
            while files and (not opened or _first(files[-1]) < min(opened)):
                opened.update((int(n), found) for n, found in read(files.pop()).items())
            number = min(opened)
            yield number, {k: _unpacked(rows) for k, rows in opened.pop(number).items()}

    def _files(self) -> list[Path]:
        assert self.folder is not None
        return sorted(self.folder.glob("batch-*.json"), key=_first)

    def _open(self, folder: Path, about: dict[str, Any]) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / _ABOUT).exists():
                if any(folder.glob("batch-*.json")):
                    raise VisitError(
                        f"{folder} holds results but no {_ABOUT} that says of what: name another "
                        "folder."
                    )
                write(folder / _ABOUT, about)
        except OSError as error:
            raise VisitError(
                f"{folder} cannot hold a study ({error.strerror}): name a folder that can be "
                "written to."
            ) from error
        theirs = read(folder / _ABOUT)
        other = [name for name in about if theirs.get(name) != about[name]]
        if other:
            raise VisitError(
                f"{folder} holds another study (its {' and '.join(other)} differ from what is "
                "asked for now): name another folder, or ask for the same to go on with it."
            )


def write(path: Path, value: Any) -> None:
    """Write a JSON file so that it is whole or not there, whatever happens meanwhile."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            json.dump(value, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """A JSON file.

    Raises:
        VisitError: it cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise VisitError(
            f"{path} cannot be read ({error}): delete it, and the study makes it anew."
        ) from error
    return found


def _first(path: Path) -> int:
    """The number of the first prompt of a batch."""
    return int(path.stem.partition("-")[2])


def digest(values: Sequence[Any]) -> str:
    """What tells a list of values from another."""
    text = json.dumps(list(values), ensure_ascii=False, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _packed(rows: list[dict[str, Any]]) -> Any:
    """Rows as columns, which take a fraction of the room."""
    names = list(rows[0]) if rows else []
    if any(list(row) != names for row in rows):
        return rows
    return {name: [row[name] for row in rows] for name in names}


def _unpacked(packed: Any) -> list[dict[str, Any]]:
    if isinstance(packed, list):
        return packed
    columns = packed.values()
    return [dict(zip(packed, values, strict=True)) for values in zip(*columns, strict=True)]
