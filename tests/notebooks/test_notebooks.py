"""Every notebook runs from top to bottom, and is committed without outputs."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.tiny import make_speaker, tokenizer

ROOT = Path(__file__).parents[2]
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
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    # In a thread of its own: the browser's tests leave an event loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(client.execute).result()
    kinds = {
        kind
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        for kind in output.get("data", {})
    }
    assert "application/vnd.jupyter.widget-view+json" in kinds
    warnings = [
        output.text
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.get("name") == "stderr" and "Warning" in output.text
    ]
    assert warnings == []
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_clear(path):
    notebook = nbformat.reads(committed(path), as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert "widgets" not in notebook.metadata
