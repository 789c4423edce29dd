#!/usr/bin/env bash
# Runs the Python tests that need neither a browser nor the demo model with the oldest supported
# versions (oldest.txt), in .venv-oldest; with VERSIONS=newest with the newest of everything but PyTorch,
# in .venv-newest. Arguments go to pytest in place of the usual tests.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
TORCH=${TORCH:-$(sed -n 's/^torch==//p' oldest.txt)}
VERSIONS=${VERSIONS:-oldest}
venv=.venv-$VERSIONS

# The newest are looked for again every day.
day=$([ "$VERSIONS" = oldest ] || date +%F)
wanted=$({ cat pyproject.toml oldest.txt scripts/oldest.sh; "$PYTHON" --version; echo "$TORCH $day"; } | sha256sum)
if [ "$(cat "$venv/.ready" 2> /dev/null)" != "$wanted" ]; then
  # Another Python needs an environment of its own.
  "$venv/bin/python" --version 2> /dev/null | grep -qxF "$("$PYTHON" --version)" || "$PYTHON" -m venv --clear "$venv"
  pip_install() { "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"; }
  echo "Installing the $VERSIONS versions, PyTorch $TORCH"
  pip_install "torch==$TORCH"
  echo "torch==$TORCH" > "$venv/constraints.txt"
  if [ "$VERSIONS" = oldest ]; then
    grep -v '^torch==' oldest.txt >> "$venv/constraints.txt"
    pip_install --constraint "$venv/constraints.txt" --editable '.[test]'
  else
    pip_install --constraint "$venv/constraints.txt" --upgrade --upgrade-strategy eager --editable '.[test]'
  fi
  "$venv/bin/pip" check --disable-pip-version-check
  echo "$wanted" > "$venv/.ready"
fi

"$venv/bin/python" - << 'EOF'
import platform
from importlib.metadata import version

names = ("torch", "transformers", "anywidget", "ipywidgets", "traitlets", "numpy")
print(f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names), sep=", ")
EOF
[ $# -gt 0 ] || set -- tests/unit tests/families/test_oldest.py
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$venv/bin/python" -m pytest -q -m "not demo and not browser" -p no:cacheprovider "$@"
