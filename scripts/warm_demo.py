"""Loads the demo model once, so that the first cell of the notebook need not convert it."""

from __future__ import annotations

import sys
from time import perf_counter

from visit_widget.model.demo import DemoModelError, load_demo


def main() -> int:
    """Loads the model and says how long it took."""
    start = perf_counter()
    try:
        load_demo()
    except DemoModelError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The demo model is ready ({perf_counter() - start:.1f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
