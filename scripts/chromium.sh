#!/usr/bin/env bash
# Makes sure that a Chromium for the browser tests is here: installs it where that needs no questions.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
  if command -v "$name" > /dev/null; then exit 0; fi
done

if [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ]; then
  echo "Installing Chromium for the browser tests"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  if apt-get update > "$log" 2>&1 &&
    apt-get install -y --no-install-recommends chromium fonts-dejavu-core >> "$log" 2>&1; then
    rm -f "$log"
    exit 0
  fi
  tail -n 5 "$log" >&2
fi

echo "The browser tests need Chromium: install it with your system's package manager (Debian: apt-get install chromium; macOS: brew install --cask chromium) so that 'chromium' is on the PATH." >&2
exit 1
