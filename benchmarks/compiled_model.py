"""Compiled programs as one small GPT-2 whose circuits are known.

In a transformer that tracr compiles, every head and MLP is used, so that any order of them is
right. Here the layers of several programs are dealt into one model: they share a stream, where they
read the same tokens and positions and write to dimensions of their own, and each program's answers
are tokens of their own. A program's circuit is what it was compiled to; the others are at work
beside it, and nothing of them reaches its answers. The stream is turned by a random rotation, so
that no measure gains by the axes. There are no norms.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

# Dimensions of the stream that every program reads.
SHARED = ("tokens", "indices", "one")
Program = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Circuit:
    """A program in the model.

    Attributes:
        nodes: the ids of its heads and MLPs.
        edges: (writer, reader): a node or "embed", and "L3.attn" (a layer's queries, keys and
            values), "L3.mlp" or "logits", which reads what the writer writes.
        answers: the tokens of its answers.
        prompts: (n, T) token ids.
        said: (n,) what the program says at the last position: which answer, or a number where
            there is one answer.
    """

    nodes: set[str]
    edges: set[tuple[str, str]]
    answers: list[int]
    prompts: Tensor
    said: Tensor


@dataclass(frozen=True)
class Compiled:
    """The model, and what is known of it.

    Attributes:
        model: in float64.
        circuits: by program.
        nodes: the ids of all heads and MLPs that write anything.
        readers: what reads the stream, in order: "L0.attn", "L0.mlp", …, "logits".
    """

    model: GPT2LMHeadModel
    circuits: dict[str, Circuit]
    nodes: list[str]
    readers: list[str]

    @property
    def edges(self) -> list[tuple[str, str]]:
        """Every writer with every reader after it."""
        place = {name: n for n, name in enumerate(self.readers)}
        first = {n: place[reader_of(n)] for n in self.nodes}
        writers = {"embed": -1, **first}
        return [(w, r) for w, start in writers.items() for r in self.readers if place[r] > start]


def reader_of(node: str) -> str:
    """The sublayer that a node is in."""
    layer, part = node.split(".")
    return f"{layer}.mlp" if part == "mlp" else f"{layer}.attn"


def compiled(programs: Mapping[str, Program], seed: int = 0) -> Compiled:
    """One model of several programs, of the same tokens and positions.

    Args:
        programs: as `compile_programs.py` writes them.
        seed: of the order in which layers are dealt, and of the rotation.
    """
    owners = [name for name, p in programs.items() for _ in p["query"]]
    random.Random(seed).shuffle(owners)
    columns = _columns(programs)
    width = 1 + max(n for own in columns.values() for n in own)
    n_heads = max(int(p["n_heads"]) for p in programs.values())
    head = max(-(-width // n_heads), *(p["query"].shape[-1] for p in programs.values()))
    model = _empty(programs, len(owners), n_heads, head)
    rotation = _rotation(n_heads * head, seed)

    done = dict.fromkeys(programs, 0)
    for layer, name in enumerate(owners):
        into = rotation[columns[name]]
        _fill(model.transformer.h[layer], programs[name], done[name], into, n_heads, head)
        done[name] += 1
    wte, wpe = model.transformer.wte.weight, model.transformer.wpe.weight
    circuits, first = {}, 0
    for name, program in programs.items():
        into = rotation[columns[name]]
        where = [program["dimensions"].tolist().index(a) for a in program["answers"]]
        answers = list(range(first, first := first + len(where)))
        with torch.no_grad():
            wte[: len(program["tokens"])] = _double(program["tokens"]) @ into
            wpe[:] = _double(program["positions"]) @ into
            model.lm_head.weight[answers] = into[where]
        layers = [n for n, owner in enumerate(owners) if owner == name]
        circuits[name] = _circuit(program, layers, where, answers)
    nodes = sorted(set().union(*(c.nodes for c in circuits.values())), key=_order)
    used = {reader_of(n) for n in nodes}
    readers = [f"L{n}.{part}" for n in range(len(owners)) for part in ("attn", "mlp")]
    return Compiled(model, circuits, nodes, [*(r for r in readers if r in used), "logits"])


def _order(node: str) -> tuple[int, bool, str]:
    layer, part = node.split(".")
    return int(layer[1:]), part == "mlp", part


def _double(array: np.ndarray) -> Tensor:
    return torch.tensor(array, dtype=torch.float64)


def _columns(programs: Mapping[str, Program]) -> dict[str, list[int]]:
    """Where in the stream each program's dimensions are, before it is turned."""
    places: dict[tuple[str, str], int] = {}
    found = {}
    for name, program in programs.items():
        labels = program["dimensions"].tolist()
        keys = [("" if d.split(":")[0] in SHARED else name, d) for d in labels]
        found[name] = [places.setdefault(key, len(places)) for key in keys]
    return found


