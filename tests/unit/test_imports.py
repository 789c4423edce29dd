"""The rooms import one way; the viewer knows none of the others.

model ← trace ← lens ← what_if ← flow ← pairs ← findings ← widget.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import visit_widget

PACKAGE = Path(visit_widget.__file__).parent
ROOMS = ("viewer", "model", "trace", "lens", "what_if", "flow", "pairs", "findings", "widget")
FILES = sorted(p for room in ROOMS for p in (PACKAGE / room).rglob("*.py"))


def at_import(nodes: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, those for type checkers left out."""
    for node in nodes:
        yield node
        if isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from at_import(node.body)
            yield from at_import(node.orelse)
        elif isinstance(node, (ast.With, ast.For, ast.While)):
            yield from at_import(node.body)
        elif isinstance(node, ast.Try):
            yield from at_import([*node.body, *node.orelse, *node.finalbody])
            for handler in node.handlers:
                yield from at_import(handler.body)
        elif isinstance(node, ast.ClassDef):
            yield from at_import(node.body)


def rooms_in(source: str, package: tuple[str, ...]) -> set[str]:
    """The rooms that a module of `package` imports from when it is imported."""
    found = set()
    for node in at_import(ast.parse(source).body):
        names: list[tuple[str, ...]] = []
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            names = [(*module, alias.name) for alias in node.names]
        for name in names:
            if name[0] == "visit_widget" and len(name) > 1:
                found.add(name[1])
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda p: "/".join(p.relative_to(PACKAGE).parts))
def test_a_room_imports_only_rooms_before_it(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    room = ROOMS.index(parts[0])
    others = rooms_in(file.read_text("utf-8"), ("visit_widget", *parts[:-1]))
    # Only the widget stands on the viewer as well.
    before = ROOMS[(parts[0] not in ("viewer", "widget")) : room + 1]
    assert others - {"errors"} <= set(before), f"{parts[0]} reaches up to {others}"


def test_every_room_was_looked_at():
    assert {p.relative_to(PACKAGE).parts[0] for p in FILES} == set(ROOMS)
    assert rooms_in(
        (PACKAGE / "flow" / "build.py").read_text("utf-8"), ("visit_widget", "flow")
    ) > {
        "lens",
        "model",
    }


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("from ..flow import Keep", {"flow"}),
        ("from .. import flow", {"flow"}),
        ("import visit_widget.flow.keep", {"flow"}),
        ("from visit_widget.flow.keep import Keep", {"flow"}),
        ("from .other import x", {"trace"}),
        ("try:\n from ..flow import Keep\nexcept ImportError:\n pass", {"flow"}),
        ("class A:\n from ..flow import Keep", {"flow"}),
        ("if TYPE_CHECKING:\n from ..flow import Keep", set()),
        ("def f():\n from ..flow import Keep", set()),
        ("import torch", set()),
    ],
)
def test_the_reader_of_imports_sees_what_it_should(source, rooms):
    assert rooms_in(source, ("visit_widget", "trace")) == rooms


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("visit_widget.pairs", "anywidget traitlets visit_widget.widget"),
        ("visit_widget", "torch transformers anywidget traitlets"),
        ("visit_widget.viewer", "torch transformers numpy visit_widget.model visit_widget.flow"),
        ("visit_widget.flow", "anywidget traitlets ipywidgets visit_widget.widget"),
        ("visit_widget.findings", "matplotlib pandas ray visit_widget.widget"),
        ("visit_widget.trace", "visit_widget.lens visit_widget.flow visit_widget.widget"),
        ("visit_widget.model", "visit_widget.trace visit_widget.lens"),
    ],
)
def test_a_room_can_be_had_without_the_later_ones(module, unwanted):
    code = f"import sys, {module}; print(*(m for m in {unwanted.split()} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == ""


def test_public_names_are_there():
    for name in visit_widget.__all__:
        assert getattr(visit_widget, name) is not None
    assert callable(visit_widget.trace)
    with pytest.raises(AttributeError, match="no attribute 'vist'"):
        visit_widget.vist  # noqa: B018 – the look-up is the test


def test_files_are_short_enough_to_hold_in_the_head():
    assert {f.name: n for f in FILES if (n := len(f.read_text("utf-8").splitlines())) > 400} == {}
