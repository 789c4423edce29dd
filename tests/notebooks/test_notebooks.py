"""Every notebook runs from top to bottom, and is committed with its pictures and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from scripts.notebooks import MOST_BYTES
from tests.tiny import make_speaker, tokenizer
from visit_widget.viewer.output import VIEW

ROOT = Path(__file__).parents[2]
# Whose models are on the hub alone.
NEED_THE_HUB = {"gpt2-medium": "needs a model from the hub"}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Needs weights from the hub: its code is run on a small model in their place.
FROM_HUB = ROOT / "notebooks" / "gpt2-medium.ipynb"


def committed(path: Path) -> str:
    """A notebook as git has it; as it lies there, where there is no git.

    Whoever has opened it in JupyterLab has outputs in it, which is no fault.
    """
    name = path.relative_to(ROOT).as_posix()
    if shutil.which("git"):
        command = ["git", "show", f":{name}"]
        shown = subprocess.run(
            command, cwd=ROOT, check=False, capture_output=True, text=True, encoding="utf-8"
        )
        if shown.returncode == 0:
            return shown.stdout
    return path.read_text(encoding="utf-8")


def test_there_are_notebooks():
    assert NOTEBOOKS


def outputs_of(notebook) -> list[tuple[str, dict]]:
    """(id of the cell, output) of all that a notebook has put out."""
    return [
        (cell.id, output)
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]


def stored(path: Path):
    """The notebook as git has it; skipped where `make notebooks` had to skip it too."""
    notebook = nbformat.reads(committed(path), as_version=4)
    if path.stem in NEED_THE_HUB and not outputs_of(notebook):
        pytest.skip(f"{path.stem} {NEED_THE_HUB[path.stem]}")
    return notebook


@pytest.mark.demo
@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path != FROM_HUB], ids=lambda path: path.stem
)
def test_it_runs(path, tmp_path, monkeypatch):
    run(path, tmp_path, monkeypatch)


@pytest.mark.slow
def test_the_one_of_gpt2_runs_on_a_small_model_in_its_place(tmp_path, monkeypatch):
    """A folder of the model's name in the working directory goes before the hub."""
    name = "gpt2-medium"
    model = make_speaker("gpt2", n_positions=128)
    model.save_pretrained(tmp_path / name)
    tokenizer().save_pretrained(tmp_path / name)
    notebook = run(FROM_HUB, tmp_path, monkeypatch)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(f'MODEL, EACH = "{name}"' in cell.source for cell in code)
    said = "".join(o.get("text", "") for cell in code for o in cell.outputs)
    assert f"{model.config.n_layer} layers, {model.config.n_head} heads in each, 24 prompts" in said
    assert "of 24 prompts are answered correctly" in said
    assert "query_key_naive" in said
    images = [o for cell in code for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(images) >= 6


def run(path, tmp_path, monkeypatch):
    """Runs a notebook in a kernel of its own, and gives it back with its outputs."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    notebook = nbformat.read(path, as_version=4)
    # The demo model's name on the hub means the packaged one: tests reach no network.
    setup = nbformat.v4.new_code_cell("from scripts.stills import substitute_demo as s; s()")
    notebook.cells.insert(0, setup)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    # In a thread of its own: the browser's tests leave an event loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(client.execute).result()
        except CellExecutionError:
            if path.stem in NEED_THE_HUB:
                pytest.skip(f"{path.stem} {NEED_THE_HUB[path.stem]}")
            raise
    found = outputs_of(notebook)
    shown = [
        (cell, output.data["text/plain"])
        for cell, output in found
        if output.get("data", {}).get(VIEW, {}).get("model_id")
        and "flow graph" in output.data["text/plain"]
    ]
    assert shown
    warnings = [
        output.text
        for _, output in found
        if output.get("name") == "stderr" and "Warning" in output.text
    ]
    assert warnings == []
    if path == FROM_HUB:
        return notebook
    # Each widget that it shows has its picture in the notebook as it is committed.
    pictures = [
        (cell, output.data["text/plain"])
        for cell, output in outputs_of(stored(path))
        if "image/png" in output.get("data", {})
    ]
    assert [one for one in shown if one not in pictures] == []
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_with_pictures_and_nothing_else(path):
    text = committed(path)
    assert len(text.encode()) <= MOST_BYTES
    notebook = stored(path)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    pictures = 0
    for cell in notebook.cells:
        assert "execution" not in cell.metadata
        if cell.cell_type == "code":
            assert cell.execution_count is None
    for cell, output in outputs_of(notebook):
        assert output.output_type in ("stream", "display_data"), cell
        assert output.get("name", "stdout") == "stdout", cell
        data = output.get("data", {})
        assert set(data) <= {"image/png", "image/svg+xml", "text/html", "text/plain"}, cell
        assert not re.search(r"<(script|iframe)|FloatProgress|\bon\w+=", data.get("text/html", ""))
        if "image/png" in data:
            # All of it: a picture that was cut ends without its last piece.
            assert b64decode(data["image/png"])[-8:-4] == b"IEND", cell
            assert data["text/plain"].strip(), cell
            pictures += 1
    assert pictures
    for place in (str(ROOT), str(Path.home())):
        assert f"{place}/" not in text
