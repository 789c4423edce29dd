"""Measures one pass: `python -m benchmarks.memory_probe trace 2048`. Prints JSON."""

from __future__ import annotations

import gc
import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

import visit_widget as vw

from .setting import plain_pass, prompt_ids
from .storage import storage_bytes, tensor_bytes, tensors_of


def resident(entry: str) -> int:
    """VmRSS (now) or VmHWM (the high-water mark), in bytes."""
    found = re.search(rf"^{entry}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * 1024


def resident_peak(run: Callable[[], Any]) -> tuple[int | None, Any]:
    """How far the resident memory rises above where it stands, and what the run returned."""
    gc.collect()
    before = None
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
    result = run()
    return None if before is None else resident("VmHWM") - before, result


def allocated_peak(run: Callable[[], Any]) -> int:
    """How far what torch's CPU allocator has given out rises above where it stands."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = run()
    del result
    events = profiler.profiler.kineto_results.events()
    changes = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    held = peak = 0
    for _, change in sorted(changes, key=lambda c: c[0]):
        held += change
        peak = max(peak, held)
    return peak


def main() -> None:
    what, n_tokens = sys.argv[1], int(sys.argv[2])
    model, tokenizer = vw.load_demo()
    ids = prompt_ids(tokenizer, n_tokens)

    def trace(length: int = n_tokens) -> Any:
        return vw.trace(model, tokenizer, ids[:length]).record

    def plain(length: int = n_tokens) -> Any:
        return plain_pass(model, ids[:length])

    run = {"trace": trace, "plain": plain}[what]
    trace(16), plain(16)
    peak, kept = resident_peak(run)
    if what == "plain":
        kept = None
    sizes = [t.untyped_storage().nbytes() // t.element_size() for t in tensors_of(kept)]
    found = {
        "resident": peak,
        "kept": storage_bytes(kept),
        "shown": tensor_bytes(kept),
        "largest": max(sizes, default=0),
    }
    del kept
    found["allocated"] = allocated_peak(run)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
