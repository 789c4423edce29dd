"""Runs the notebooks and stores their pictures in them, for whoever reads them where nothing runs.

`make notebooks` does it for all of notebooks/, `make notebooks ARGS=quickstart` for one. Stored is
what a page without scripts can show: pictures, tables and what was printed. A notebook whose model
is on the hub is skipped where the hub is out of reach, and left as it was.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
FOLDER = ROOT / "notebooks"
MOST_BYTES = 1_500_000
SCALES = (1.5, 1.25, 1.0)
PICTURES = ("image/png", "image/svg+xml")
# How transformers and its hub client say that they could not fetch a model.
OUT_OF_REACH = re.compile(
    r"offline mode|LocalEntryNotFoundError|OfflineModeIsEnabled|couldn't connect to|MaxRetryError"
)


class SkippedError(Exception):
    """The notebook cannot be run here; the message says why."""


def main() -> int:
    """Runs the notebooks that are named, or all."""
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("names", nargs="*", help="without .ipynb; all by default")
    names = asked.parse_args().names or sorted(file.stem for file in FOLDER.glob("*.ipynb"))
    for name in names:
        if not (FOLDER / f"{name}.ipynb").is_file():
            asked.error(f"there is no notebooks/{name}.ipynb: name those that are there.")
    failed = False
    with tempfile.TemporaryDirectory() as cache:
        prepare(Path(cache))
        for name in names:
            file, start = FOLDER / f"{name}.ipynb", time.monotonic()
            try:
                text = stored(file)
            except SkippedError as why:
                print(f"{name}: skipped, {why}")
            except CellExecutionError as error:
                failed = True
                print(f"{name}: a cell failed.\n{error}", file=sys.stderr)
            else:
                file.write_text(text, encoding="utf-8")
                seconds = time.monotonic() - start
                print(f"{name}: {len(text.encode()) / 1000:,.0f} kB, {seconds:.0f} s")
    return int(failed)


def prepare(cache: Path) -> None:
    """The environment of the kernels: no lens that was fitted here, and no waiting for the hub."""
    from visit_widget.model.demo import DEMO_MODEL, cache_folder, load_demo

    load_demo()
    copy = cache_folder() / DEMO_MODEL.rpartition("/")[2]
    if copy.is_dir():
        (cache / copy.name).symlink_to(copy)
    os.environ["VISIT_WIDGET_CACHE"] = str(cache)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    if not hub_is_there():
        os.environ["HF_HUB_OFFLINE"] = "1"


def hub_is_there() -> bool:
    """Whether models can be fetched."""
    try:
        socket.create_connection(("huggingface.co", 443), timeout=3).close()
    except OSError:
        return False
    return True


def stored(file: Path) -> str:
    """The notebook's text with its outputs, in the sharpest pictures for which it has room.

    Raises:
        SkippedError: its model cannot be had here.
        CellExecutionError: a cell failed.
        ValueError: what it puts out has no place in a notebook that is published.
    """
    for scale in SCALES:
        text = written(run(file, scale))
        if len(text.encode()) <= MOST_BYTES:
            check(text)
            return text
    raise ValueError(
        f"{file.name} has {len(text.encode()):,} bytes with its outputs, of {MOST_BYTES:,} that "
        "it may have: show fewer widgets or smaller ones."
    )


def run(file: Path, scale: float) -> Any:
    """The notebook, executed, with what stands for its widgets."""
    notebook: Any = nbformat.read(file, as_version=4)
    hub = "substitute_demo(); " if os.environ.get("HF_HUB_OFFLINE") else ""
    source = f"from scripts.stills import install, substitute_demo; {hub}install({scale})"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(source))
    with tempfile.TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, timeout=900, kernel_name="python3", resources=place)
        try:
            client.execute()
        except CellExecutionError as error:
            if OUT_OF_REACH.search(str(error)):
                raise SkippedError("its model is on the hub, which is out of reach here") from None
            raise
    del notebook.cells[0]
    return notebook


def written(notebook: Any) -> str:
    """The notebook as it is committed."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [kept for output in cell.outputs if (kept := cleared(output))]
    notebook.metadata.pop("widgets", None)
    if "language_info" in notebook.metadata:
        notebook.metadata.language_info = {"name": "python"}
    return str(nbformat.writes(notebook)) + "\n"


def cleared(output: Any) -> Any:
    """What of an output is stored; None for nothing."""
    if output.output_type == "stream":
        return output if output.name == "stdout" and output.text.strip() else None
    if output.output_type not in ("display_data", "execute_result"):
        return None
    data = output.data
    kinds = [kind for kind in (*PICTURES, "text/html", "text/plain") if kind in data]
    if not is_table(data.get("text/html", "")):
        kinds = [kind for kind in kinds if kind != "text/html"]
        if "text/html" in data and kinds == ["text/plain"]:
            return None
    kept = {kind: data[kind] for kind in kinds}
    about = {kind: output.metadata[kind] for kind in kinds if kind in output.metadata}
    return nbformat.v4.new_output("display_data", data=kept, metadata=about) if kept else None


def is_table(markup: str | list[str]) -> bool:
    """Whether HTML is a table that pages without scripts show."""
    text = "".join(markup)
    return "<table" in text and not re.search(r"<(script|iframe)", text)


def check(text: str) -> None:
    """Nothing of this machine may be in it.

    Raises:
        ValueError: something is.
    """
    for place in {str(ROOT), str(Path.home()), tempfile.gettempdir()}:
        if f"{place}/" in text:
            raise ValueError(f"There are paths of this machine in it ({place}).")


if __name__ == "__main__":
    sys.exit(main())
