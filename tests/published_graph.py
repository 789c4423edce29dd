"""The nodes of the flow graphs that the authors of VISIT published, read from their hover texts,
and the same read from a trace.

Left out are what their code computes wrongly or says of something else: labels of queries (for
`Conv1D` weights the circuit is transposed), with them the hub of q, k and v, and the bias of the
first MLP layer, which is no vector of the stream.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

import visit_widget as vw
from visit_widget.findings.reading import in_own_place, logit_lens
from visit_widget.model.encoding import decode

_NODE = re.compile(
    r"^(?:\d+\) )?(?P<name>.*?): (?P<top>\[.*\]) "
    r"\[status: .*: ?prob: ?(?P<percent>[\d.e-]+)%, rank: (?P<rank>\d+)\)\]$",
    re.DOTALL,
)
_KINDS = {
    "attn_residual": "pre", "attn_input": "ln1", "attn_out": "attn", "attn_out+residual": "mid",
    "concated_heads (without projection)": "heads", "mlp_input": "ln2", "mlp_out": "mlp",
    "residual+mlp_out": "post",
}  # fmt: skip
_PATTERNS = (
    (re.compile(r"head (\d+): output"), "H{0}"),
    (re.compile(r"head (\d+): key (\d+) \[created from .*\]", re.DOTALL), "H{0}.K{1}"),
    (re.compile(r"head (\d+): value (\d+) \[created from .*\]", re.DOTALL), "H{0}.V{1}"),
    (re.compile(r"value index:(\d+) \(from head \d+\), activision:-?[\d.e-]+: ?"), "O{0}"),
    (re.compile(r"key(\d+)"), "N{0}.key"),
    (re.compile(r"value(\d+)"), "N{0}"),
)

# How far two runs of one model in float32 may be apart. Percents are printed with three decimals.
PERCENT, RELATIVE, RANK, SHARED, WIDTH = 6e-4, 0.01, 0.01, 4, 2e-3


@dataclass(frozen=True)
class Said:
    """What a node says: its five most likely tokens, and the target's probability and rank."""

    top: list[str]
    percent: float
    rank: int


def read_node(hover: str, biases: Iterator[str]) -> tuple[str, Said] | None:
    """(id, what it says) of a published node; None of those that are left out.

    Args:
        hover: its text.
        biases: what the nodes that are called `c_proj_bias` are, in their order.
    """
    found = _NODE.match(hover)
    if found is None or "<br />" in hover:  # queries, and the hub
        return None
    name = found["name"]
    said = Said(ast.literal_eval(found["top"]), float(found["percent"]), int(found["rank"]))
    if name == "c_proj_bias":
        return next(biases), said
    if name in _KINDS:
        return _KINDS[name], said
    for pattern, shape in _PATTERNS:
        match = pattern.fullmatch(name)
        if match:
            return shape.format(*match.groups()), said
    return None


def read_graph(graph: dict[str, list]) -> dict[str, Said]:
    """What the nodes of one published layer say, by id."""
    biases = iter(("attn.bias", "mlp.bias"))
    found = (read_node(hover, biases) for _, hover in graph["nodes"])
    return dict(node for node in found if node is not None)


