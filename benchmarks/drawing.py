"""The first frame, one layer, and every layer at once."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch

import visit_widget as vw
from visit_widget.flow import Painter
from visit_widget.lens.local import N_LIKELY
from visit_widget.widget.session import Session

from .report import Table, milliseconds
from .setting import PROMPT, Setting
from .timing import race

FRAME_BUDGET, LAYER_BUDGET = 2.0, 1.2
PLAIN, FRAME, WIDGET = "plain forward", "first frame", "vw.visit, the widget included, logit lens"
ROWS = f"{N_LIKELY} rows times the matrices of all blocks"
LENSES = ("logit", "jacobian", "calibrated", "local")
PRODUCT = "matrix product"


def bench(setting: Setting) -> list[Table]:
    return [_first_frame(setting), _layers(setting)]


def _first_frame(setting: Setting) -> Table:
    model, tokenizer = setting.model, setting.tokenizer
    ids = setting.prompt(8)
    start = time.perf_counter()
    session = Session(model, tokenizer)
    session.read(PROMPT)
    once = time.perf_counter() - start
    lenses = [name for name in session.lenses() if name in LENSES]

    def frame(lens: str) -> dict[str, Any]:
        session.read(PROMPT)
        return session.frame(-1, None, None, None, "logit", [], lens)

    def widget() -> None:
        vw.visit(model, tokenizer, PROMPT, lens="logit").close()

    named = {f"{FRAME}, {lens} lens": lens for lens in lenses}
    contenders: dict[str, Any] = {PLAIN: lambda: setting.forward(ids)}
    contenders |= {name: partial(frame, lens) for name, lens in named.items()}
    contenders[WIDGET] = widget
    contenders[ROWS] = partial(_rows_back, session.trace.anatomy)
    result = race(contenders, setting.rounds(30))
    table = Table(f"The first frame, {len(ids)} tokens")
    for name in named:
        table.compare(result, name, PLAIN, FRAME_BUDGET)
    table.compare(result, WIDGET, PLAIN)
    table.compare(result, ROWS, PLAIN)
    table.notes.append(
        "The first frame is a trace, the overview of all layers with its labels, and the JSON of "
        "the `graph` trait. The local lens, the default where no Jacobian lens has been fitted, "
        "pulls fifty rows back through one position, whatever the prompt's length: the last row is "
        "what the matrix products of that take alone."
    )
    table.notes.append(
        "The first trace of a model also finds its parts, once: "
        f"{milliseconds(once * 1e3)} ms in all."
    )
    return table


def _rows_back(anatomy: Any) -> None:
    """The matrix products of pulling the local lens's rows back through one position."""
    for block in anatomy.blocks:
        for module in block.block.modules():
            if isinstance(module, torch.nn.Linear):
                torch.ones(N_LIKELY, module.out_features) @ module.weight.detach()


def _layers(setting: Setting) -> Table:
    model, tokenizer = setting.model, setting.tokenizer
    lens = vw.LogitLens(model)
    matrix = lens.anatomy.unembedding.weight.detach().T
    keep = vw.Keep.visit()
    counts: list[int] = []
    state: dict[str, Any] = {}

    def fresh() -> Painter:
        trace = vw.trace(model, tokenizer, PROMPT)
        return Painter(trace, keep=keep, measure="logit", lens=lens)

    def another_layer(number: int) -> None:
        """Each round opens a layer that was not open before, of a new trace."""
        painter = state["painter"] = fresh()
        painter.overview()
        state["layer"] = (7 + 11 * number) % painter.trace.n_layers
        painter.block(state["layer"])
        state["vectors"] = _vectors(painter, [state["layer"]])
        counts.append(len(state["vectors"]))
        state["painter"] = fresh()
        state["painter"].overview()

    one = race(
        {
            "one layer": lambda: state["painter"].block(state["layer"]),
            PRODUCT: lambda: state["vectors"] @ matrix,
        },
        setting.rounds(24),
        before_round=another_layer,
    )

    def whole(_: int) -> None:
        if "all" not in state:
            painter = fresh()
            painter.graph(range(painter.trace.n_layers))
            state["all"] = _vectors(painter, list(painter.sheets))
        state["painter"] = fresh()

    # In chunks: a product whose result does not fit the caches of the allocator costs page faults
    # that no reader of it has to pay.
    def chunked() -> None:
        out = torch.empty(512, matrix.shape[1])
        for chunk in state["all"].split(512):
            torch.mm(chunk, matrix, out=out[: len(chunk)])

    every = race(
        {
            "every layer": lambda: state["painter"].graph(range(state["painter"].trace.n_layers)),
            PRODUCT: chunked,
        },
        setting.rounds(6),
        warm_ups=1,
        before_round=whole,
    )
    table = Table("Layers opened, with `Keep.visit()`")
    nodes = f"{min(counts)}–{max(counts)}"
    table.compare(one, "one layer", PRODUCT, LAYER_BUDGET, f"one layer, {nodes} vectors")
    table.compare(
        every, "every layer", PRODUCT, LAYER_BUDGET,
        f"every layer and the overview, {len(state['all']):,} vectors",
    )  # fmt: skip
    table.notes.append(
        "The product projects as many vectors to the vocabulary as the graph labels. Each round "
        "opens another layer of a trace just made, after its overview was drawn."
    )
    return table


def _vectors(painter: Painter, sheets: list[Any]) -> torch.Tensor:
    """(n, d_model) what the sheets label, each vector once."""
    once = {id(v): v for name in sheets for v in painter.sheets[name].vectors.values()}
    return torch.stack(list(once.values()))
