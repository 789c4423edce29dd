"""Memory goes back: what a widget holds, for how long, and that nothing else holds it."""

from __future__ import annotations

import contextlib
import gc
import io
import weakref

import comm
import ipywidgets
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

import visit_widget as vw
from tests.families.configs import build
from tests.tiny import PROMPT_IDS, make_model, make_speaker, tokenizer
from visit_widget.widget.lifetime import registry

# Heard by both ways, with experts, with layers that do not attend, with norms read by probing.
FAMILIES = ["gpt2", "gptj", "bloom", "mixtral", "jamba", "gemma2", "qwen3"]


def gone(*known: weakref.ref) -> bool:
    gc.collect()
    return all(ref() is None for ref in known)


@pytest.fixture
def shell():
    """An IPython shell, whose variables are cleared in the end, without other tests' widgets."""
    close_all()
    made = InteractiveShell.instance()
    yield made
    made.reset(new_session=True)
    close_all()
    InteractiveShell.clear_instance()
    gc.collect()


def close_all() -> None:
    for widget in list(registry().values()):
        widget.close()


def run(shell: InteractiveShell, source: str, cell: str | None = None) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        shell.run_cell(source, store_history=True, cell_id=cell).raise_error()


def living(shell: InteractiveShell) -> int:
    gc.collect()
    alive = [o for o in gc.get_objects() if issubclass(type(o), vw.VisitWidget)]
    return sum(isinstance(w._session.__dict__.get("trace"), vw.Trace) for w in alive)


@pytest.mark.parametrize("family", FAMILIES)
def test_after_close_model_and_trace_are_let_go(family):
    torch.manual_seed(0)
    model = build(family)
    widget = vw.visit(model, None, [3, 17, 42, 5])
    widget.expanded = [0]
    asked = [widget._session.expand(0), widget._session.routes(), widget._session.predictions()]
    assert all(asked)
    widget.trace.audit()
    known = [weakref.ref(o) for o in (model, widget.trace, widget._session, widget)]
    known += [weakref.ref(p) for p in model.parameters()]
    widget.close()
    del model, widget
    assert gone(*known)


def test_a_closed_widget_that_is_still_held_holds_nothing_heavy():
    model = make_model("llama")
    widget = vw.visit(model, None, PROMPT_IDS)
    widget._repr_mimebundle_()
    known = weakref.ref(model), weakref.ref(widget.trace)
    widget.close()
    del model
    assert gone(*known)
    for use in (
        lambda: widget.trace, widget.flow, lambda: widget.save_html("x.html"),
        lambda: setattr(widget, "focus", 1),
    ):  # fmt: skip
        with pytest.raises(vw.VisitError, match="closed"):
            use()
    widget.close()


def test_a_closed_widget_leaves_nothing_with_ipywidgets():
    model = make_model("gpt2")
    before = len(registry()), len(comm.get_comm_manager().comms)
    for _ in range(3):
        widget = vw.visit(model, None, PROMPT_IDS)
        widget._repr_mimebundle_()
        widget.close()
    assert (len(registry()), len(comm.get_comm_manager().comms)) == before


def test_a_widget_that_nobody_shows_goes_with_its_last_variable():
    model = make_model("gpt2")
    widget = vw.visit(model, None, PROMPT_IDS)
    known = weakref.ref(widget.trace), weakref.ref(widget)
    before = len(registry())
    del widget
    assert gone(*known)
    assert len(registry()) == before - 1, "its layout goes as well"


def test_a_widget_that_is_shown_stays_for_the_page_and_hears_it():
    widget = vw.visit(make_speaker("gpt2"), tokenizer(), "the cat sat")
    widget._repr_mimebundle_()
    channel, known = widget.comm, weakref.ref(widget)
    del widget
    assert not gone(known)
    data = {"method": "update", "state": {"focus": 1}, "buffer_paths": []}
    channel._msg_callback({"content": {"data": data}, "buffers": []})
    assert known().focus == 1
    channel.handle_close({"content": {"data": {}}})  # the page ends it
    assert gone(known)


def test_a_widget_in_a_box_stays_with_it():
    box = ipywidgets.HBox([vw.visit(make_model("gpt2"), None, PROMPT_IDS)])
    inner = weakref.ref(box.children[0])
    box.get_state()
    assert not gone(inner)
    assert registry()[inner().comm.comm_id] is inner()
    inner().close()
    box.close()


def test_an_earlier_trace_goes_when_the_prompt_is_another():
    widget = vw.visit(make_speaker("gpt2"), tokenizer(), "the cat sat")
    widget._session.predictions()
    widget._session.routes()
    known = weakref.ref(widget.trace)
    widget.prompt = "a dog ran"
    assert gone(known)
    widget.close()


def test_a_refused_prompt_is_not_held():
    widget = vw.visit(make_speaker("gpt2"), tokenizer(), "the cat sat")
    widget.set_state({"prompt": "the " * 60})
    assert widget.status["state"] == "error"
    known = weakref.ref(widget.trace)
    widget.close()
    del widget
    assert gone(known)


@pytest.mark.parametrize(("source", "cell"), [
    ("vw.visit(model, None, ids)", "a"),
    ("vw.visit(model, None, ids)", None),  # of a front end that does not name its cells
    ("widget = vw.visit(model, None, ids)\nwidget", "a"),
    ("display(vw.visit(model, None, ids))", "a"),
    ("widget = vw.visit(model, None, ids)", "a"),
])  # fmt: skip
def test_a_cell_that_is_run_thirty_times_holds_one_trace(shell, source, cell):
    shell.user_ns.update(vw=vw, model=make_model("gpt2"), ids=PROMPT_IDS)
    for _ in range(3):
        run(shell, source, cell)
    gc.collect()
    comms, widgets = len(comm.get_comm_manager().comms), len(registry())
    for _ in range(27):
        run(shell, source, cell)
    assert living(shell) == 1
    assert len(comm.get_comm_manager().comms) <= comms
    assert len(registry()) <= widgets


def test_a_cell_that_loads_its_model_holds_one_model(shell):
    seen: list[weakref.ref] = []

    def load():
        model = make_model("gpt2")
        seen.append(weakref.ref(model))
        return model

    shell.user_ns.update(vw=vw, load=load, ids=PROMPT_IDS)
    for _ in range(6):
        run(shell, "vw.visit(load(), None, ids)", "a")
    gc.collect()
    assert sum(ref() is not None for ref in seen) == 1


def test_what_a_variable_holds_or_another_cell_shows_is_kept(shell):
    shell.user_ns.update(vw=vw, model=make_model("gpt2"), ids=PROMPT_IDS)
    first = "widget = vw.visit(model, None, ids)\nwidget"
    run(shell, first, "a")
    run(shell, "kept = [widget]", "b")
    run(shell, first, "a")
    assert shell.user_ns["kept"][0].trace is not None
    run(shell, "widget", "c")
    run(shell, first, "a")
    assert living(shell) == 3, "the variable's, that of cell c, and the new one"
    run(shell, "kept = None", "b")
    run(shell, "widget", "c")
    run(shell, first, "a")
    run(shell, "1", "c")
    assert shell.user_ns["widget"].trace is not None


def test_other_cells_let_nothing_go(shell):
    shell.user_ns.update(vw=vw, model=make_model("gpt2"), ids=PROMPT_IDS)
    run(shell, "vw.visit(model, None, ids)", "a")
    run(shell, "vw.visit(model, None, ids)", "b")
    run(shell, "1 + 1", "c")
    assert living(shell) == 2
