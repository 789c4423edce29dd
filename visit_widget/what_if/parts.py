"""Which part of a pass an id names.

| id | part |
|---|---|
| `embed`, `L3.pre`, `L3.mid`, `L3.post` | the stream |
| `L3.attn`, `L3.mlp`, `L3.mix` | all that a sublayer adds |
| `L3.H4` | a head: its columns in the input of W_O |
| `L3.H4.V2` | what head 4 takes from source 2: weight times value |
| `L3.H4.A2` | the weight of that look; the others share what is freed |
| `L3.H4.Q` | the query |
| `L3.H4.K2`, `L3.H4.K` | the key of source 2, or of every source, as head 4 sees it |
| `L3.KV1.K2`, `L3.KV1.V2` | a key or a value itself, for every head that shares it |
| `L3.O7` | one column of the input of W_O |
| `L3.N12`, `L3.E2` | a neuron; all neurons of an expert |
| `L3.attn.bias`, `L3.mlp.bias` | what a sublayer adds whatever it reads |

`P5.` before an id names the position, as in the routes view.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..model import VisitError
from ..trace import Trace

Kind = Literal[
    "stream", "sublayer", "head", "part", "weight", "query", "key", "value", "row", "neuron",
    "expert", "bias",
]  # fmt: skip
Where = Literal["pre", "mid", "post", "attention", "mlp", "mixer"]

_PLACES: dict[str, tuple[Kind, Where]] = {
    "pre": ("stream", "pre"), "mid": ("stream", "mid"), "post": ("stream", "post"),
    "attn": ("sublayer", "attention"), "mlp": ("sublayer", "mlp"), "mix": ("sublayer", "mixer"),
    "attn.bias": ("bias", "attention"), "mlp.bias": ("bias", "mlp"),
}  # fmt: skip
_LOOKS: dict[str, Kind] = {"Q": "query", "K": "key", "V": "part", "A": "weight"}
_NUMBERED: dict[str, Kind] = {"O": "row", "N": "neuron", "E": "expert"}
_ID = re.compile(r"(?:P(?P<position>\d+)\.)?(?:(?P<embed>embed)|L(?P<layer>\d+)\.(?P<rest>.+))")
_HEAD = re.compile(r"H(\d+)(?:\.([QKVA])(\d*))?")
_SHARED = re.compile(r"KV(\d+)\.([KV])(\d*)")
_PLAIN = re.compile(r"([ONE])(\d+)(?:\.key)?")


@dataclass(frozen=True)
class Part:
    """A part of a pass.

    Attributes:
        id: its name.
        kind: what it is.
        layer: from 0.
        where: of a stream, a sublayer or a bias.
        heads: whose mix of values it is in: of heads and what they look at.
        source: the position looked at; None for every one.
        number: of a row, neuron or expert, and of a key or value among those of the layer.
        position: where it is, if its id says so.
    """

    id: str
    kind: Kind
    layer: int
    where: Where | None = None
    heads: tuple[int, ...] = ()
    source: int | None = None
    number: int = 0
    position: int | None = None

    @property
    def half(self) -> Literal["attention", "mlp"]:
        """The sublayer that it is in."""
        if self.kind in ("neuron", "expert") or self.where in ("mlp", "post"):
            return "mlp"
        return "attention"


def part_of(trace: Trace, name: str) -> Part:
    """The part that an id names.

    Raises:
        VisitError: there is none of that name; the message says what there is.
    """
    found = _ID.fullmatch(name)
    part = None if found is None else _read(trace, name, found)
    if part is None:
        raise VisitError(
            f"{name!r} is no part that can be edited: use an id such as 'L3.H4' (a head), "
            "'L3.H4.V2' (what it takes from token 2), 'L3.mlp', 'L3.N12' (a neuron) or 'L3.post'. "
            "Nodes that sum up what pruning left out have no part of their own."
        )
    _check(trace, part)
    return part


def _read(trace: Trace, name: str, found: re.Match[str]) -> Part | None:
    told = found["position"]
    position = None if told is None else trace.position(int(told))
    if found["embed"]:
        return Part(name, "stream", 0, "pre", position=position)
    layer, rest = trace.layer(int(found["layer"])), found["rest"]
    if rest in _PLACES:
        kind, where = _PLACES[rest]
        return Part(name, kind, layer, where, position=position)
    plain = _PLAIN.fullmatch(rest)
    if plain is not None:
        return Part(name, _NUMBERED[plain[1]], layer, number=int(plain[2]), position=position)
    head = _HEAD.fullmatch(rest)
    if head is not None:
        number = trace.head(layer, int(head[1]))
        kind = _LOOKS[head[2]] if head[2] else "head"
        if kind == "query" and head[3]:
            return None
        group = number // _shared_by(trace, layer)
        source = trace.position(int(head[3])) if head[3] else None
        return Part(name, kind, layer, None, (number,), source, group, position)
    shared = _SHARED.fullmatch(rest)
    if shared is None:
        return None
    size, count = _shared_by(trace, layer), trace.attention_record(layer).key.shape[0]
    group = int(shared[1])
    if group >= count:
        raise VisitError(f"Layer {layer} has keys and values 0 to {count - 1}, no KV{group}.")
    heads = tuple(range(group * size, (group + 1) * size))
    source = trace.position(int(shared[3])) if shared[3] else None
    kind = "key" if shared[2] == "K" else "value"
    return Part(name, kind, layer, None, heads, source, group, position)


def _shared_by(trace: Trace, layer: int) -> int:
    kept = trace.attention_record(layer)
    return int(kept.query.shape[0]) // int(kept.key.shape[0])


def _check(trace: Trace, part: Part) -> None:
    anatomy, name = trace.anatomy.blocks[part.layer], f"Layer {part.layer}"
    missing = None
    if part.where == "mixer" and anatomy.mixer is None:
        missing = f"{name} has no mixer beside attention and MLP."
    elif part.where in ("attention", "mlp") or part.kind in ("row", "neuron", "expert"):
        if part.half == "attention" and anatomy.attention is None:
            missing = f"{name} has no attention."
        elif part.half == "mlp" and anatomy.mlp is None:
            missing = f"{name} has no MLP."
    no_mid = anatomy.parallel or anatomy.mlp is None or anatomy.attention is None
    if missing is None and part.where == "mid" and no_mid:
        missing = (
            f"{name} has no stream between attention and MLP that anything reads: edit "
            f"L{part.layer}.pre or L{part.layer}.post."
        )
    if missing is None and part.kind == "neuron" and part.number >= anatomy.d_mlp:
        missing = f"{name} has neurons 0 to {anatomy.d_mlp - 1}, no {part.number}."
    if missing is None and part.kind == "expert" and anatomy.writers is None:
        missing = f"{name} is no mixture of experts: edit L{part.layer}.mlp or a neuron."
    if missing is None and part.kind == "row":
        width = trace.attention_row(part.layer, -1).mixed.numel()
        if part.number >= width:
            missing = f"W_O of layer {part.layer} has columns 0 to {width - 1}, no {part.number}."
    if missing is not None:
        raise VisitError(missing)
