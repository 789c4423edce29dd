"""Real Jupyter servers on free ports, with settings of their own and nothing from the user's, and
what tests do in the notebooks that they serve.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Module, where a notebook is, and what lets a test at the front end's own commands.
SERVERS = {
    "JupyterLab": (
        ("jupyterlab", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
         "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
        "/lab/tree/{notebook}?token={token}&reset",
    ),
    "Notebook": (
        ("notebook", "--JupyterNotebookApp.expose_app_in_browser=True"),
        "/notebooks/{notebook}?token={token}",
    ),
}  # fmt: skip


def servers(quick: str) -> list:
    """All of them as a test's parameters; `make test` takes the one that is named."""
    return [
        pytest.param(name, marks=() if name == quick else pytest.mark.hosts) for name in SERVERS
    ]


# Notebook's own error, of settings that it loads.
FORGIVEN = ("Cannot read properties of undefined (reading 'schema')",)

# No question about news, no look for updates, no box that covers the notebook; and no cell taken
# off the page while it is out of sight.
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/apputils-extension/themes": {"theme": "JupyterLab Light"},
    "@jupyterlab/notebook-extension/tracker": {
        "recordTiming": False,
        "autoStartDefaultKernel": True,
        "windowingMode": "none",
    },
}


@contextmanager
def jupyter_lab(folder: Path, workplace: Path, front_end: str = "JupyterLab") -> Iterator[str]:
    """Serves `folder`; gives the address to open, with its token.

    Args:
        folder: Where the notebooks are.
        workplace: An empty folder for the server's settings, log and run time files.
        front_end: "JupyterLab" or "Notebook", which is Notebook 7.
    """
    token = secrets.token_hex(16)
    port = free_port()
    module, address = SERVERS[front_end]
    command = [
        *(sys.executable, "-m", *module),
        "--no-browser",
        "--allow-root",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={folder}",
    ]
    here = f"http://127.0.0.1:{port}"
    with served(command, f"{here}/api?token={token}", workplace):
        yield here + address.replace("{token}", token)


@contextmanager
def served(command: list[str], address: str, workplace: Path) -> Iterator[None]:
    """A server, from when it answers at `address` until the block ends."""
    log = workplace / "server.log"
    with log.open("w") as file:
        server = subprocess.Popen(
            command, env=environment(workplace), stdout=file, stderr=subprocess.STDOUT
        )
    try:
        wait_for(address, server, log)
        yield
    finally:
        stop(server)


def environment(workplace: Path) -> dict[str, str]:
    """This process's environment, with Jupyter's and marimo's folders moved into `workplace`."""
    for plugin, values in SETTINGS.items():
        file = workplace / "settings" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    return os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(workplace / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(workplace / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(workplace / "config"),
        "JUPYTER_DATA_DIR": str(workplace / "data"),
        "JUPYTER_RUNTIME_DIR": str(workplace / "runtime"),
        "XDG_CONFIG_HOME": str(workplace / "config"),
        "IPYTHONDIR": str(workplace / "ipython"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(address: str, server: subprocess.Popen, log: Path, seconds: float = 60) -> None:
    """Waits until the server answers; fails with its log if it stops or takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"The server did not start:\n{log.read_text()[-3000:]}")


def stop(server: subprocess.Popen) -> None:
    """Ends the server, which ends its kernels."""
    server.terminate()
    try:
        server.wait(timeout=20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
