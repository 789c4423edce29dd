"""A trace as a file: tensors as safetensors keep them, all else as JSON in the file's header.

Reading one runs no code, whoever made it. What is derived by the model is not in it: `load_trace`
takes the model for that, and checks that it is the one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..model import Anatomy, BlockAnatomy, VisitError, anatomy_of
from ..model.attention_call import own_attention
from ..model.exclusive import exclusive
from ..model.joins import Join
from ..model.loaded import check_traceable, unwrapped
from ..model.operations import plain_attention
from ..model.watch import device_of
from ..model.whole import whole
from .bare import BareTrace, Missing, plain_weights
from .fingerprint import check_same_model, fingerprint, other_model
from .masks import Bias, RowMask
from .plain import Shelf, dtype_named, from_plain, gone_in, to_plain
from .record import AttentionRecord, LayerRecord, Record
from .trace import Trace
from .turns import Turn

FORMAT, VERSION = "visit_widget trace", 1
# Positions at which it is seen whether attention is a plain softmax.
N_LOOKED_AT = 8
_ATTEND: dict[str, Any] = {"own": own_attention, "plain": plain_attention}

Read = Callable[[str], Tensor]


@dataclass(frozen=True)
class Packed:
    """A trace as plain data.

    Attributes:
        about: all that JSON holds.
        tensors: {name: tensor on the CPU}.
    """

    about: dict[str, Any]
    tensors: dict[str, Tensor]


def save_trace(trace: Trace, path: str | os.PathLike[str]) -> Path:
    """See `Trace.save`."""
    target, packed = Path(path), pack(trace)
    header = {"visit_widget": json.dumps(packed.about, ensure_ascii=False)}
    with whole(target) as temporary:
        save_file(packed.tensors, temporary, header)
    return target


def load_trace(
    path: str | os.PathLike[str],
    model: Any = None,
    tokenizer: Any = None,
    *,
    anatomy: Anatomy | None = None,
) -> Trace:
    """A trace that `Trace.save` wrote.

    Without its model it gives what the pass left behind (tokens, streams, queries, keys, values)
    and what follows from that alone; the rest says that it needs the model. With it, everything is
    as it was.

    Args:
        path: the file.
        model: the model that was traced, or None.
        tokenizer: its tokenizer, or None.
        anatomy: where the model keeps its parts, when that cannot be found.

    Raises:
        VisitError: there is no such file, it is no trace, or the model is another one.
    """
    place = Path(path)
    if not place.is_file():
        raise VisitError(f"There is no file {place}: save a trace there with trace.save first.")
    try:
        with safe_open(str(place), "pt") as file:
            header = file.metadata() or {}
            about = json.loads(header.get("visit_widget", "null"))
            # Apart from the file, whose layout would show in the last bit of sums.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise VisitError(f"{place} is no trace that can be read: {_line(error)}.") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise VisitError(f"{place} is no trace: it was written by something else.")
    if about.get("version") != VERSION:
        raise VisitError(
            f"{place} is a trace of version {about.get('version')!r}; this package reads version "
            f"{VERSION}: make it anew, or install the package that wrote it "
            f"(visit-widget {about.get('visit_widget')})."
        )
    return unpack(Packed(about, tensors), model, tokenizer, anatomy)


def pack(trace: Trace) -> Packed:
    """The trace as plain data."""
    shelf, record = Shelf(), trace.record
    layers = [_pack_layer(trace, n, shelf) for n in range(trace.n_layers)]
    names = {name: shelf.put(getattr(record, name), name) for name in ("final", "logits")}
    shelf.tensors["input_ids"] = trace.input_ids.clone()
    bare = trace if isinstance(trace, BareTrace) else None
    about = {
        "format": FORMAT,
        "version": VERSION,
        "visit_widget": _version("visit-widget"),
        "transformers": _version("transformers"),
        "model": _about_model(trace) if bare is None else bare.about["model"],
        "prompt": trace.prompt,
        "given_as_text": trace._text is not None,
        "special": trace.special,
        "notes": list(trace.notes),
        "next_token": trace.next_token,
        "in_steps": trace.in_steps,
        "turns": None if trace.turns is None else [turn.to_dict() for turn in trace.turns],
        "tokens": trace.tokens,
        "implementation": record.implementation,
        "tensors": names,
        "layers": layers,
    }
    return Packed(about, shelf.tensors)


def unpack(packed: Packed, model: Any, tokenizer: Any, anatomy: Anatomy | None) -> Trace:
    """The trace again, with its model or without.

    Raises:
        VisitError: the data are damaged, or the model is another one.
    """
    about = packed.about
    try:
        if model is None:
            made: Trace = _without_model(packed, tokenizer)
        else:
            made = _with_model(packed, model, tokenizer, anatomy)
        if tokenizer is None:
            vars(made)["tokens"] = [str(text) for text in about["tokens"]]
            made._text = str(about["prompt"])
        elif about["given_as_text"]:
            made._text = str(about["prompt"])
        special = about.get("special")
        made.special = None if special is None else bool(special)
        made.notes = tuple(str(note) for note in about.get("notes", ()))
        came, turns = about.get("next_token"), about.get("turns")
        made.next_token = None if came is None else int(came)
        made.in_steps = bool(about.get("in_steps", False))
        made.turns = None if turns is None else tuple(Turn.from_dict(turn) for turn in turns)
    except VisitError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        raise VisitError(
            f"This trace is damaged or was cut ({type(error).__name__}: {_line(error)}): make it "
            "anew with vw.trace."
        ) from error
    return made


def _without_model(packed: Packed, tokenizer: Any) -> BareTrace:
    about, cpu = packed.about, torch.device("cpu")
    known, blocks = about["model"], []
    for layer in about["layers"]:
        kept = layer["attention"]
        blocks.append(
            BlockAnatomy(
                block=Missing(),
                attention=None if kept is None else Missing(),
                output_projection=None if kept is None else Missing(),
                mlp=Missing() if layer["has_mlp"] else None,
                mixer=Missing() if layer["mixed"] else None,
                mixer_late=layer["mixer_late"],
                attention_join=Join() if layer["plain_join"] else Join(carry_norm=Missing()),
                parallel=layer["parallel"],
                d_mlp=layer["d_mlp"],
            )
        )
    anatomy = Anatomy(
        tuple(blocks), Missing() if known["final_norm"] else None, Missing(),
        known["d_model"], known["n_vocab"], softcap=known["softcap"],
    )  # fmt: skip
    record = _unpack_record(packed, [cpu] * len(blocks), cpu)
    made = BareTrace(None, tokenizer, packed.tensors["input_ids"].clone(), anatomy, record, None)  # type: ignore[arg-type]
    made.about = about
    made.plain_rows = [bool(layer["plain_rows"]) for layer in about["layers"]]
    made.plain_mixers = [bool(layer["plain_mixer"]) for layer in about["layers"]]
    vars(made)["coarsest_dtype"] = dtype_named(known["coarsest_dtype"])
    return made


def _with_model(packed: Packed, model: Any, tokenizer: Any, anatomy: Anatomy | None) -> Trace:
    about, model = packed.about, unwrapped(model)
    check_traceable(model)
    known = about["model"]
    if type(model).__name__ != known["class"]:
        raise other_model(f"it is a {type(model).__name__}, not a {known['class']}")
    theirs = fingerprint(model)
    if None not in (theirs, known["fingerprint"]) and theirs != known["fingerprint"]:
        raise other_model("its weights are others")
    for layer in about["layers"]:
        kept = layer["attention"]
        lost = kept and ("an attention function" if kept["attend"] is None else kept["lost"])
        if lost:
            raise VisitError(
                f"This trace was made with {lost} that no file can hold: load it without its "
                "model, or make it anew with vw.trace."
            )
    with exclusive(model):
        found = anatomy or anatomy_of(model)
        devices = [device_of(part.block) or torch.device("cpu") for part in found.blocks]
        if len(devices) != len(about["layers"]):
            raise other_model(f"it has {len(devices)} layers, not {len(about['layers'])}")
        ours = [(p.mlp is None, p.attention is None, p.parallel, p.d_mlp) for p in found.blocks]
        then = [
            (not n["has_mlp"], n["attention"] is None, n["parallel"], n["d_mlp"])
            for n in about["layers"]
        ]
        if ours != then or (found.d_model, found.n_vocab) != (known["d_model"], known["n_vocab"]):
            raise other_model("its layers are others")
        record = _unpack_record(packed, devices, devices[-1])
        ids = packed.tensors["input_ids"].clone()
        made = Trace(model, tokenizer, ids, found, record, None)
        made.anatomy_given = anatomy is not None
        check_same_model(made)
    return made


def _about_model(trace: Trace) -> dict[str, Any]:
    model, anatomy = trace.model, trace.anatomy
    return {
        "class": type(model).__name__,
        "type": str(getattr(model.config, "model_type", "")),
        "name": str(getattr(model.config, "_name_or_path", "")),
        "fingerprint": fingerprint(model),
        "d_model": anatomy.d_model,
        "n_vocab": anatomy.n_vocab,
        "final_norm": anatomy.final_norm is not None,
        "softcap": anatomy.softcap,
        "coarsest_dtype": str(trace.coarsest_dtype).removeprefix("torch."),
    }


def _pack_layer(trace: Trace, layer: int, shelf: Shelf) -> dict[str, Any]:
    part, kept = trace.anatomy.blocks[layer], trace.record.layers[layer]
    names = {}
    for name in ("pre", "mid", "mixed"):
        tensor = getattr(kept, name)
        names[name] = None if tensor is None else shelf.put(tensor, f"{layer}.{name}")
    added = {
        half: shelf.put(tensor, f"{layer}.added.{half}") for half, tensor in kept.added.items()
    }
    bare = trace if isinstance(trace, BareTrace) else None
    plain_join = part.attention_join.carries_as_is
    plain_mixer = isinstance(part.mixer_scale, float) and part.mixer_scale == 1.0
    if part.attention is None and not part.mixer_late:
        plain_mixer = part.attention_join.is_plain
    return {
        **names,
        "added": added,
        "has_mlp": part.mlp is not None,
        "parallel": part.parallel,
        "d_mlp": part.d_mlp,
        "mixer_late": part.mixer_late,
        "plain_join": plain_join,
        "plain_mixer": plain_mixer if bare is None else bare.plain_mixers[layer],
        "plain_rows": _is_plain(trace, layer) if bare is None else bare.plain_rows[layer],
        "attention": None
        if kept.attention is None
        else _pack_attention(kept.attention, layer, shelf),
    }


def _pack_attention(
    kept: AttentionRecord | None, layer: int, shelf: Shelf
) -> dict[str, Any] | None:
    if kept is None:
        return None
    stored: dict[str, Any] = {"scaling": None if kept.scaling is None else float(kept.scaling)}
    for name in ("query", "key", "value"):
        stored[name] = shelf.put(getattr(kept, name), f"{layer}.{name}")
    mask: dict[str, Any] = {}
    for name in ("first", "last", "dense"):
        tensor = getattr(kept.mask, name)
        mask[name] = None if tensor is None else shelf.put(tensor, f"{layer}.mask.{name}")
    bias = kept.mask.bias
    mask["bias"] = None if bias is None else shelf.put(bias.table, f"{layer}.mask.bias")
    mask["along"] = None if bias is None else bias.along
    stored["mask"] = mask
    stored["options"] = to_plain(kept.options, shelf, f"{layer}.options")
    stored["arguments"] = to_plain(kept.arguments, shelf, f"{layer}.arguments")
    stored["attend"] = next((n for n, known in _ATTEND.items() if kept.attend is known), None)
    # Of its arguments only those of the module may be missing: that they suffice is checked when
    # they are used.
    lost = gone_in(from_plain(stored["options"], lambda _: torch.empty(0), torch.device("cpu")))
    stored["lost"] = lost
    return stored


def _unpack_record(packed: Packed, devices: list[torch.device], device: torch.device) -> Record:
    about, tensors = packed.about, packed.tensors
    moved: dict[tuple[str, torch.device], Tensor] = {}

    def read(name: str, where: torch.device) -> Tensor:
        # Layers share tensors (of rotary embedding, say), and go on doing so.
        if (name, where) not in moved:
            moved[name, where] = tensors[name].to(where)
        return moved[name, where]

    layers = []
    for layer, where in zip(about["layers"], devices, strict=True):
        get: Any = lambda name, where=where: None if name is None else read(name, where)  # noqa: E731
        kept = LayerRecord(get(layer["pre"]), get(layer["mid"]), get(layer["mixed"]))
        kept.added = {half: get(name) for half, name in layer["added"].items()}
        stored = layer["attention"]
        if stored is not None:
            on_cpu = {
                n: None if stored["mask"][n] is None else tensors[stored["mask"][n]]
                for n in ("first", "last")
            }
            bias = stored["mask"]["bias"]
            kept.attention = AttentionRecord(
                get(stored["query"]), get(stored["key"]), get(stored["value"]),
                RowMask(
                    on_cpu["first"], on_cpu["last"],
                    None if bias is None else Bias(get(bias), stored["mask"]["along"]),
                    get(stored["mask"]["dense"]),
                ),
                stored["scaling"],
                from_plain(stored["options"], get, where),
                _ATTEND.get(stored["attend"], own_attention),
                from_plain(stored["arguments"], get, where),
            )  # fmt: skip
        layers.append(kept)
    names = about["tensors"]
    final, logits = read(names["final"], device), read(names["logits"], device)
    return Record(layers, final, logits, device, str(about["implementation"]))


def _is_plain(trace: Trace, layer: int) -> bool:
    """Whether the layer's attention is seen to be a plain softmax."""
    kept = trace.record.layers[layer].attention
    if kept is None:
        return False
    step = max(1, len(trace) // N_LOOKED_AT)
    for position in range(len(trace) - 1, -1, -step):
        try:
            row = trace.attention_row(layer, position)
        except VisitError:
            return False
        off = (row.weights - plain_weights(trace, kept, position)).abs().max()
        if not (float(off) <= 1e-6 and bool((row.gain == 1).all())):
            return False
    return True


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160].rstrip(".")
