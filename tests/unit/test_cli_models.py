"""What the command says of models that cannot be loaded, and how the others are loaded."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from huggingface_hub import errors

from tests.conftest import build_tiny
from tests.unit.test_cli import carried, is_one_sentence
from visit_widget.cli import main
from visit_widget.cli_load import CommandError, Wanted, load_model
from visit_widget.cli_sentences import sentence_of

NAME = "somebody/some-model"


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command; gives (status, page, standard error)."""

    def run_command(*arguments):
        page = tmp_path / "flow.html"
        try:
            status = main([*arguments, "-o", str(page)])
        except SystemExit as leaving:
            status = leaving.code
        return status, page, capsys.readouterr().err

    return run_command


def raising(error: BaseException, cause: BaseException | None = None):
    def load(*_given, **_options):
        raise error from cause

    return load


def hub_error(kind: str, text: str = "", status: int | None = None) -> Exception:
    """An error of the hub's client, whichever way its version makes them."""
    found = getattr(errors, kind)
    made = found.__new__(found)
    Exception.__init__(made, text)
    made.response = SimpleNamespace(status_code=status, headers={})
    return made


GATED = (
    "You are trying to access a gated repo.\nMake sure to have access to it at … 401 Client Error."
)
OWN_CODE = (
    "The repository somebody/some-model contains custom code which must be executed to correctly "
    "load the model. Please pass the argument `trust_remote_code=True` to allow custom code."
)
LOST = "We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them"
UNKNOWN = f"{NAME} is not a local folder and is not a valid model identifier listed on …"
WRONG = "Unrecognized configuration class <class 'T5Config'> for this kind of AutoModel"
NEWER = "The checkpoint has model type `new` but Transformers does not recognize this architecture."

FAILURES = {
    "gated, by text": (OSError(GATED), None, "accept its licence on https://huggingface.co/"),
    "gated, by type": (hub_error("GatedRepoError", "no", 403), None, "gated"),
    "gated, as a cause": (OSError("failed"), hub_error("GatedRepoError"), "hf auth login"),
    "own code": (ValueError(OWN_CODE), None, "--trust-remote-code"),
    "offline, by text": (OSError(LOST), None, "cannot be reached"),
    "offline, as a cause": (OSError("?"), hub_error("LocalEntryNotFoundError"), "be reached"),
    "offline, by type": (hub_error("OfflineModeIsEnabled"), None, "HF_HUB_OFFLINE"),
    "no connection": (ConnectionError("Max retries exceeded"), None, "cannot be reached"),
    "unknown, by text": (OSError(UNKNOWN), None, "no model 'somebody/some-model' was found"),
    "unknown, as a cause": (OSError("?"), hub_error("RepositoryNotFoundError"), "was found"),
    "no name": (hub_error("HFValidationError", "Repo id must be in the form"), None, "was found"),
    "not let in": (OSError("?"), hub_error("HfHubHTTPError", "no", 401), "HF_TOKEN"),
    "disabled": (hub_error("DisabledRepoError"), None, "disabled"),
    "no decoder": (ValueError(WRONG), None, "causal language model"),
    "newer": (ValueError(NEWER), None, "install --upgrade transformers"),
    "no weights": (OSError(f"{NAME} does not appear to have a file named pytorch"), None, ".gguf"),
    "needs a package": (ImportError("requires the einops library: pip install einops"), None,
                        "pip install einops"),
    "needs accelerate": (ImportError("Using a `device_map` requires `accelerate`", name=None), None,
                         "pip install accelerate"),
    "needs a module": (ModuleNotFoundError("No module named 'flash'", name="flash.ops"), None,
                       "pip install flash"),
    "needs sentencepiece": (ValueError("You need to have tiktoken-none or sentencepiece installed"),
                            None, "sentencepiece"),
    "no room": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), None, "memory"),
    "something else": (KeyError("layers.7"), None, "could not be loaded (KeyError"),
}  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
def test_each_way_to_fail_gets_its_own_sentence(failure, run, monkeypatch):
    error, cause, words = FAILURES[failure]
    if failure == "needs sentencepiece":
        monkeypatch.setattr("visit_widget.cli_sentences._there", lambda _package: False)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", raising(error, cause))
    status, page, said = run("Hi", "--model", NAME)
    assert status == 1
    assert is_one_sentence(said), said
    assert words in said
    assert not page.exists()


