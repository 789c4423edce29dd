#!/usr/bin/env bash
# Side-by-side timings; arguments go to `python -m benchmarks`. TransformerLens, which they compare with, gets an
# environment of its own on top of .venv, so that what it needs touches nothing that is pinned for development.
set -euo pipefail
cd "$(dirname "$0")/.."

bench=.venv/bench
if [ ! -f "$bench/.ready" ] || [ "$bench/.ready" -ot .venv/.ready ]; then
  echo "Installing what the benchmarks compare with"
  rm -rf "$bench"
  .venv/bin/python -m venv "$bench"
  packages='import sysconfig; print(sysconfig.get_path("purelib"))'
  below=$(.venv/bin/python -c "$packages")
  echo "import site; site.addsitedir('$below')" > "$("$bench/bin/python" -c "$packages")/below.pth"
  if ! "$bench/bin/pip" install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'; then
    echo "TransformerLens could not be installed: its rows will be missing." >&2
  fi
  touch "$bench/.ready"
fi

# Programs with known circuits are compiled by tracr, which needs jax: in an environment that shares nothing with ours.
if [[ " $* " == *" circuits "* ]] && [ ! .venv/tracr/programs.npz -nt benchmarks/compile_programs.py ]; then
  echo "Compiling programs with tracr"
  .venv/bin/python -m venv .venv/tracr
  if ! { .venv/tracr/bin/pip install --quiet --disable-pip-version-check tracr-pypi==1.0.0 &&
    .venv/tracr/bin/python benchmarks/compile_programs.py .venv/tracr/programs.npz; }; then
    echo "tracr could not be installed or run: compiled circuits will be missing." >&2
  fi
fi
exec "$bench/bin/python" -m benchmarks "$@"
