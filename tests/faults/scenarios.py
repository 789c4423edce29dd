"""What happens to kernels, and what has to hold then. Each scenario raises AssertionError where it
does not, and gives what it counted otherwise.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from tests.faults.kernels import SETUP, SHOW, Kernel, pause

Counts = dict[str, float]
_RSS = """
import gc, os, psutil
gc.collect()
traces = sum(type(o).__name__ == "Trace" for o in gc.get_objects())
print(psutil.Process().memory_info().rss, traces)
"""
LAYERS = 2


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two answers say the same, whichever graph they are of."""
    first, second = ({**answer, "revision": None} for answer in (one, other))
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


def killed(kernel: Kernel, times: int, seed: int = 0) -> Counts:
    """The kernel is killed while it answers, restarted, and its cells are run again: the same
    question has the same answer, and of the old questions none is answered twice.
    """
    rng = random.Random(seed)
    kernel.run(SETUP)
    kernel.run(SHOW)
    expected = kernel.expand(1)
    lost = 0
    for _ in range(times):
        asked = [kernel.ask("audit"), kernel.ask("expand", layer=rng.randrange(LAYERS))]
        pause(rng, 0.15)
        kernel.kill()
        lost += sum(request not in kernel.answers for request in asked)
        kernel.start()
        kernel.run(SETUP)
        kernel.run(SHOW)
        assert same(kernel.expand(1), expected)
    assert all(len(told) == 1 for told in kernel.answers.values())
    return {"times": times, "requests": 2 * times, "of which the kernel took along": lost}


def interrupted(kernel: Kernel, times: int, seed: int = 0) -> Counts:
    """The kernel is interrupted while it answers: every request has one answer, which is right or a
    sentence, and the model is left as it was.
    """
    rng = random.Random(seed)
    kernel.run(SETUP)
    kernel.run(SHOW)
    kernel.run("widget.trace.audit()")
    expected = kernel.expand(1)
    told = 0
    for n in range(times):
        kernel.run(f"widget.focus = {n % 5}")
        request = kernel.ask("audit")
        pause(rng, 0.03)
        kernel.interrupt()
        answer = kernel.answer(request)
        told += not answer["ok"]
        assert answer["ok"] or answer["error"]["message"].endswith("."), answer
        kernel.run("widget.focus = 5")
        assert same(kernel.expand(1), expected)
    kernel.drain()
    assert all(len(found) == 1 for found in kernel.answers.values())
    assert kernel.run("print(widget.trace.audit().exact)").strip() == "True"
    return {"times": times, "of which in the middle of an answer": told}


def crowded(kernel: Kernel, widgets: int, requests: int, seed: int = 0) -> Counts:
    """Many widgets of one model, asked in turns, some questions taken back: each has its own
    answer, or none where it was taken back in time.
    """
    rng = random.Random(seed)
    kernel.run(SETUP)
    prompts = [" ".join(["the cat sat on the mat"] * (1 + n % 3)) for n in range(widgets)]
    kernel.run(f"shown = [vw.visit(model, words, p) for p in {prompts!r}]\ndisplay(*shown)")
    assert len(kernel.widgets) == widgets
    asked, back = {}, set()
    for _ in range(requests):
        widget, layer = rng.randrange(widgets), rng.randrange(LAYERS)
        request = kernel.ask("expand", widget, layer=layer)
        asked[request] = widget, layer
        if rng.random() < 0.2:
            kernel.cancel(request, widget)
            back.add(request)
        elif len(asked) % 40 == 0:
            kernel.answer(request)  # a page reads as it asks; what nobody reads is dropped
    for request, (widget, layer) in asked.items():
        if request in back:
            continue
        answer = kernel.answer(request)
        assert answer["ok"]
        assert answer["result"]["layer"] == layer
        last = len(prompts[widget].split()) - 1  # the focus: prompts differ by it
        assert {n["position"] for n in answer["result"]["nodes"] if n["kind"] == "head"} == {last}
    kernel.drain()
    assert all(len(kernel.answers.get(request, [])) <= 1 for request in asked)
    return {"widgets": widgets, "requests": requests, "taken back": len(back)}


def rerun(kernel: Kernel, times: int, seed: int = 0) -> Counts:
    """One cell is run again and again: one trace is held, and the memory returns."""
    kernel.run(SETUP)
    # A variable of the notebook is set anew by its cell; nothing else holds the earlier widgets.
    cell = SHOW.replace("the mat", "the mat " * 8)
    for _ in range(5):
        kernel.run(cell)
    before, held = map(int, kernel.run(_RSS).split())
    for _ in range(times - 5):
        kernel.run(cell)
    after, traces = map(int, kernel.run(_RSS).split())
    assert traces == held, (held, traces)
    grown = (after - before) / 1e6
    assert grown < 20, f"{grown:.1f} MB"
    assert kernel.expand(1)["layer"] == 1
    return {"times": times, "traces more": 0, "MB more than after five": round(grown, 1)}


def cleared(kernel: Kernel, times: int, seed: int = 0) -> Counts:
    """The output is taken off the page while it waits for an answer: the other widgets, and the
    next one of the cell, are as if nothing had been.
    """
    rng = random.Random(seed)
    kernel.run(SETUP)
    kernel.run(SHOW.replace("widget", "other"))
    expected = kernel.expand(0, widget=0)
    for _ in range(times):
        kernel.run(SHOW)
        kernel.ask(rng.choice(["audit", "expand", "attribution"]), layer=1)
        pause(rng)
        kernel.close()
        assert same(kernel.expand(0, widget=0), expected)
    kernel.run(SHOW)
    assert kernel.expand(1)["layer"] == 1
    return {"times": times}


def too_large(kernel: Kernel, times: int, seed: int = 0) -> Counts:
    """Answers that no message can carry: a sentence says so, and the next question is answered."""
    kernel.run(SETUP)
    kernel.run(SHOW)
    expected = kernel.expand(1)
    limit = "import visit_widget.widget.requests as r; r.MOST_BYTES"
    for _ in range(times):
        kernel.run(f"usual = r.MOST_BYTES if 'r' in vars() else 2_000_000; {limit} = 1000")
        answer = kernel.answer(kernel.ask("expand", layer=1))
        assert not answer["ok"]
        assert "more than a notebook's messages carry" in answer["error"]["message"]
        kernel.run("r.MOST_BYTES = usual")
        assert same(kernel.expand(1), expected)
    return {"times": times}


# {name: (scenario, what it is given in the long run, what in the tests)}
SCENARIOS: dict[str, tuple[Callable[..., Counts], dict[str, int], dict[str, int]]] = {
    "the kernel is killed while it answers": (killed, {"times": 100}, {"times": 2}),
    "the kernel is interrupted while it answers": (interrupted, {"times": 100}, {"times": 4}),
    "twenty widgets in one notebook": (
        crowded, {"widgets": 20, "requests": 2000}, {"widgets": 20, "requests": 60},
    ),
    "a cell is run again": (rerun, {"times": 30}, {"times": 30}),
    "the output is cleared while a request runs": (cleared, {"times": 50}, {"times": 3}),
    "an answer over the limit": (too_large, {"times": 20}, {"times": 1}),
}  # fmt: skip
