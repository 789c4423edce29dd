"""Real kernels that start at once, and a client that talks to a widget as a page does.

They are forked from a process that has imported torch and transformers already, so that one can be
killed a hundred times.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

PRELOAD = ["torch", "transformers", "ipykernel.kernelapp", "visit_widget.widget", "tests.tiny"]
PATIENCE = 60.0  # seconds
SETUP = """
import visit_widget as vw
from tests.tiny import make_speaker, tokenizer
model, words = make_speaker("llama"), tokenizer()
"""
SHOW = 'widget = vw.visit(model, words, "the cat sat on the mat")\ndisplay(widget)'


def _serve(connection: str) -> None:
    """What the forked process does."""
    import torch
    from ipykernel.kernelapp import IPKernelApp

    torch.set_num_threads(1)
    os.setpgrp()
    app: Any = IPKernelApp.instance(no_stdout=True, no_stderr=True)
    app.initialize(["--quiet", "-f", connection])
    app.start()


class Kernel:
    """A kernel, and the page's end of its widgets.

    Args:
        folder: where its connection files may be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fork: Any = multiprocessing.get_context("forkserver")
        self._fork.set_forkserver_preload(PRELOAD)
        self.starts = 0
        # The widgets' comms, in the order in which they were opened.
        self.widgets: list[str] = []
        self.answers: dict[str, list[dict[str, Any]]] = {}
        self._asked = 0
        self.start()

    def start(self) -> None:
        """Starts a fresh one; anew where another program took one of its ports first."""
        for _ in range(3):
            self.starts += 1
            file = str(self.folder / f"kernel-{self.starts}.json")
            write_connection_file(file)
            self.process = self._fork.Process(target=_serve, args=(file,), daemon=True)
            self.process.start()
            self.client: Any = BlockingKernelClient(connection_file=file)
            self.client.load_connection_file()
            # Its heart may be slow on a busy machine.
            self.client.start_channels(hb=False)
            self.widgets.clear()
            if self._is_ready():
                return
        raise AssertionError("no kernel starts")

    def _is_ready(self) -> bool:
        """Waits until it answers on all channels; not, where it has ended."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.is_alive():
            self.client.kernel_info()
            with suppress(Empty):
                self.client.get_shell_msg(timeout=1)
                self.client.get_iopub_msg(timeout=1)
                return True
        return False

    def kill(self) -> None:
        """Ends it as a machine out of memory does."""
        self.process.kill()
        self.process.join()
        # What it said before is still on its way.
        self.drain(0.1)
        self.client.stop_channels()

    def interrupt(self) -> None:
        """What the stop button does."""
        os.kill(self.process.pid, signal.SIGINT)

    def run(self, code: str, **options: Any) -> str:
        """Runs a cell; gives what it printed."""
        asked = self.client.execute(code, **options)
        printed = ""
        done = time.monotonic() + PATIENCE
        while time.monotonic() < done:
            message = self._next()
            if message is None or message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "error":
                raise AssertionError("\n".join(content["traceback"]))
            if kind == "stream":
                printed += content["text"]
            if kind == "status" and content["execution_state"] == "idle":
                return printed
        raise AssertionError(f"the cell was not done within {PATIENCE} s: {code[:200]}")

    def ask(self, method: str, widget: int = -1, **params: Any) -> str:
        """Sends a request of the page; gives its id."""
        self._asked += 1
        request = f"page-{self._asked}"
        content = {"kind": "visit-request", "id": request, "method": method, "params": params}
        self._send(widget, {"method": "custom", "content": content})
        return request

    def cancel(self, request: str, widget: int = -1) -> None:
        """Takes a request back."""
        content = {"kind": "visit-cancel", "id": request}
        self._send(widget, {"method": "custom", "content": content})

    def close(self, widget: int = -1) -> None:
        """The page takes the widget away."""
        content = {"comm_id": self.widgets[widget], "data": {}}
        self.client.shell_channel.send(self.client.session.msg("comm_close", content))

    def answer(self, request: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Waits for the answer to a request."""
        until(lambda: request in self.answers or (self._hear() and False), seconds)
        return self.answers[request][0]

    def expand(self, layer: int, widget: int = -1) -> dict[str, Any]:
        """Asks for a layer, and waits for it."""
        answer = self.answer(self.ask("expand", widget, layer=layer))
        assert answer["ok"], answer
        result: dict[str, Any] = answer["result"]
        return result

    def drain(self, seconds: float = 0.3) -> None:
        """Hears all that comes until nothing does."""
        quiet = time.monotonic() + seconds
        while time.monotonic() < quiet:
            if self._hear():
                quiet = time.monotonic() + seconds

    def _send(self, widget: int, data: dict[str, Any]) -> None:
        content = {"comm_id": self.widgets[widget], "data": data}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))

    def _hear(self) -> bool:
        return self._next(0.05) is not None

    def _next(self, seconds: float = 0.5) -> dict[str, Any] | None:
        """The next message that the kernel publishes; what is of widgets is noted."""
        try:
            message: dict[str, Any] = self.client.get_iopub_msg(timeout=seconds)
        except Empty:
            return None
        content = message["content"]
        data = content.get("data", {})
        if message["msg_type"] == "comm_open" and "_esm" in data.get("state", {}):
            self.widgets.append(content["comm_id"])
        if message["msg_type"] == "comm_msg" and data.get("method") == "custom":
            told = data["content"]
            if told["kind"] == "visit-response":
                self.answers.setdefault(told["id"], []).append(told)
        return message


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Waits for something to hold."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"


@contextmanager
def kernel_in(folder: Path) -> Iterator[Kernel]:
    """A kernel that is ended in any case."""
    kernel = Kernel(folder)
    try:
        yield kernel
    finally:
        with suppress(OSError):
            kernel.kill()


def pause(rng: random.Random, most: float = 0.05) -> None:
    """Some time, to meet a request wherever it is."""
    time.sleep(rng.uniform(0, most))