def test_the_sentences_are_told_apart():
    firsts = {sentence_of(error, NAME)[:60] for error, cause, _ in FAILURES.values() if not cause}
    assert len(firsts) >= 10


def test_a_tokenizer_that_cannot_be_loaded_gets_a_sentence(run, tiny_folder, monkeypatch):
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", raising(OSError(GATED)))
    status, _, said = run("Hi", "--model", str(tiny_folder))
    assert status == 1
    assert "gated" in said


def test_a_model_with_code_of_its_own_in_a_folder(run, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({
        "model_type": "own", "auto_map": {
            "AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own",
        },
    }))  # fmt: skip
    (folder / "modeling_own.py").write_text("raise RuntimeError('this ran')\n")
    status, _, said = run("Hi", "--model", str(folder))
    assert status == 1
    assert is_one_sentence(said), said
    assert "--trust-remote-code" in said


def test_damaged_weights_get_a_sentence(run, tiny_folder, tmp_path):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in tiny_folder.iterdir():
        (folder / file.name).write_bytes(
            file.read_bytes()[: 50 if "safetensors" in file.name else None]
        )
    status, _, said = run("Hi", "--model", str(folder))
    assert status == 1
    assert "damaged" in said


@pytest.mark.parametrize(("arguments", "words"), [
    (["--device", "cuda:99"], "--device"),
    (["--device", "banana"], "no device 'banana'"),
    (["--device", "meta"], "meta"),
    (["--model", "none.gguf"], "no file 'none.gguf'"),
    (["--model", __file__], "name the folder"),
])  # fmt: skip
def test_what_is_not_there_gets_a_sentence(run, arguments, words):
    status, _, said = run("Hi", *arguments)
    assert status == 1
    assert is_one_sentence(said), said
    assert words in said


@pytest.fixture
def asked(monkeypatch):
    """What the loaders are asked for; they give a tiny model."""
    seen: list[tuple[str, dict]] = []
    model, tokenizer = build_tiny()

    def load(place, **options):
        seen.append((place, options))
        return model

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", load)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
    return seen


@pytest.mark.parametrize(("name", "file", "place", "found"), [
    ("somebody/some-GGUF:m.Q4_K_M.gguf", None, "somebody/some-GGUF", "m.Q4_K_M.gguf"),
    ("somebody/some-GGUF", "m.gguf", "somebody/some-GGUF", "m.gguf"),
    ("somebody/some-model", None, "somebody/some-model", None),
])  # fmt: skip
def test_a_gguf_file_of_the_hub_is_asked_for_by_name(asked, name, file, place, found):
    pytest.importorskip("gguf")
    load_model(Wanted(name, file))
    ((where, options),) = asked
    assert where == place
    assert options.get("gguf_file") == found


def test_a_gguf_file_in_a_folder(asked, tmp_path):
    pytest.importorskip("gguf")
    (tmp_path / "a.GGUF").write_bytes(b"")
    load_model(Wanted(str(tmp_path / "a.GGUF")))
    assert asked[0][0] == str(tmp_path)
    assert asked[0][1]["gguf_file"] == "a.GGUF"


def test_without_its_readers_a_gguf_file_gets_a_sentence(asked, monkeypatch):
    monkeypatch.setattr("visit_widget.cli_load.find_spec", lambda _name: None)
    with pytest.raises(CommandError, match="pip install gguf accelerate"):
        load_model(Wanted("somebody/some-GGUF:m.gguf"))
    assert asked == []


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16", "float16"])
def test_the_dtype_and_the_trust_are_passed_on(asked, dtype):
    load_model(Wanted(NAME, dtype=dtype, trust=True))
    options = asked[0][1]
    given = options.get("dtype", options.get("torch_dtype"))
    assert given == (dtype if dtype == "auto" else getattr(torch, dtype))
    assert options["trust_remote_code"] is True
    load_model(Wanted(NAME))
    assert asked[1][1]["trust_remote_code"] is False


