#!/usr/bin/env bash
# Builds what is published into dist/, checks it, and tries the wheel in two environments of its own: with the newest
# dependencies, and with the lower bounds (oldest.txt). PyTorch is the same in both.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
TORCH=${TORCH:-$(sed -n 's/^torch==//p' oldest.txt)}
envs=build/dist

step() { printf '\n── %s (%d s)\n' "$1" "$SECONDS"; }

step "bundle is fresh"
scripts/check_bundle.sh

step "build"
rm -rf dist
log=$(mktemp)
trap 'rm -f "$log"' EXIT
.venv/bin/python -m build --no-isolation --outdir dist . > "$log" 2>&1 || { cat "$log" >&2; exit 1; }

step "metadata"
.venv/bin/python -m twine --no-color check --strict dist/*

step "contents"
.venv/bin/python scripts/check_dist.py dist

# NAME and what pip is told beside the wheel.
try() {
  local name=$1 venv=$envs/$1
  shift
  step "a trace with the $name dependencies"
  rm -rf "$venv"
  "$PYTHON" -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "torch==$TORCH"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$@" dist/*.whl
  "$venv/bin/pip" check --disable-pip-version-check
  # Away from the checkout, and without it on the path.
  (cd "$envs" && "$OLDPWD/$venv/bin/python" -I "$OLDPWD/scripts/try_wheel.py")
}

mkdir -p "$envs"
# Of the lower bounds, those that the package itself has.
sed '/^$/,$d' <(sed '1,/^$/d' oldest.txt) | grep -v '^torch==' > "$envs/oldest.txt"
echo "torch==$TORCH" >> "$envs/oldest.txt"
try oldest --constraint "$envs/oldest.txt"
try newest
rm -rf "$envs"

printf '\nReady in %d s:\n' "$SECONDS"
ls -l dist | awk 'NR > 1 {printf "  %s (%.0f kB)\n", $NF, $5 / 1000}'
