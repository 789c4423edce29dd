"""VISIT's block graph: one layer as queries, memory keys and values, heads, W_O rows and neurons.

Katz & Belinkov (2023), section 3. Every whole's parts are drawn or summed in a `rest` node, so what
flows into a node
sums to it.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..lens.samples import in_stream
from ..trace.attention import AttentionRow
from ..trace.stream import added
from ..trace.summands import Summands
from .sheet import Sheet


def draw_block(sheet: Sheet, layer: int, looks: bool = True) -> None:
    """Add one layer's block graph; its pre, attn, mid, mlp and post are the overview's nodes.

    Args:
        sheet: what they are added to.
        layer: from 0.
        looks: whether queries and keys are drawn, which are parts of nothing.
    """
    part = sheet.trace.anatomy.blocks[layer]
    if part.attention is not None:
        _draw_attention(sheet, layer, looks)
    if part.mlp is not None:
        _draw_mlp(sheet, layer)


def _draw_attention(sheet: Sheet, layer: int, looks: bool) -> None:
    trace, at, name = sheet.trace, sheet.position, f"L{layer}"
    row, along = trace.attention_row(layer, at), sheet.along(layer, "mid")
    whole = added(trace, layer, at, "attention")
    ln1 = sheet.node(f"{name}.ln1", "norm", trace.attention_input(layer, at), None, layer=layer)
    sheet.edge(f"{name}.pre", ln1, "read")

    kept = sheet.choose(
        "heads", Summands.of(row.heads), whole, along,
        lambda n: f"{name}.H{n}", f"{name}.attn.rest",
    )  # fmt: skip
    memories = _draw_heads(sheet, layer, row, kept)
    if kept and looks:
        _draw_looks(sheet, layer, row, memories)
    rows = _kept_rows(sheet, layer, row, whole)
    owners = {head: f"{name}.H{head}" for head in kept}
    left = {owners[head]: row.heads[head] for head in kept}
    others = [h for h in range(len(row.heads)) if h not in owners]
    if others:
        vector = row.heads[others].sum(0)
        rest = {"of": "head", "count": len(others)}
        left[sheet.node(f"{name}.attn.rest", "rest", vector, along, layer=layer, rest=rest)] = (
            vector
        )
    parts: list[tuple[str, Tensor, str]] = []
    for index, vector in rows:
        head = index // row.mixed.shape[1]
        owner = owners.get(head, f"{name}.attn.rest")
        activation = float(row.mixed.flatten()[index])
        node = sheet.node(
            f"{name}.O{index}",
            "row",
            vector,
            along,
            layer=layer,
            head=head,
            neuron=index,
            activation=activation,
        )
        left[owner] = left[owner] - vector
        sheet.flow(node, vector, [(owner, vector, "split")], along)
        parts.append((node, vector, "part"))
    parts = [(owner, vector, "part") for owner, vector in left.items()] + parts
    if row.bias is not None:
        parts.append(
            (
                sheet.node(f"{name}.attn.bias", "bias", row.bias, along, layer=layer),
                row.bias,
                "part",
            )
        )
    parts += sheet.rounding(layer, "attn", along)
    sheet.flow(f"{name}.attn", whole, parts, along)


def _kept_rows(
    sheet: Sheet, layer: int, row: AttentionRow, whole: Tensor
) -> list[tuple[int, Tensor]]:
    """The W_O rows to show apart: their index over all heads, and what each adds to the stream."""
    if sheet.keep.rows.is_none:
        return []
    along, name = sheet.along(layer, "mid"), f"L{layer}"
    every = row.output_rows
    kept = sheet.choose("rows", every, whole, along, lambda n: f"{name}.O{n}")
    return list(zip(kept, every[kept], strict=True))


def _memory(head: str, seen: list[int]) -> Callable[[int], str]:
    """The ids of what a head takes from the sources that it sees."""
    return lambda n: f"{head}.V{seen[n]}"


def _draw_heads(
    sheet: Sheet, layer: int, row: AttentionRow, heads: list[int]
) -> dict[int, list[int]]:
    """Heads and what they take from their memories; returns the sources drawn of each."""
    name = f"L{layer}"
    along = sheet.along(layer, "mid")
    memories: dict[int, list[int]] = {}
    for head in heads:
        seen = (row.weights[head] != 0).nonzero()[:, 0].tolist()
        every, weights = row.memories(head, seen), row.weights[head, seen]
        drawn = sheet.choose(
            "memories", every, row.heads[head], along,
            _memory(f"{name}.H{head}", seen), f"{name}.H{head}.rest", published=weights,
        )  # fmt: skip
        memories[head] = [seen[i] for i in drawn]
        output = sheet.node(
            f"{name}.H{head}", "head", row.heads[head], along, layer=layer, head=head
        )
        parts, told = every[drawn], weights[drawn].tolist()
        flows: list[tuple[str, Tensor, str]] = []
        for source, part, weight in zip(memories[head], parts, told, strict=True):
            value = sheet.node(
                f"{name}.H{head}.V{source}", "value", part, along,
                layer=layer, head=head, source=source, weight=weight,
            )  # fmt: skip
            flows.append((value, part, "part"))
        left_out = len(seen) - len(drawn)
        if left_out:
            vector = every.total() - parts.sum(0)
            rest = {"of": "value", "count": left_out}
            node = sheet.node(
                f"{name}.H{head}.rest", "rest", vector, along, layer=layer, head=head, rest=rest
            )
            flows.append((node, vector, "part"))
        if flows:
            sheet.flow(output, row.heads[head], flows, along)
    return memories


def _draw_looks(
    sheet: Sheet, layer: int, row: AttentionRow, memories: dict[int, list[int]]
) -> None:
    """The query of each head at its strongest source, and the keys of its memories, as directions
    in the stream.
    """
    trace, at, name = sheet.trace, sheet.position, f"L{layer}"
    strongest = [(head, int(row.scores[head].argmax())) for head in memories]
    looked_at = [(head, source) for head, sources in memories.items() for source in sources]
    norm = in_stream(trace, layer, "attention")
    asked, answered = (norm(d) for d in trace.look_directions(layer, at, strongest, looked_at))
    keys = iter(answered)
    for (head, most), asks in zip(strongest, asked, strict=True):
        query = sheet.node(
            f"{name}.H{head}.Q", "query", asks, None, layer=layer, head=head, source=most
        )
        sheet.edge(f"{name}.ln1", query, "read")
        for source in memories[head]:
            weight, score = float(row.weights[head, source]), float(row.scores[head, source])
            key = sheet.node(
                f"{name}.H{head}.K{source}", "key", next(keys), None,
                layer=layer, head=head, source=source, weight=weight, score=score,
            )  # fmt: skip
            sheet.edge(query, key, "score", score)
            sheet.edge(key, f"{name}.H{head}.V{source}", "weight", weight)


def _draw_mlp(sheet: Sheet, layer: int) -> None:
    trace, at, name = sheet.trace, sheet.position, f"L{layer}"
    row, along = trace.mlp_row(layer, at), sheet.along(layer, "post")
    anatomy = trace.anatomy.blocks[layer]
    ln2 = sheet.node(f"{name}.ln2", "norm", row.input, None, layer=layer)
    sheet.edge(f"{name}.pre" if anatomy.parallel else f"{name}.mid", ln2, "read")
    every, whole = row.neurons, added(trace, layer, at, "mlp")
    kept = sheet.choose(
        "neurons", every, whole, along,
        lambda n: f"{name}.N{row.number(n)}", f"{name}.mlp.rest",
    )  # fmt: skip
    numbers, drawn = [row.number(n) for n in kept], every[kept]
    keys = in_stream(trace, layer, "mlp")(trace.neuron_directions(layer, numbers, at))
    parts: list[tuple[str, Tensor, str]] = []
    for n, (place, neuron) in enumerate(zip(kept, numbers, strict=True)):
        activation = float(row.activations[place])
        more = {"layer": layer, "neuron": neuron, "activation": activation}
        if row.experts is not None and int(row.experts[place]) >= 0:
            more["expert"] = int(row.experts[place])
        key = sheet.node(f"{name}.N{neuron}.key", "neuron_key", keys[n], None, **more)
        value = sheet.node(f"{name}.N{neuron}", "neuron", drawn[n], along, **more)
        sheet.edge(ln2, key, "read")
        sheet.edge(key, value, "activation", activation)
        parts.append((value, drawn[n], "part"))
    left_out = len(every) - len(kept)
    if left_out:
        vector = every.total() - drawn.sum(0)
        rest = {"of": "neuron", "count": left_out}
        parts.append(
            (
                sheet.node(f"{name}.mlp.rest", "rest", vector, along, layer=layer, rest=rest),
                vector,
                "part",
            )
        )
    if row.bias is not None:
        parts.append(
            (
                sheet.node(f"{name}.mlp.bias", "bias", row.bias, along, layer=layer),
                row.bias,
                "part",
            )
        )
    parts += sheet.rounding(layer, "mlp", along)
    sheet.flow(f"{name}.mlp", whole, parts, along)