def vectors(trace: vw.Trace, layer: int, names: list[str]) -> Iterator[Tensor]:
    """The vectors of some nodes of a layer at the last position, (d_model,) each."""
    part, row, mlp = trace.anatomy.blocks[layer], trace.attention_row(layer), trace.mlp_row(layer)
    pre, mid = trace.residual(layer, "pre")[-1], trace.mid(layer)
    plain = {
        "pre": lambda: pre,
        "ln1": lambda: trace.norm(part.attention_norm)(pre),
        "attn": lambda: trace.attention_output(layer),
        "mid": lambda: mid,
        "heads": lambda: in_own_place(trace, row.mixed, range(len(row.mixed)), len(row.mixed)).sum(
            0
        ),
        "ln2": lambda: trace.norm(part.mlp_norm)(mid),
        "mlp": lambda: trace.mlp_output(layer),
        "post": lambda: trace.residual(layer)[-1],
        "attn.bias": lambda: trace.attn_bias(layer),
        "mlp.bias": lambda: trace.mlp_bias(layer),
    }
    keys = trace.key_directions(layer)
    rows = (row.mixed[:, :, None] * row.matrix).flatten(0, 1)
    neurons = mlp.parts()
    for name in names:
        if name in plain:
            yield plain[name]()
            continue
        numbers = [int(n) for n in re.findall(r"\d+", name)]
        if name.endswith(".key"):
            yield trace.neuron_directions(layer, numbers)[0]
        elif ".K" in name:
            yield keys[numbers[0], numbers[1]]
        elif ".V" in name:
            yield row.values[numbers[0], numbers[1]] @ row.matrix[numbers[0]]
        else:
            each = {"H": row.heads, "O": rows, "N": neurons}[name[0]]
            yield each[numbers[0]]


def ours(trace: vw.Trace, layer: int, names: list[str], target: int) -> dict[str, Said]:
    """What our nodes of these ids say."""
    every = torch.stack(list(vectors(trace, layer, names)))
    read = logit_lens(trace).project(every, 5, targets=[target])
    percents = (100 * read.target_probabilities[:, 0]).tolist()
    return {
        name: Said([decode(trace.tokenizer, [i]) for i in ids], percent, int(rank))
        for name, ids, percent, rank in zip(
            names, read.top_ids.tolist(), percents, read.target_ranks[:, 0], strict=True
        )
    }


def norms(trace: vw.Trace, layer: int) -> dict[str, float]:
    """The widths that the published edges have as a plain length, by what is said of them."""
    return {
        name: float(vector.norm())
        for name, vector in zip(
            ("pre", "ln1", "attn", "mid", "mlp"),
            vectors(trace, layer, ["pre", "ln1", "attn", "mid", "mlp"]),
            strict=True,
        )
    }


def read_norms(graph: dict[str, list]) -> dict[str, float]:
    """The same of a published layer: the lengths on the edges out of those nodes."""
    biases, names = iter(("attn.bias", "mlp.bias")), {}
    for number, (_, hover) in enumerate(graph["nodes"]):
        node = read_node(hover, biases)
        names[number] = None if node is None else node[0]
    found = {}
    for source, _, _, hover in graph["edges"]:
        match = re.fullmatch(r"norm: ?([\d.e-]+)", hover)
        if match and names[source] in ("pre", "ln1", "attn", "mid", "mlp"):
            found.setdefault(names[source], float(match[1]))
    return found


def differences(theirs: dict[str, Said], mine: dict[str, Said]) -> list[str]:
    """What differs by more than two runs of one model do, a sentence each."""
    found = []
    for name, a in theirs.items():
        b = mine.get(name)
        if b is None:
            found.append(f"{name} is missing")
            continue
        if a.top[0] not in b.top[:2]:
            found.append(f"{name} is labelled {b.top[0]!r}, published {a.top[0]!r}")
        if len(set(a.top) & set(b.top)) < SHARED:
            found.append(f"{name} has the top five {b.top}, published {a.top}")
        if abs(a.percent - b.percent) > PERCENT + RELATIVE * a.percent:
            found.append(f"{name} gives the target {b.percent:.4f} %, published {a.percent} %")
        # Below one in ten thousand tokens stand close together.
        if abs(a.rank - b.rank) > 2 + RANK * a.rank:
            found.append(f"{name} ranks the target {b.rank}, published {a.rank}")
    return found


def wrong_widths(theirs: dict[str, float], mine: dict[str, float]) -> list[str]:
    """Which lengths differ, a sentence each."""
    return [
        f"{name} is {mine[name]:.4g} long, published {length:.4g}"
        for name, length in theirs.items()
        if abs(mine[name] - length) > WIDTH * length + 1e-3
    ]
