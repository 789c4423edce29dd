#!/usr/bin/env bash
# Opens JupyterLab on the quickstart notebook. Usage: demo.sh PORT
set -euo pipefail
cd "$(dirname "$0")/.."
port=${1:-8888}

if [ ! -f visit_widget/static/widget.js ]; then
  make bundle
fi
.venv/bin/python scripts/warm_demo.py

# JupyterLab asks at its first start whether to fetch news: here it does not, in this environment alone.
settings=.venv/share/jupyter/lab/settings/overrides.json
if [ ! -f "$settings" ]; then
  mkdir -p "$(dirname "$settings")"
  echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}' > "$settings"
fi

flags=(
  --ServerApp.port="$port" --ServerApp.port_retries=20 --ServerApp.root_dir="$PWD"
  --LabApp.default_url=/lab/tree/notebooks/quickstart.ipynb
  --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate
  --log-level=WARN
)
if [ "$(id -u)" = 0 ]; then
  flags+=(--allow-root)
fi
if [ "$(uname)" = Linux ] && [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
  flags+=(--no-browser)
  echo "No display here: open one of the addresses below in a browser. Ctrl-C stops JupyterLab."
fi
exec .venv/bin/jupyter lab "${flags[@]}"
