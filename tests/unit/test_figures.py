"""Pictures of a widget without a browser: what is refused, and how a browser is run and ended."""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import visit_widget as vw
from tests.tiny import make_speaker, tokenizer
from visit_widget.widget import chromium

PROMPT = "the cat sat on the mat"

# A stand-in for a browser: a program that is given an address, and answers as the page would.
STAND_IN = """#!{python}
import json, os, subprocess, sys, time
from urllib.request import Request, urlopen
address = sys.argv[-1]
home = address.rsplit("/", 1)[0] + "/"
get = lambda name: urlopen(home + name)
tell = lambda name, body: urlopen(Request(home + name, data=body, method="POST"))
notes = {notes!r}
"""


@pytest.fixture(scope="module")
def shown() -> Iterator[vw.VisitWidget]:
    made = vw.visit(make_speaker("llama"), tokenizer(), PROMPT)
    yield made
    made.close()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are made in this test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def stand_in(tmp_path: Path, temporary: Path) -> Callable[[str], Path]:
    """Makes a program of what a stand-in does; it may write to `notes`."""

    def make(does: str) -> Path:
        program = tmp_path / "browser"
        notes = str(tmp_path / "notes")
        program.write_text(STAND_IN.format(python=sys.executable, notes=notes) + does, "utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return program

    return make


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def zombies() -> list[str]:
    """Ended children of this process that nobody has asked after."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (process / "stat").read_text("utf-8").rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if state == "Z" and int(parent) == os.getpid():
            found.append(name)
    return found


@pytest.mark.parametrize("save", ["save_svg", "save_png"])
def test_without_a_browser_one_sentence_says_what_to_do(shown, save, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(chromium, "_of_playwright", lambda: None)
    monkeypatch.setattr(chromium, "_PLACES", {})
    with pytest.raises(vw.VisitError) as refusal:
        getattr(shown, save)(tmp_path / "figure")
    said = str(refusal.value)
    assert said.startswith("No browser was found")
    assert said.count(". ") == 0
    for way in ("install Chromium", "playwright install chromium", "browser="):
        assert way in said
    assert list(tmp_path.iterdir()) == []


def test_the_browser_that_playwright_has_is_found_without_a_path(tmp_path, monkeypatch):
    package = tmp_path / "playwright"
    package.mkdir()
    (package / "__init__.py").touch()
    program = tmp_path / "its-chromium"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (package / "sync_api.py").write_text(
        "class sync_playwright:\n"
        "  def __enter__(self): return self\n"
        "  def __exit__(self, *_): pass\n"
        "  chromium = property(lambda self: self)\n"
        f"  executable_path = {str(program)!r}\n"
    )
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(chromium, "_PLACES", {})
    assert chromium.find(None) == str(program)
    program.unlink()
    with pytest.raises(vw.VisitError, match="No browser was found"):
        chromium.find(None)


def test_the_first_browser_on_the_path_is_taken(tmp_path, monkeypatch):
    for name in ("msedge", "google-chrome"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chromium.find(None) == str(tmp_path / "google-chrome")
    assert chromium.find("msedge") == str(tmp_path / "msedge")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"theme": "blue"}, "theme='blue' is not known: use 'light' or 'dark'"),
        ({"width": 100}, "width=100 cannot be used: pass a number from 320 to 8000"),
        ({"width": "wide"}, "width='wide' cannot be used"),
        ({"view": "map"}, "view='map' is not known: use 'block' or 'routes'"),
        ({"browser": "no-such-program"}, "browser='no-such-program' is no program"),
        ({"layers": [99]}, "layers 0 to 2"),
    ],
)
def test_what_cannot_be_used_is_said_before_a_browser_is_started(
    shown, stand_in, tmp_path, options, said
):
    program = stand_in("open(notes, 'w').close()")
    with pytest.raises(vw.VisitError, match=said):
        shown.save_svg(tmp_path / "a.svg", **{"browser": program, **options})
    assert not (tmp_path / "notes").exists()
    assert not (tmp_path / "a.svg").exists()


@pytest.mark.parametrize("scale", [0, 9, "2", True, float("nan")])
def test_scales_have_bounds(shown, tmp_path, scale):
    with pytest.raises(vw.VisitError, match=r"scale=.* pass a number from 0.1 to 8"):
        shown.save_png(tmp_path / "a.png", scale=scale)


def test_a_path_that_cannot_be_written_is_said_before_a_browser_is_started(
    shown, stand_in, tmp_path
):
    program = stand_in("open(notes, 'w').close()")
    for path, why in [(tmp_path / "none" / "a.svg", "there is no folder"), (tmp_path, "a folder")]:
        with pytest.raises(vw.VisitError, match=f"Could not write .*{why}.*Choose another place"):
            shown.save_svg(path, browser=program)
    assert not (tmp_path / "notes").exists()


ANSWERS = """
order = json.load(get("order.json"))
page = get("index.html")
strangers = []
for url in (home.rsplit("/", 2)[0] + "/index.html", home + "../secret", home + "picture"):
    try: urlopen(url); strangers.append(url)
    except Exception as error: pass
json.dump({"order": order, "flags": sys.argv[1:-1], "address": address, "strangers": strangers,
    "policy": page.headers["Content-Security-Policy"], "pid": os.getpid(),
    "script": len(get("widget.js").read()), "style": len(get("widget.css").read())},
    open(notes, "w"))
tell("picture", b"<svg/>")
time.sleep(60)
"""


def test_the_page_is_served_here_alone_and_all_is_put_away(shown, stand_in, tmp_path, temporary):
    before = json.dumps(shown.get_state(), default=str)
    path = shown.save_svg(
        tmp_path / "a.svg", theme="dark", width=900, layers=[1], browser=stand_in(ANSWERS)
    )
    assert path == tmp_path / "a.svg"
    assert path.read_bytes() == b"<svg/>"
    notes: dict[str, Any] = json.loads((tmp_path / "notes").read_text("utf-8"))

    assert notes["order"]["how"] == {"theme": "dark", "width": 900, "scale": 1.0, "format": "svg"}
    data = notes["order"]["data"]
    assert data["traits"]["expanded"] == [1]
    assert data["expand"].keys() == {"1"}
    assert data["routes"] is None
    assert data["traits"]["graph"] == json.loads(json.dumps(shown.graph))
    static = Path(vw.__file__).parent / "static"
    assert notes["script"] == (static / "widget.js").stat().st_size
    assert notes["style"] == (static / "widget.css").stat().st_size

    assert notes["address"].startswith("http://127.0.0.1:")
    assert notes["strangers"] == [], "nothing is told to who does not know the path"
    assert "default-src 'none'" in notes["policy"]
    assert "--no-proxy-server" in notes["flags"]
    assert any(flag.startswith("--host-resolver-rules=MAP * ~NOTFOUND") for flag in notes["flags"])

    assert not is_running(notes["pid"])
    assert zombies() == []
    assert list(temporary.iterdir()) == []
    assert json.dumps(shown.get_state(), default=str) == before, "the widget is as it was"


def test_another_view_is_drawn_without_being_shown(shown, stand_in, tmp_path):
    program = stand_in(ANSWERS)
    shown.save_png(tmp_path / "a.png", view="routes", scale=3, browser=program)
    order = json.loads((tmp_path / "notes").read_text("utf-8"))["order"]
    assert order["data"]["traits"]["view"] == "routes"
    assert order["data"]["routes"]["nodes"]
    assert order["how"] == {"theme": "light", "width": 1008, "scale": 3.0, "format": "png"}
    assert shown.view == "block"


def test_a_problem_of_the_page_is_told_and_nothing_is_written(shown, stand_in, tmp_path):
    program = stand_in("tell('problem', 'it is too large'.encode())\ntime.sleep(60)")
    (tmp_path / "a.png").write_text("old")
    with pytest.raises(vw.VisitError, match="could not be drawn: it is too large"):
        shown.save_png(tmp_path / "a.png", browser=program)
    assert (tmp_path / "a.png").read_text() == "old"


def test_a_browser_that_ends_early_is_told_of_with_its_last_words(shown, stand_in, tmp_path):
    program = stand_in("sys.exit('no display')")
    with pytest.raises(vw.VisitError, match=r"ended before .*\(no display\).* browser="):
        shown.save_svg(tmp_path / "a.svg", browser=program)
    assert zombies() == []


def test_what_is_no_program_at_all_is_told_of(shown, tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    with pytest.raises(vw.VisitError, match=r"could not be started.*browser="):
        shown.save_svg(tmp_path / "a.svg", browser=broken)


STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time;"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
json.dump([os.getpid(), child.pid], open(notes, "w"))
time.sleep(600)
"""


def test_a_browser_that_hangs_is_ended_with_all_that_it_started(
    shown, stand_in, tmp_path, temporary, monkeypatch
):
    monkeypatch.setattr(chromium, "_PATIENCE", 0.3)
    started = time.monotonic()
    with pytest.raises(
        vw.VisitError, match=r"not drawn .* within 1.5 seconds: pass a longer timeout="
    ):
        shown.save_svg(tmp_path / "a.svg", browser=stand_in(STUBBORN), timeout=1.5)
    assert time.monotonic() - started < 10
    for pid in json.loads((tmp_path / "notes").read_text("utf-8")):
        for _ in range(50):  # whoever adopts an orphan asks after it in its own time
            if not is_running(pid):
                break
            time.sleep(0.05)
        assert not is_running(pid)
    assert zombies() == []
    assert list(temporary.iterdir()) == []


def test_a_browser_without_its_sandbox_is_tried_where_there_is_none(
    shown, stand_in, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    program = stand_in(
        "open(notes, 'a').write(str('--no-sandbox' in sys.argv) + ' ')\n"
        "if '--no-sandbox' not in sys.argv: sys.exit('No usable sandbox!')\n"
        "tell('picture', b'drawn')"
    )
    path = shown.save_svg(tmp_path / "a.svg", browser=program)
    assert path.read_bytes() == b"drawn"
    assert (tmp_path / "notes").read_text() == "False True "


def test_a_closed_widget_says_so(tmp_path, stand_in):
    made = vw.visit(make_speaker("llama"), tokenizer(), PROMPT)
    made.close()
    with pytest.raises(vw.VisitError, match="closed"):
        made.save_svg(tmp_path / "a.svg", browser=stand_in(ANSWERS))
