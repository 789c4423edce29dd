"""The memory that a trace adds to a plain pass, each measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from .report import Table, megabytes, verdict
from .setting import Setting

BUDGET = 1.25
ROOT = Path(__file__).parents[1]
# The C library gives memory back at once: otherwise the process keeps what the pass has freed, and
# the peak says more about the allocator than about the trace.
STRICT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


@dataclass(frozen=True)
class Probe:
    """What one process measured, in bytes.

    Attributes:
        resident: peak of the resident memory above where it stood before the pass; None where the
            system does not tell.
        allocated: peak of what torch's CPU allocator gave out, above where it stood before.
        kept: what the record's tensors hold.
        shown: what they show of it (less, where a kept tensor is a slice of a larger one).
        largest: elements of the largest kept storage.
    """

    resident: int | None
    allocated: int
    kept: int
    shown: int
    largest: int


def probe(what: str, n_tokens: int) -> Probe:
    """Run benchmarks/memory_probe.py."""
    command = [sys.executable, "-m", "benchmarks.memory_probe", what, str(n_tokens)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **STRICT}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return Probe(**json.loads(done.stdout.splitlines()[-1]))


def bench(setting: Setting) -> list[Table]:
    columns = ["tokens", "kept", "plain peak", "trace peak", "added", "added / kept", "budget", ""]
    resident = Table("Memory a trace adds: resident, MB", columns)
    allocated = Table("Memory a trace adds: allocated by torch, MB", columns)
    kept: dict[int, Probe] = {}
    for n_tokens in setting.memory_lengths:
        plain, trace = probe("plain", n_tokens), probe("trace", n_tokens)
        kept[n_tokens] = trace
        for table, before, after in (
            (resident, plain.resident, trace.resident),
            (allocated, plain.allocated, trace.allocated),
        ):
            if before is None or after is None:
                continue
            ratio = (after - before) / trace.kept
            table.rows.append([
                f"{n_tokens:,}", megabytes(trace.kept), megabytes(before), megabytes(after),
                megabytes(after - before), f"{ratio:.2f}×", *verdict(ratio, BUDGET),
            ])  # fmt: skip
        notes, wide = allocated.notes, setting.model.config.hidden_size
        squared = trace.largest / n_tokens**2
        if n_tokens > wide:  # else T × T is no more than T × d_model
            notes.append(
                f"At {n_tokens:,} tokens the largest kept tensor has {trace.largest:,} elements, "
                f"{squared:.2f} of T × T"
                + ("." if squared < 1 else ": OVER, for nothing of T × T is to be kept.")
            )
        hidden = trace.kept - trace.shown
        notes.append(f"Kept storage that no kept tensor shows: {megabytes(hidden)} MB.")
    lengths = sorted(kept)
    for short, long in pairwise(lengths):
        growth = kept[long].kept / kept[short].kept
        allocated.notes.append(
            f"From {short:,} to {long:,} tokens ({long / short:.0f}×) what is kept grows "
            f"{growth:.2f}×."
        )
    resident.notes.append(
        "The system's high-water mark (VmHWM), in processes of their own, after a short warm-up; "
        "the C library gives freed memory back at once (MALLOC_MMAP_THRESHOLD_=65536)."
    )
    if not resident.rows:
        resident.notes.append("Not measured: this system has no /proc/self/clear_refs.")
    return [resident, allocated]