def _rotation(width: int, seed: int) -> Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, width, generator=numbers, dtype=torch.float64)).Q


def _empty(
    programs: Mapping[str, Program], n_layers: int, n_heads: int, head: int
) -> GPT2LMHeadModel:
    """A GPT-2 without norms whose weights are all zero."""
    some = next(iter(programs.values()))
    config = GPT2Config(
        vocab_size=max(len(some["tokens"]), sum(len(p["answers"]) for p in programs.values())),
        n_positions=len(some["positions"]), n_embd=n_heads * head, n_layer=n_layers,
        n_head=n_heads, n_inner=max(p["up"].shape[-1] for p in programs.values()),
        activation_function="relu", tie_word_embeddings=False, attn_implementation="eager",
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).double().eval()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    for block in model.transformer.h:
        block.ln_1, block.ln_2 = nn.Identity(), nn.Identity()
    model.transformer.ln_f = nn.Identity()
    return model


@torch.no_grad()
def _fill(block: Any, program: Program, layer: int, into: Tensor, n_heads: int, head: int) -> None:
    """Put one layer of a program into a block.

    Args:
        block: of the model.
        program: whose.
        layer: of the program.
        into: (the program's dimensions, d_model) where they are in the stream.
        n_heads, head: of the model: how many heads, and how wide.
    """
    own, size = int(program["n_heads"]), program["query"].shape[-1] // int(program["n_heads"])
    names = ("query", "key", "value", "output")
    query, key, value, output = (_double(program[name][layer]) for name in names)
    # Scores are divided by the root of how wide a head is.
    query = query * (head / size) ** 0.5
    wide = n_heads * head
    for n in range(own):
        mine, there = slice(n * size, (n + 1) * size), slice(n * head, n * head + size)
        for place, weight in enumerate((query, key, value)):
            columns = slice(place * wide + there.start, place * wide + there.stop)
            block.attn.c_attn.weight[:, columns] = into.T @ weight[:, mine]
        block.attn.c_proj.weight[there] = output[mine] @ into
    up, down = _double(program["up"][layer]), _double(program["down"][layer])
    block.mlp.c_fc.weight[:, : up.shape[1]] = into.T @ up
    block.mlp.c_proj.weight[: len(down)] = down @ into


def _circuit(
    program: Program, layers: Sequence[int], where: list[int], answers: list[int]
) -> Circuit:
    """What of the model a program is."""
    own = int(program["n_heads"])
    writes = {"embed": program["tokens"].any(0) | program["positions"].any(0)}
    reads = {}
    for n, layer in enumerate(layers):
        for h, rows in enumerate(np.split(program["output"][n], own)):
            if rows.any():
                writes[f"L{layer}.H{h}"] = rows.any(0)
        if any(f"L{layer}.H{h}" in writes for h in range(own)):
            looks = [program[name][n].any(1) for name in ("query", "key", "value")]
            reads[f"L{layer}.attn"] = np.any(looks, 0)
        if program["down"][n].any():
            writes[f"L{layer}.mlp"] = program["down"][n].any(0)
            reads[f"L{layer}.mlp"] = program["up"][n].any(1)
    reads["logits"] = np.isin(np.arange(len(program["dimensions"])), where)
    place = {reader: n for n, reader in enumerate(reads)}
    edges = {
        (writer, reader)
        for writer, written in writes.items()
        for reader, read in reads.items()
        if (written & read).any()
        and (writer == "embed" or place[reader] > place[reader_of(writer)])
    }
    nodes = set(writes) - {"embed"}
    prompts, said = torch.tensor(program["prompts"]), torch.tensor(program["said"])
    return Circuit(nodes, edges, answers, prompts, said)


def load(path: Any) -> dict[str, Program]:
    """The programs of a file that `compile_programs.py` wrote."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path) as arrays:
        for name in arrays.files:
            program, key = name.split("/")
            found.setdefault(program, {})[key] = arrays[name]
    return dict(found)


@torch.no_grad()
def answered(compiled: Compiled, name: str) -> float:
    """How many of its prompts the model answers as the program does."""
    circuit = compiled.circuits[name]
    logits = compiled.model(circuit.prompts).logits[:, -1, circuit.answers]
    if len(circuit.answers) == 1:
        right = (logits[:, 0] - circuit.said).abs() < 0.01
    else:
        right = logits.argmax(-1) == circuit.said
    return float(right.double().mean())
