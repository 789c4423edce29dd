"""A Chromium-family browser on this machine, run without a window to draw one picture.

The page is served by this process, on 127.0.0.1 and under a path that nobody can guess, and the
browser is told to reach nothing else.
"""

from __future__ import annotations

import http.server
import importlib.util
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..model import VisitError

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
    "microsoft-edge-stable",
    "brave-browser",
)
# Where installers put what they leave off the PATH.
_PLACES = {
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "win32": (
        r"%ProgramFiles%\Google\Chrome\Application\chrome.exe",
        r"%ProgramFiles(x86)%\Microsoft\Edge\Application\msedge.exe",
        r"%ProgramFiles%\Microsoft\Edge\Application\msedge.exe",
    ),
}
_NONE_FOUND = (
    "No browser was found to draw the picture with: install Chromium or Chrome, or pip install "
    "playwright and run 'playwright install chromium', or pass the path of one as browser=."
)
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--mute-audio",
)
_POLICY = (
    "default-src 'none'; script-src 'self' blob:; style-src 'self' 'unsafe-inline'; img-src data:; "
    "connect-src 'self'"
)
_PLAYWRIGHT = (
    "from playwright.sync_api import sync_playwright as s\n"
    "with s() as p: print(p.chromium.executable_path)"
)
_PATIENCE = 5.0  # seconds that a browser has for ending when asked to


class File(NamedTuple):
    """A file that the page may fetch."""

    kind: str
    content: bytes


def find(browser: str | os.PathLike[str] | None) -> str:
    """The path of a browser: the one named, or the first that is found.

    Raises:
        VisitError: there is none; the message says what to install or pass.
    """
    if browser is not None:
        named = shutil.which(os.fspath(browser))
        if named is None:
            raise VisitError(
                f"browser={os.fspath(browser)!r} is no program that can be run here: pass the path "
                "of a Chromium-family browser (Chromium, Chrome, Edge)."
            )
        return named
    places = (os.path.expandvars(place) for place in _PLACES.get(sys.platform, ()))
    found = next(filter(None, map(shutil.which, (*NAMES, *places))), None) or _of_playwright()
    if found is None:
        raise VisitError(_NONE_FOUND)
    return found


def _of_playwright() -> str | None:
    """The browser that playwright has downloaded, if any."""
    if importlib.util.find_spec("playwright") is None or not sys.executable:
        return None
    # In a process of its own: playwright cannot start within a notebook's event loop.
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(
            [sys.executable, "-c", _PLAYWRIGHT],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        return shutil.which(told.stdout.strip())
    return None


def draw(browser: str, files: Mapping[str, File], timeout: float) -> bytes:
    """Open "index.html" of `files` in a browser, and wait for the picture that it sends back.

    Args:
        browser: path of the program.
        files: what the page is made of, by name. It answers by a POST to "picture" or "problem".
        timeout: seconds to wait.

    Raises:
        VisitError: the page told of a problem, the browser ended early, or the time is up.
    """
    end = time.monotonic() + timeout
    with (
        _served(files) as (address, answers),
        tempfile.TemporaryDirectory(prefix="visit-widget-", ignore_cleanup_errors=True) as folder,
    ):
        words = ""
        for more in _sandboxes():
            log = Path(folder, "log.txt")
            command = [browser, *_FLAGS, *more, f"--user-data-dir={folder}/profile", address]
            with _running(command, log) as process:
                answer = _wait(process, answers, end, timeout)
            words = log.read_text(encoding="utf-8", errors="replace")
            if answer is not None or "sandbox" not in words.lower():
                break
    if answer is None:
        last = words.strip().splitlines()[-1:] or ["it said nothing"]
        raise VisitError(
            f"{browser} ended before it had drawn the picture ({last[0][:200]}): pass another "
            "Chromium-family browser as browser=."
        )
    name, content = answer
    if name == "problem":
        told = content.decode("utf-8", "replace")
        raise VisitError(f"The picture could not be drawn: {told}")
    return content


def _sandboxes() -> list[list[str]]:
    """Flags to try, one list after the other.

    Chromium refuses its sandbox to root, and in most containers. The page is this package's own and
    reaches nothing, so that it may be drawn without.
    """
    without = ["--no-sandbox"]
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [without] if root else [[], without]


_Answer = tuple[str, bytes]


@contextmanager
def _served(files: Mapping[str, File]) -> Iterator[tuple[str, queue.SimpleQueue[_Answer]]]:
    """The address of the page while it is served, and where its answer arrives."""
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    home = f"/{secrets.token_urlsafe(24)}/"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = files.get(self.name())
            self.reply(404 if file is None else 200, file or File("text/plain", b""))

        def do_POST(self) -> None:
            known = self.name() in ("picture", "problem")
            if known:
                size = int(self.headers.get("Content-Length") or 0)
                content = self.rfile.read(size)
            self.reply(204 if known else 404, File("text/plain", b""))
            if known:
                answers.put((self.name(), content))

        def name(self) -> str:
            return self.path.removeprefix(home) if self.path.startswith(home) else ""

        def reply(self, status: int, file: File) -> None:
            self.send_response(status)
            self.send_header("Content-Type", file.kind)
            self.send_header("Content-Length", str(len(file.content)))
            self.send_header("Content-Security-Policy", _POLICY)
            self.end_headers()
            self.wfile.write(file.content)

        def log_message(self, *_: Any) -> None:
            """A notebook's output is no place for a server's log."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{home}index.html", answers
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process, and all that it starts, for as long as the block lasts."""
    with log.open("wb") as words:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=words, stderr=words,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise VisitError(
                f"{command[0]} could not be started ({error.strerror or error}): pass the path of "
                "a Chromium-family browser as browser=."
            ) from error
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, so that it puts its own processes away; then make sure."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # its own group, by start_new_session
    else:
        process.kill()
    process.wait()


def _wait(
    process: subprocess.Popen[bytes],
    answers: queue.SimpleQueue[_Answer],
    end: float,
    timeout: float,
) -> _Answer | None:
    """The page's answer; None where the browser has ended without one."""
    while True:
        gone = process.poll() is not None
        with suppress(queue.Empty):
            return answers.get(timeout=0.1)
        if gone:
            return None
        if time.monotonic() > end:
            raise VisitError(
                f"The browser had not drawn the picture within {timeout:g} seconds: pass a longer "
                "timeout=, or another Chromium-family browser as browser=."
            )
