"""A model that two threads run at once: each gets what it would get alone."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

import visit_widget as vw
from tests.families.configs import build
from tests.tiny import make_model
from visit_widget.model import anatomy_of
from visit_widget.model import exclusive as doors
from visit_widget.model.exclusive import exclusive

FAMILIES = ["gpt2", "llama", "gemma2", "phi"]
IDS = [3, 1, 4, 1, 5, 9, 2, 6]
OTHERS = [2, 7, 1, 8]


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[list[BaseException]]:
    """Another thread does it over and over while the block runs; gives what it failed with."""
    over, failed = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            while not over.is_set():
                work()
        except BaseException as error:  # noqa: BLE001  the test tells of it
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield failed
    finally:
        over.set()
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def threads_take_turns_often() -> Iterator[None]:
    """A thread is left in the middle of whatever it does."""
    was = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(was)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cell_and_a_widget_run_one_model(family):
    """Plain passes on one thread; traces, reruns, effects and gradients on another."""
    model = make_model(family).eval()
    ids = torch.tensor([IDS])

    def whole() -> torch.Tensor:
        with torch.no_grad():
            return model(ids).logits[0]

    def asked() -> list[torch.Tensor]:
        trace = vw.trace(model, None, OTHERS)
        changed = trace.rerun({"L0.H0": "zero", "L1.mlp": 0.5}, positions="all")
        effects = trace.effects(["L0.H0", "L1.mlp", "L0.post"])
        numbers = [[e.predicted, e.measured] for e in effects.values()]
        return [trace.logits(-1), changed.logits(-1), torch.tensor(numbers)]

    mine, theirs = asked(), whole()
    n_passes = [0]

    def pass_again() -> None:
        torch.testing.assert_close(whole(), theirs, rtol=0, atol=1e-12)
        n_passes[0] += 1

    with meanwhile(pass_again) as failed:
        until = time.monotonic() + 1.5
        n_asked = 0
        while time.monotonic() < until and not failed:
            for was, now in zip(mine, asked(), strict=True):
                torch.testing.assert_close(now, was, rtol=0, atol=1e-12)
            n_asked += 1
    assert failed == []
    assert n_asked > 1
    assert n_passes[0] > 1, "nobody starves"
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_model_that_trains_stays_in_its_mode():
    """Steps on one thread, traces on another."""
    model = make_model("gpt2", torch.float32, "sdpa", resid_pdrop=0.9).train()
    ids = torch.tensor([IDS])
    trace = vw.trace(model, None, OTHERS)
    modes: dict[int, list[bool]] = {}
    model.transformer.h[0].register_forward_pre_hook(
        lambda module, _: modes.setdefault(threading.get_ident(), []).append(module.training)
    )

    def step() -> None:
        model(ids)

    with meanwhile(step) as failed:
        for _ in range(30):
            again = vw.trace(model, None, OTHERS)
            torch.testing.assert_close(again.logits(-1), trace.logits(-1))
    assert failed == []
    ours = modes.pop(threading.get_ident())
    [cells] = modes.values()
    assert not any(ours)
    assert all(cells)
    assert len(cells) > 1


@pytest.mark.parametrize("family", [*FAMILIES, "qwen3_moe", "falcon_h1"])
def test_a_mode_is_changed_only_where_a_model_is_held(family, monkeypatch):
    """Whatever is asked of a trace of a model that trains."""
    made = make_model(family, torch.float32) if family in FAMILIES else build(family)
    model = made.train()
    own, free = set(map(id, model.modules())), list[str]()
    put = nn.Module.__setattr__

    def noted(module: nn.Module, name: str, value: object) -> None:
        if name == "training" and id(module) in own and not doors._held:
            free.append(type(module).__name__)
        put(module, name, value)

    monkeypatch.setattr(nn.Module, "__setattr__", noted)
    trace = vw.trace(model, None, IDS)
    for layer in range(trace.n_layers):
        trace.attention_output(layer)
        trace.mlp_output(layer)
        trace.head_parts(layer)
        trace.query_directions(layer, heads=[0])
        trace.key_directions(layer, heads=[0], sources=[7])
        trace.neuron_directions(layer, [0, 1])
        trace.score_parts(layer, 0, 7)
        trace.mlp_row(layer)
        trace.attention_row(layer)
    trace.logits()
    trace.logit_parts(3)
    trace.audit()
    trace.effects(["L0.H0", "L1.mlp"])
    for lens in (vw.LogitLens(model), vw.CalibratedLens.fit(model, None, texts=[IDS])):
        trace.flow(lens=lens)
    trace.routes()
    assert free == []
    assert all(m.training for m in model.modules())


def test_a_thread_that_goes_on_is_seen_as_it_is():
    """Callers, generators among them, of a thread that is left in the middle of anything."""
    over = threading.Event()

    def numbers(n: int) -> Iterator[int]:
        for i in range(n):
            yield leaf(i)

    def leaf(n: int) -> int:
        return sum(i * i for i in range(n % 7))

    def outer() -> None:
        while not over.is_set():
            sum(numbers(20))

    names = {f.__code__: f.__name__ for f in (numbers, leaf, outer)}
    allowed = {("outer",), ("numbers", "outer"), ("leaf", "numbers", "outer")}
    thread = threading.Thread(target=outer)
    thread.start()
    seen = set()
    try:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            stack = doors._stack_of(thread.ident)
            seen.add(tuple(names[f.f_code] for f in stack if f.f_code in names))
            assert stack[-1].f_code is threading.Thread._bootstrap.__code__
    finally:
        over.set()
        thread.join(10)
    assert seen <= {*allowed, ()}
    assert len(seen & allowed) > 1
    assert doors._stack_of(thread.ident) == []


def test_a_pass_on_its_way_is_waited_for_and_a_new_one_waits():
    model = make_model("llama", torch.float32, "sdpa").eval()
    begun, go_on, order = threading.Event(), threading.Event(), list[str]()

    def pause(_module: object, _args: object) -> None:
        if threading.current_thread() is cell:
            begun.set()
            go_on.wait(10)

    model.model.layers[0].register_forward_pre_hook(pause)

    def run() -> None:
        with torch.no_grad():
            model(torch.tensor([IDS]))
        order.append("cell")

    cell = threading.Thread(target=run)
    cell.start()
    assert begun.wait(10)
    threading.Timer(0.2, go_on.set).start()
    with exclusive(model):
        order.append("held")
        assert order == ["cell", "held"]
        later = threading.Thread(target=run)
        later.start()
        time.sleep(0.2)
        assert order == ["cell", "held"], "it waits at the door"
        with exclusive(model.model), torch.no_grad():
            model(torch.tensor([OTHERS]))  # the holder's own
    later.join(10)
    assert order == ["cell", "held", "cell"]


def test_a_door_makes_no_other_model_of_it():
    model = make_model("llama", torch.float32, "sdpa").eval()
    found = anatomy_of(model)
    with exclusive(model):
        assert anatomy_of(model) is found
    assert anatomy_of(model) is found
    model.model.register_forward_pre_hook(lambda *_: None)
    assert anatomy_of(model) is not found, "somebody else's hook may"


def test_a_pass_that_does_not_end_is_told_of(monkeypatch):
    monkeypatch.setattr(doors, "PATIENCE", 0.2)
    model = make_model("llama", torch.float32, "sdpa").eval()
    begun, go_on = threading.Event(), threading.Event()

    def pause(_module: object, _args: object) -> None:
        begun.set()
        go_on.wait(10)

    handle = model.model.layers[0].register_forward_pre_hook(pause)
    cell = threading.Thread(target=lambda: model(torch.tensor([IDS])))
    cell.start()
    assert begun.wait(10)
    with pytest.raises(
        vw.VisitError, match="Another thread has been running this LlamaForCausalLM"
    ):
        vw.trace(model, None, OTHERS)
    go_on.set()
    cell.join(10)
    handle.remove()
    assert not any(m._forward_pre_hooks for m in model.modules())
    vw.trace(model, None, OTHERS)
