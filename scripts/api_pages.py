"""The reference of the site, as Markdown made of the package's docstrings; scripts/docs.py
calls it.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import visit_widget as vw

PACKAGE = "visit_widget"
FINDINGS = "visit_widget.findings"
PLOTS = "visit_widget.findings.plots"
# Page: its title, a line on it, and the rooms whose public names it has.
PAGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "widget": (
        "Widgets",
        "What is shown in a notebook, and what is saved of it.",
        ("widget", "viewer"),
    ),
    "trace": (
        "Traces",
        "One forward pass, kept, and everything that is derived from it.",
        ("trace",),
    ),
    "graph": (
        "Graphs",
        "The flow graph as plain data, and what pruning keeps of it.",
        ("flow",),
    ),
    "lenses": ("Lenses", "What reads vectors as tokens ([more](../lenses.md)).", ("lens",)),
    "pairs": ("Pairs", "Two prompts, or two models ([more](../compare.md)).", ("pairs",)),
    "findings": ("Findings", "Many prompts ([more](../findings.md)).", ("findings",)),
    "models": (
        "Models and errors",
        "Which models there are, and how a model's parts are named by hand ([more](../models.md)).",
        ("model", "errors"),
    ),
}
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields|Example|Examples):$")
_ITEM = re.compile(r"^(\*{0,2}\w[\w., |*\[\]]*?): (.*)$")
# Longer calls are written one argument a line.
_WIDE = 88


def write(folder: Path) -> None:
    """Write every page, and the list of them, into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for page, (title, about, rooms) in PAGES.items():
        parts = [f"# {title}", about]
        for home, name in names(rooms):
            parts += _entry(home, name)
        (folder / f"{page}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    (folder / "command-line.md").write_text(_command_line(), encoding="utf-8")
    listed = "\n".join(f"{page}.md" for page in (*PAGES, "command-line"))
    index = (
        "# API reference\n\n"
        f"Written from the docstrings of `visit_widget` {vw.__version__}, imported as `vw`.\n\n"
        f"```{{toctree}}\n{listed}\n```\n"
    )
    (folder / "index.md").write_text(index, encoding="utf-8")


def names(rooms: tuple[str, ...]) -> list[tuple[str, str]]:
    """(module, name) of what is public in the rooms: functions first."""
    found = [(PACKAGE, name) for name in vw.__all__ if _room(name) in rooms]
    if "findings" in rooms:
        for home in (FINDINGS, PLOTS):
            found += [(home, name) for name in import_module(home).__all__]
    once = {name: home for home, name in reversed(found)}
    return sorted(
        ((home, name) for name, home in once.items()),
        key=lambda found: (found[0], found[1][:1].isupper(), found[1].lower()),
    )


def _room(name: str) -> str:
    """Where a name of the top package comes from; as "flow" or "errors"."""
    return vw._HOME[name].split(".")[1]


def _entry(home: str, name: str) -> list[str]:
    module = vw if home == PACKAGE else import_module(home)
    thing = getattr(module, name)
    called = f"{home.replace(PACKAGE, 'vw')}.{name}"
    if inspect.ismodule(thing) and not callable(thing):
        return [f"## {name}", f"The module `{thing.__name__}`.", _told(thing)]
    if inspect.isclass(thing):
        return [f"## {name}", *_class(called, thing)]
    if callable(thing):
        function = thing if inspect.isfunction(thing) else thing.__call__
        if inspect.ismodule(thing):  # the package `trace`, which stands for its function
            function = import_module(f"{thing.__name__}.tracing").trace
        return [f"## {name}", _signature(called, function), _told(function)]
    return [f"## {name}", f"```python\n{called} == {thing!r}\n```"]


def _class(called: str, thing: type) -> list[str]:
    parts = []
    if issubclass(thing, Exception):
        parts.append(f"```python\nclass {called}({thing.__mro__[1].__name__})\n```")
    elif "__init__" in vars(thing) or hasattr(thing, "__dataclass_fields__"):
        parts.append(_signature(called, thing))
    parts.append(_told(thing))
    for name, member in _members(thing):
        function = member.fget if isinstance(member, property) else member
        function = getattr(function, "func", function)  # a cached property's
        function = getattr(function, "__func__", function)  # a class method's
        if not inspect.isfunction(function) or not function.__doc__:
            continue
        parts.append(f"### {thing.__name__}.{name}")
        owner = "vw." + thing.__name__ if isinstance(member, (classmethod, staticmethod)) else ""
        if inspect.isfunction(member) or owner:
            skipped = 0 if isinstance(member, staticmethod) else 1
            shown = f"{owner or thing.__name__[:1].lower() + thing.__name__[1:]}.{name}"
            parts.append(_signature(shown, function, skipped))
        parts.append(_told(function))
    return parts


def _members(thing: type) -> Iterator[tuple[str, Any]]:
    """Public members of the class and of those of this package that it is made of."""
    seen: set[str] = set()
    for base in thing.__mro__:
        if not base.__module__.startswith(PACKAGE):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") or name in seen:
                continue
            seen.add(name)
            yield name, member


def _signature(called: str, function: Any, skipped: int = 0) -> str:
    found = inspect.signature(function)
    parameters = list(found.parameters.values())[skipped:]
    given = "" if found.return_annotation is found.empty else f" -> {found.return_annotation}"
    if inspect.isclass(function):
        given = ""
    written, keyword_only = [], False
    for one in parameters:
        if one.kind is one.VAR_POSITIONAL:
            keyword_only = True
        elif one.kind is one.KEYWORD_ONLY and not keyword_only:
            written.append("*")
            keyword_only = True
        star = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        kind = "" if one.annotation is one.empty else f": {one.annotation}"
        default = "" if one.default is one.empty else f" = {_default(one.default)}"
        if default and not kind:
            default = default.replace(" = ", "=", 1)
        written.append(f"{star}{one.name}{kind}{default}")
    line = f"{called}({', '.join(written)}){given}"
    if len(line) > _WIDE:
        inside = "".join(f"    {one},\n" for one in written)
        line = f"{called}(\n{inside}){given}"
    return f"```python\n{line}\n```"


def _default(value: Any) -> str:
    text = repr(value)
    return "..." if text.startswith("<") else text


def _told(thing: Any) -> str:
    """A docstring as Markdown."""
    text = inspect.cleandoc(thing.__doc__ or "")
    out: list[str] = []
    section = ""
    for line in text.splitlines():
        heading = _SECTION.match(line)
        if heading:
            section = heading[1].removesuffix("s") if heading[1] == "Examples" else heading[1]
            if out and out[-1].strip():
                out.append("")
            out += [f"**{_TITLES.get(section, section)}**", ""]
            if section == "Example":
                out.append("```python")
        elif section and line and not line.startswith(" "):
            out += ["```", ""] if section == "Example" else [""]
            section = ""
            out.append(line)
        elif section == "Example":
            out.append(line.removeprefix("    "))
        elif section:
            out.append(_item(line.removeprefix("    "), section))
        else:
            out.append(line)
    if section == "Example":
        while not out[-1].strip():
            out.pop()
        out.append("```")
    return "\n".join(out)


_TITLES = {"Args": "Arguments"}


def _item(line: str, section: str) -> str:
    if section in ("Returns", "Yields"):
        return line
    item = _ITEM.match(line)
    if item and not line.startswith(" "):
        return f"- `{item[1]}`: {item[2]}"
    return f"  {line.strip()}" if line.strip() else ""


def _command_line() -> str:
    cli = import_module("visit_widget.cli")
    parser: argparse.ArgumentParser = cli.make_parser()
    return f"# Command line\n\n```text\n{parser.format_help()}```\n"