def test_dtype_and_device_reach_the_model(tiny_folder):
    model, _ = load_model(Wanted(str(tiny_folder), dtype="bfloat16", device="cpu"))
    assert model.dtype == torch.bfloat16
    model, _ = load_model(Wanted(str(tiny_folder)))
    assert model.dtype == torch.float32, "what the weights are stored in"


# The prompt.


def test_the_prompt_comes_from_standard_input(run, tiny_folder, monkeypatch):
    for words in ([], ["-"]):
        monkeypatch.setattr(sys, "stdin", io.StringIO("the cat\nsat\n"))
        status, page, said = run(*words, "--model", str(tiny_folder), "--layer", "0")
        assert (status, said) == (0, "")
        assert carried(page)["traits"]["prompt"] == "the cat\nsat"


def test_no_prompt_at_all_is_a_mistake_in_the_arguments(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    status, _, said = run()
    assert status == 2
    assert is_one_sentence(said)
    assert "standard input" in said


def test_standard_input_that_is_no_text_gets_a_sentence(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\xfa"), "utf-8"))
    status, _, said = run("-")
    assert status == 1
    assert "no text" in said


@pytest.fixture
def chat_folder(tmp_path) -> Path:
    """A tiny model whose tokenizer has a chat template that knows users alone."""
    model, tokenizer = build_tiny()
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}"
        "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        " {{ m.role }}: {{ m.content }}{% endfor %}{% if add_generation_prompt %} on{% endif %}"
    )
    model.save_pretrained(tmp_path / "chat")
    tokenizer.save_pretrained(tmp_path / "chat")
    return tmp_path / "chat"


def test_a_chat_goes_through_the_models_template(run, chat_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(chat_folder)
    expected = tokenizer.apply_chat_template(
        [{"role": "user", "content": "the cat"}], add_generation_prompt=True, return_dict=False
    )
    status, page, said = run("the cat", "--chat", "--model", str(chat_folder), "--layer", "0")
    assert (status, said) == (0, "")
    assert [t["id"] for t in carried(page)["traits"]["graph"]["tokens"]] == expected


def test_a_chat_that_cannot_be_had_gets_a_sentence(run, chat_folder, tiny_folder):
    status, _, said = run("the cat", "--chat", "--model", str(tiny_folder))
    assert (status, "no chat template" in said) == (1, True)
    status, _, said = run("x", "--chat", "--system", "be kind", "--model", str(chat_folder))
    assert status == 1
    assert is_one_sentence(said), said
    assert "--system" in said
    status, _, said = run("x", "--system", "be kind")
    assert (status, "--chat" in said) == (2, True)


# What is followed.


def test_of_a_target_of_several_tokens_the_first_is_followed_and_said(run, tiny_folder):
    status, page, said = run(
        "the cat", "--model", str(tiny_folder), "--target", " dog ran", "--layer", "0"
    )
    assert status == 0
    assert is_one_sentence(said)
    assert "2: ␣dog ␣ran" in said
    assert carried(page)["traits"]["target"]["text"] == "␣dog"


def test_several_targets_are_followed_as_one(run, tiny_folder):
    words = ["--target", " dog", "--target", " cat", "--foil", " mat", "--combine", "logsumexp"]
    status, page, said = run("the cat", "--model", str(tiny_folder), "--layer", "0", *words)
    assert (status, said) == (0, "")
    assert carried(page)["traits"]["target"]["text"] == "any of ␣dog, ␣cat"
    assert carried(page)["traits"]["foil"]["text"] == "␣mat"


@pytest.mark.demo
@pytest.mark.slow
def test_a_real_gguf_file_becomes_a_page(run):
    from visit_widget.model.demo import packaged_weights

    weights = packaged_weights()
    if weights is None:
        pytest.skip("the package with the demo model's GGUF file is not installed")
    prompt = "The capital of Japan is the city of"
    status, page, said = run(prompt, "--model", str(weights.path), "--layer", "3")
    assert status == 0, said
    traits = carried(page)["traits"]
    assert traits["target"]["text"] == "␣Tokyo"
    assert traits["status"]["exact"] is True
    assert re.fullmatch(r"\S.*", traits["graph"]["model"]["name"])
