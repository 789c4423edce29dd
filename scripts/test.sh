#!/usr/bin/env bash
# Runs every check, goes on after a failure, and fails at the end if any did. `test.sh lint` stops before the tests.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=()

check() {
  local name=$1 start=$SECONDS
  shift
  printf '\n── %s\n' "$name"
  if "$@"; then
    printf '   ok (%d s)\n' $((SECONDS - start))
  else
    printf '   FAILED (%d s)\n' $((SECONDS - start))
    failed+=("$name")
  fi
}

check "bundle is fresh" scripts/check_bundle.sh
check "JavaScript types (tsc)" npm run --silent check
check "JavaScript lint (biome)" npm run --silent lint
check "Python lint (ruff)" .venv/bin/ruff check --quiet .
check "Python format (ruff)" .venv/bin/ruff format --quiet --check .
check "Python types (mypy)" .venv/bin/mypy
if [ "${1:-all}" = all ]; then
  check "JavaScript tests (vitest)" npm run --silent test
  check "Chromium" scripts/chromium.sh
  # Files side by side, a thread each: tiny matrices gain nothing by more, and browsers and kernels are
  # waited for a lot, so there is one more than there are cores.
  workers=$(($(getconf _NPROCESSORS_ONLN) + 1))
  check "Python, browser and notebook tests (pytest)" env OMP_NUM_THREADS=1 \
    .venv/bin/python -m pytest -m "not hosts" --numprocesses=$((workers < 4 ? workers : 4)) --dist=loadfile --no-loadscope-reorder
fi

echo
if [ ${#failed[@]} -gt 0 ]; then
  echo "Failed after $SECONDS s:"
  printf '  %s\n' "${failed[@]}"
  exit 1
fi
echo "Everything passed in $SECONDS s."
