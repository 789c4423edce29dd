"""The Python in the README and the documentation runs, page by page, as a reader would run it.

A block that cannot run here has a line before it that is not seen when the page is read,

    <!-- not run: why -->

and is still read: it has to compile, and what it takes from `vw` has to be there.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import io
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import visit_widget as vw
from tests.conftest import build_tiny
from tests.docs.pages import PAGES, ROOT, Snippet, snippets_of

SNIPPETS = {page: list(snippets_of(page)) for page in PAGES}
# The code of live pages is run by the build (test_site.py).
RUN = {
    page.relative_to(ROOT).as_posix(): snippets
    for page, snippets in SNIPPETS.items()
    if any(not one.not_run for one in snippets) and page.parent.name != "live"
}
PROMPT = "The capital of Japan is the city of"
EVERY = [one for snippets in SNIPPETS.values() for one in snippets]


def name(one: Snippet) -> str:
    return f"{one.page.relative_to(ROOT).as_posix()}:{one.line}"


def test_there_are_snippets():
    assert len(RUN) > 12
    assert Counter(bool(one.not_run) for one in EVERY)[True] < len(EVERY) / 4


@pytest.mark.parametrize("one", EVERY, ids=name)
def test_it_names_what_is_there(one):
    tree = ast.parse(one.python)
    taken = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "vw"
    }
    assert [attribute for attribute in taken if not hasattr(vw, attribute)] == []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("visit_widget"):
            for alias in node.names:
                # Without the star, what a module does not name may be a module in it.
                home = __import__(node.module, fromlist=[alias.name])
                assert hasattr(home, alias.name), alias.name


def not_fitted(cls, model, tokenizer, *_arguments, **_options):
    """A fit takes minutes: a lens that carries nothing anywhere stands for what it gives."""
    from visit_widget.lens.fitted import Fitting

    fitting = Fitting.of(cls.name, model, None, tokenizer, ["a text of some words"], 1, 4, True)
    width = fitting.anatomy.d_model
    maps = {(layer, "post"): torch.eye(width) for layer in range(len(fitting.anatomy.blocks))}
    lens = cls(fitting.model, maps, fitting.anatomy, meta=fitting.meta)
    fitting.keep(lens)
    return lens


@pytest.mark.demo
@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_it_runs(page, demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vw.JacobianLens, "fit", classmethod(not_fitted))
    # A few facts, where a page takes dozens: what is done with each is the same.
    every = vw.findings.factual_prompts
    monkeypatch.setattr(vw.findings, "factual_prompts", lambda *a, **k: every(*a, **k)[:5])
    model, tokenizer = demo
    wanted = [one for one in RUN[page] if not one.not_run]
    names = {
        "__builtins__": builtins,
        "vw": vw,
        "model": model,
        "tokenizer": tokenizer,
        "prompt": PROMPT,
        "long_prompt": PROMPT,
    }
    # Pages that begin in the middle.
    if taken_as_given(wanted, "trace"):
        names["trace"] = vw.trace(model, tokenizer, PROMPT)
    if taken_as_given(wanted, "widget"):
        names["widget"] = vw.visit(model, tokenizer, PROMPT)

    async def read_on() -> None:
        for one in wanted:
            exec(compile(one.python, name(one), "exec"), names | tiny() if one.model else names)

    # In a loop, as in a notebook; in a thread, for the browser's tests leave one running in this.
    with contextlib.redirect_stdout(io.StringIO()), ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, read_on()).result()


def taken_as_given(snippets: list[Snippet], wanted: str) -> bool:
    """Whether a page uses a name before it says what it is."""
    found = (
        node
        for one in snippets
        for node in sorted(
            (node for node in ast.walk(ast.parse(one.python)) if isinstance(node, ast.Name)),
            key=lambda node: (node.lineno, isinstance(node.ctx, ast.Store)),
        )
        if node.id == wanted
    )
    first = next(found, None)
    return first is not None and isinstance(first.ctx, ast.Load)


def tiny() -> dict[str, object]:
    model, tokenizer = build_tiny("gpt2")
    return {"model": model, "tokenizer": tokenizer, "prompt": "the cat sat"}
