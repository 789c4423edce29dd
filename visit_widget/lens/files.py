"""Fitted lenses as files: safetensors, with what they were fitted on inside.

A file says the model's name, sizes and dtype, and a few of its weights' numbers, so that a lens is
not read with another model; and which texts it was fitted on. Nothing in it is code.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError
from ..model.demo import cache_folder
from ..model.whole import whole
from ..trace.fingerprint import fingerprint
from ..trace.tape import At, Place

FORMAT = "visit-widget lens 1"
# Of each weight so many numbers are kept, to know the model by.
N_PROBED = 8
# The same model in another dtype, or quantised, is off by less; fine-tuning by more.
UNLIKE = 0.05

Meta = dict[str, Any]
Found = TypeVar("Found")
AT: tuple[At, ...] = ("pre", "mid", "post")


def stamp(model: PreTrainedModel, anatomy: Anatomy, lens: str, texts: str, n_tokens: int) -> Meta:
    """What a file says of itself."""
    config = model.config
    return {
        "format": FORMAT,
        "lens": lens,
        "model": str(getattr(config, "_name_or_path", "") or type(model).__name__),
        "type": str(config.model_type),
        "dtype": str(model.dtype).removeprefix("torch."),
        "n_layers": len(anatomy.blocks),
        "d_model": anatomy.d_model,
        "n_vocab": anatomy.n_vocab,
        "texts": texts,
        "n_tokens": n_tokens,
    }


def write(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], meta: Meta) -> Path:
    """Write a file whole, or not at all.

    Raises:
        VisitError: it cannot be written there.
    """
    target = Path(path).expanduser()
    plain = {k: t.detach().cpu().contiguous() for k, t in tensors.items()}
    with suppress(OSError):  # said below, when it cannot be written to
        target.parent.mkdir(parents=True, exist_ok=True)
    with whole(target) as temporary:
        save_file(plain, temporary, metadata={"visit_widget": json.dumps(meta)})
    return target


def read(path: str | os.PathLike[str], lens: str) -> tuple[dict[str, Tensor], Meta]:
    """The tensors and what the file says of itself.

    Raises:
        VisitError: it cannot be read, or is no such lens.
    """
    source = Path(path).expanduser()
    try:
        with safe_open(source, "pt") as file:
            meta = json.loads((file.metadata() or {}).get("visit_widget", "null"))
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise VisitError(
            f"There is no file {str(source)!r}: fit the lens first, and save it."
        ) from None
    except (OSError, SafetensorError, ValueError) as error:
        raise VisitError(f"{str(source)!r} is no saved lens ({error}).") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise VisitError(f"{str(source)!r} is a safetensors file, but no saved lens.")
    if meta["lens"] != lens:
        raise VisitError(
            f"{str(source)!r} is a lens of another kind, {meta['lens']!r}: load it as that."
        )
    return tensors, meta


def probe(model: PreTrainedModel) -> dict[str, Tensor]:
    """A few numbers of each weight, to know the model by: (N_PROBED,) by name."""
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not weight.is_floating_point() or weight.is_meta or weight.numel() < N_PROBED:
                continue
            flat = weight.detach().reshape(-1)
            step = flat.numel() // N_PROBED
            found[f"probe.{name}"] = flat[: step * N_PROBED : step].float().cpu()
    return found


def check_model(
    meta: Meta, tensors: Mapping[str, Tensor], model: PreTrainedModel, anatomy: Anatomy
) -> None:
    """Whether a lens was fitted on this model, in whatever dtype.

    Raises:
        VisitError: it was fitted on another.
    """
    ours = {
        "n_layers": len(anatomy.blocks), "d_model": anatomy.d_model, "n_vocab": anatomy.n_vocab,
    }  # fmt: skip
    for size, here in ours.items():
        if meta[size] != here:
            raise VisitError(
                f"This lens was fitted on {meta['model']} with {size} = {meta[size]:,}, and the "
                f"model at hand has {here:,}: load the model that it was fitted on, or fit "
                "another lens."
            )
    mine = probe(model)
    common = [name for name in tensors if name.startswith("probe.") and name in mine]
    if not common:
        return
    theirs = torch.cat([tensors[name].float() for name in common])
    here_too = torch.cat([mine[name] for name in common])
    off = float((theirs - here_too).norm() / theirs.norm().clamp_min(1e-30))
    if off > UNLIKE:
        raise VisitError(
            f"This lens was fitted on {meta['model']}, whose weights are not those of the model at "
            f"hand (off by {off:.0%}): load the model that it was fitted on, or fit another lens."
        )


def cached(model: PreTrainedModel, lens: str, own: str | None = None) -> Path | None:
    """Where a model's lens of this kind is kept between sessions; None where its weights cannot be
    told from another's.

    Args:
        model: whose lens.
        lens: its name.
        own: the fingerprint of the model's weights, where it is known.
    """
    own = own or fingerprint(model)
    return None if own is None else cache_folder() / "lenses" / f"{own[:24]}-{lens}.safetensors"


def places_in(tensors: Mapping[str, Tensor], what: str) -> dict[Place, Tensor]:
    """Those of the tensors that are of streams: "what.mid.3" is of the stream in the middle of
    layer 3; in single precision.
    """
    found: dict[Place, Tensor] = {}
    for at in AT:
        begin = f"{what}.{at}."
        for name, tensor in tensors.items():
            if name.startswith(begin):
                found[int(name.removeprefix(begin)), at] = tensor.float()
    return found


def name_of(what: str, place: Place) -> str:
    """What `places_in` reads."""
    layer, at = place
    return f"{what}.{at}.{layer}"


def foreign(path: str | os.PathLike[str], maker: str, read: Callable[[Any], Found]) -> Found:
    """What another program's file of tensors holds; none of its code is run.

    Args:
        path: of the file.
        maker: the program.
        read: picks out of what was stored.

    Raises:
        VisitError: it cannot be read, or holds something else.
    """
    try:
        return read(torch.load(Path(path).expanduser(), map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise VisitError(f"There is no file {str(path)!r}.") from None
    except (*_UNREADABLE, OSError) as error:
        raise VisitError(
            f"{str(path)!r} is no lens as {maker} saves them ({type(error).__name__})."
        ) from error


# What damaged files, and such as hold something else, make torch and the reading of them raise.
_UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError,
)  # fmt: skip
