"""Every fault that a notebook knows, many times over, and what has to hold then.

`make soak` runs it and writes the table of docs/reliability.md; `--quick` tries a tenth of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- the table: make soak -->", "<!-- the end of the table -->"
SEQUENCES = 10_000

Row = tuple[str, str, float]


def counted(counts: dict[str, float]) -> str:
    """Counts in words."""
    return ", ".join(f"{name} {value:,}" for name, value in counts.items())


def sequences(quick: bool, folder: Path) -> Row:
    """The front end's random sequences."""
    report, start = folder / "sequences.json", time.monotonic()
    environment = {"SEQUENCES": str(SEQUENCES // 10 if quick else SEQUENCES)}
    subprocess.run(
        ["npx", "vitest", "run", "js/test/faults.test.js"],
        cwd=ROOT, check=True, env=os.environ | environment | {"SOAK_REPORT": str(report)},
    )  # fmt: skip
    found = json.loads(report.read_text(encoding="utf-8"))
    told = {
        "sequences": found["sequences"],
        "steps": found["steps"],
        "with losses": found["lossy"],
        "with failures": found["failed"],
        "with a kernel that died": found["dead"],
        "open layers drawn": found["drawn"],
        "said in a sentence": found["said"],
        "neither": 0,
    }
    return (
        "random sequences between two views and a kernel",
        counted(told),
        time.monotonic() - start,
    )


def kernels(quick: bool, folder: Path) -> list[Row]:
    """What happens to real kernels."""
    from tests.faults.kernels import kernel_in
    from tests.faults.scenarios import SCENARIOS

    rows = []
    with kernel_in(folder) as kernel:
        for name, (scenario, long, short) in SCENARIOS.items():
            kernel.widgets.clear()
            start = time.monotonic()
            counts = scenario(kernel, **(short if quick else long))
            rows.append((name, counted(counts), time.monotonic() - start))
            print(f"{name}: {rows[-1][1]} ({rows[-1][2]:.0f} s)", flush=True)
    return rows


def write(rows: list[Row]) -> None:
    """Puts the table into the page."""
    lines = ["| what happens | how often, and what was counted | seconds |", "|---|---|---:|"]
    lines += [f"| {name} | {counts} | {seconds:.0f} |" for name, counts, seconds in rows]
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores; every row held."
    text = PAGE.read_text(encoding="utf-8")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    table = "\n".join([BEGIN, *lines, "", machine, END])
    PAGE.write_text(head + table + tail, encoding="utf-8")


def main() -> None:
    """Runs all of it; a fault that does not end as it must ends this with an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it; nothing is written")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as folder:
        rows = [sequences(quick, Path(folder)), *kernels(quick, Path(folder))]
    if quick:
        for row in rows:
            print(*row, sep=" | ")
    else:
        write(rows)
        print(f"Written to {PAGE.relative_to(ROOT)}.")


if __name__ == "__main__":
    main()
