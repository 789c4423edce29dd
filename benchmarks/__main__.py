"""`python -m benchmarks`: every benchmark, or some, as tables on the screen and in the docs."""

from __future__ import annotations

import argparse
import gc
import os
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the rounds, no memory")
    parser.add_argument("--repeats", type=int, help="counted rounds of everything")
    parser.add_argument(
        "--tokens", type=int, nargs="+", default=[8, 256, 2048], help="prompt lengths for trace"
    )
    parser.add_argument(
        "--memory-tokens", type=int, nargs="+", default=[2048, 4096], help="likewise, for memory"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[
            "trace",
            "generate",
            "lens",
            "draw",
            "routes",
            "scores",
            "what-if",
            "compare",
            "drawing-in-browser",
            "memory",
            "labels",
            "circuits",
        ],
        help="some benchmarks",
    )
    parser.add_argument(
        "--write", action=argparse.BooleanOptionalAction, default=None,
        help="write docs/performance.md (the default where everything is measured in full); with "
        "--only, the tables of these alone",
    )  # fmt: skip
    return parser.parse_args()


def main() -> None:
    options = arguments()
    # Heavy, and not for --help.
    from . import (
        circuits,
        comparing,
        drawing,
        generating,
        in_browser,
        labels,
        memory,
        projecting,
        routing,
        scores,
        tracing,
        what_if,
    )
    from .report import LENSES_PAGE, MEASURES_PAGE, write_page, write_some
    from .setting import Setting, machine

    start = time.perf_counter()
    setting = Setting(options.tokens, options.memory_tokens, options.repeats, options.quick)
    benchmarks = {
        "trace": tracing, "generate": generating, "lens": projecting, "draw": drawing,
        "routes": routing, "scores": scores, "what-if": what_if, "compare": comparing,
        "drawing-in-browser": in_browser, "memory": memory, "labels": labels, "circuits": circuits,
    }  # fmt: skip
    # What lenses and measures say is no matter of time, and takes its own: it is asked for by name.
    pages = {"labels": LENSES_PAGE, "circuits": MEASURES_PAGE}
    seldom = (*pages, "memory") if options.quick else tuple(pages)
    usual = [name for name in benchmarks if name not in seldom]
    chosen = options.only or usual
    where = machine(setting)
    print(f"{where}\n", flush=True)
    gc.freeze()

    tables = []
    for name in chosen:
        for table in benchmarks[name].bench(setting):
            print(table.screen(), flush=True)
            tables.append(table)
    print(f"Took {time.perf_counter() - start:.0f} s.")

    if len(chosen) == 1 and chosen[0] in pages and options.write is not False and not options.quick:
        page = pages[chosen[0]]
        write_page(where, tables, page)
        print(f"Written into docs/{page.name}.")
        return
    in_full = options.only is None and not options.quick and options.repeats is None
    if in_full if options.write is None else options.write:
        (write_page if options.only is None else write_some)(where, tables)
        print("Written into docs/performance.md.")


if __name__ == "__main__":
    main()
