"""The command line: a page for good input, one sentence and a non-zero status for bad input."""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter

import pytest

from tests.pages import data_in
from visit_widget.cli import main

PROMPT = "the cat sat on the"


@pytest.fixture
def run(tiny_folder, tmp_path, capsys):
    """Runs the command on the tiny model; gives (status, page, standard error)."""

    def run_command(*arguments, model=None, output=None):
        page = output or tmp_path / "flow.html"
        words = [PROMPT, "--model", str(model or tiny_folder), "-o", str(page), *arguments]
        try:
            status = main(words)
        except SystemExit as leaving:
            status = leaving.code
        return status, page, capsys.readouterr().err

    return run_command


def is_one_sentence(text: str) -> bool:
    return text.startswith("visit-widget: ") and text.count("\n") == 1 and text.endswith("\n")


def test_a_page_is_written(run):
    status, page, errors = run()
    assert (status, errors) == (0, "")
    html = page.read_text(encoding="utf-8")
    assert html.lstrip().lower().startswith("<!doctype html>")
    assert "mountStandalone" in html
    assert data_in(html)["traits"]["prompt"] == PROMPT


def test_the_page_needs_no_network(run):
    html = run()[1].read_text(encoding="utf-8")
    for address in ('src="http', "src='http", 'href="http', "@import", "cdn."):
        assert address not in html


def carried(page) -> dict:
    """The data inside a page."""
    return data_in(page.read_text(encoding="utf-8"))


def test_a_page_carries_every_layer_closed(run):
    data = carried(run()[1])
    assert data["traits"]["expanded"] == []
    assert data["expand"].keys() == {"0", "1"}


@pytest.mark.parametrize(
    ("arguments", "layers"),
    [
        (["--layer", "1"], [1]),
        (["--layer", "1", "--layer", "0"], [0, 1]),
        (["--layer", "0,1"], [0, 1]),
    ],
)
def test_layers_asked_for_are_carried_open(run, arguments, layers):
    data = carried(run(*arguments)[1])
    assert data["traits"]["expanded"] == layers
    assert data["expand"].keys() == {str(layer) for layer in layers}
    assert f"L{layers[0]}.H0" in data["project"]


def test_target_foil_and_focus_are_followed(run):
    status, page, errors = run("--target", " dog", "--foil", " mat", "--focus", "2")
    assert (status, errors) == (0, "")
    traits = carried(page)["traits"]
    assert traits["target"]["text"] == "␣dog"
    assert traits["foil"]["text"] == "␣mat"
    assert traits["focus"] == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--layer", "2"], "layer"),
        (["--layer", "-5"], "layer"),
        (["--target", ""], "token"),
        (["--foil", ""], "token"),
        (["--focus", "40"], "40"),
    ],
)
def test_what_the_model_cannot_do_gets_one_sentence(run, arguments, expected):
    status, page, errors = run(*arguments)
    assert status == 1
    assert is_one_sentence(errors), errors
    assert expected in errors
    assert not page.exists()


def test_an_empty_prompt_gets_one_sentence(tiny_folder, tmp_path, capsys):
    status = main(["", "--model", str(tiny_folder), "-o", str(tmp_path / "flow.html")])
    assert status == 1
    assert is_one_sentence(capsys.readouterr().err)


@pytest.mark.parametrize("name", ["nobody/no-such-model", "./no/such/folder", "no such name!"])
def test_an_unknown_model_gets_one_sentence(run, name):
    status, _, errors = run(model=name)
    assert status == 1
    assert is_one_sentence(errors), errors
    assert name in errors


def test_a_folder_without_a_model_gets_one_sentence(run, tmp_path):
    status, _, errors = run(model=tmp_path)
    assert status == 1
    assert is_one_sentence(errors), errors


def test_a_model_of_another_kind_gets_one_sentence(run, tmp_path):
    from transformers import T5Config

    T5Config().save_pretrained(tmp_path)
    status, _, errors = run(model=tmp_path)
    assert status == 1
    assert is_one_sentence(errors), errors
    assert "causal language model" in errors


def test_a_missing_output_folder_is_noticed_before_the_model_is_loaded(run, tmp_path):
    status, _, errors = run(model="nobody/no-such-model", output=tmp_path / "none" / "flow.html")
    assert status == 1
    assert is_one_sentence(errors)
    assert "folder" in errors


def test_an_output_that_is_a_folder_gets_one_sentence(run, tmp_path):
    status, _, errors = run(output=tmp_path)
    assert status == 1
    assert is_one_sentence(errors)


@pytest.mark.parametrize("arguments", [[], ["--layer", "x"], ["--no-such-option"]])
def test_a_typing_mistake_gets_one_sentence(arguments, capsys):
    words = [PROMPT, *arguments] if arguments else []
    with pytest.raises(SystemExit) as leaving:
        main(words)
    assert leaving.value.code == 2
    assert is_one_sentence(capsys.readouterr().err)


def test_debug_shows_the_traceback(run):
    with pytest.raises(Exception, match="layer"):
        run("--layer", "99", "--debug")


def test_help_comes_at_once():
    code = (
        "import sys; from visit_widget.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('heavy:', sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    start = perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    print(f"visit-widget --help: {perf_counter() - start:.2f} s")
    assert "--target" in done.stdout
    assert "heavy: []" in done.stdout
