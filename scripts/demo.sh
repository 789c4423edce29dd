#!/usr/bin/env bash
# Opens JupyterLab on the quickstart notebook. Usage: demo.sh PORT
set -euo pipefail
cd "$(dirname "$0")/.."
port=${1:-8888}

if [ ! -f visit_widget/static/widget.js ]; then
  make bundle
fi
.venv/bin/python scripts/warm_demo.py

flags=(--ServerApp.port="$port" --ServerApp.port_retries=20 --LabApp.news_url=None
  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate)
if [ "$(id -u)" = 0 ]; then
  flags+=(--allow-root)
fi
if [ "$(uname)" = Linux ] && [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
  flags+=(--no-browser)
  echo "No display here: open the address below that contains the token in a browser. Ctrl-C stops JupyterLab."
fi
exec .venv/bin/jupyter lab "${flags[@]}" notebooks/quickstart.ipynb
