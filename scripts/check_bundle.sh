#!/usr/bin/env bash
# Fails when visit_widget/static is not what js/ builds to.
set -euo pipefail
cd "$(dirname "$0")/.."

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
node js/build.mjs --outdir="$fresh" > /dev/null

for name in widget.js widget.css; do
  if ! cmp --silent "$fresh/$name" "visit_widget/static/$name"; then
    echo "visit_widget/static/$name is not what js/ builds to: run 'make bundle' and commit the result." >&2
    exit 1
  fi
done
