"""What the streams of a tiny model are made of, at every position, by arithmetic of its own.

All of it comes from hooks on the model's own modules and its weights; for the families of
`tests.tiny`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.tiny import Block, blocks_of, final_norm_of, frozen, look, matrix_of


@dataclass(frozen=True)
class Part:
    """One part of a stream.

    Attributes:
        node: id of the node that flows into the stream.
        vector: (d_model,).
        made_of: id of the stream that it is made of; None of a constant.
        constant: (d_model,) what of it is not made of that stream.
        through: how it is made: x @ through + constant; None where no sum tells, in an MLP.
    """

    node: str
    vector: Tensor
    made_of: str | None
    constant: Tensor
    through: Tensor | None


@dataclass(frozen=True)
class Taken:
    """A model's pass on a prompt, taken apart.

    Attributes:
        parts: {id of a stream: its parts}.
        wholes: {id of a stream: (d_model,)}, the embeddings among them.
        final: the id of the last stream at each position.
    """

    parts: dict[str, list[Part]]
    wholes: dict[str, Tensor]
    final: list[str]


def take_apart(model: PreTrainedModel, ids: list[int]) -> Taken:
    """Every stream's parts, at every position."""
    seen, blocks = look(model, ids), blocks_of(model)
    parallel = model.config.model_type == "phi"
    before = [f"P{i}.embed" for i in range(len(ids))]
    wholes = dict(zip(before, seen.pre[0], strict=True))
    parts: dict[str, list[Part]] = {}
    eye = torch.eye(seen.pre[0].shape[-1], dtype=torch.float64)
    for layer, block in enumerate(blocks):
        values, constants, maps = _values(model, block, seen.pre[layer])
        after = []
        for i, source in enumerate(before):
            name, whole = f"P{i}.L{layer}", seen.pre[layer][i]
            found = [Part(source, whole, source, 0 * whole, eye)]

            def brought(x: Tensor, at: int = i, block: Block = block, n: int = layer) -> Tensor:
                return frozen(block.after_attention, seen.written[n][at], x)

            for head, weights in enumerate(seen.attentions[layer][:, i]):
                for j in weights.nonzero()[:, 0].tolist():
                    part, constant, through = (
                        brought(weights[j] * x[head][j]) for x in (values, constants, maps)
                    )
                    node = f"{name}.H{head}.V{j}"
                    found.append(Part(node, part, before[j], constant, through))
            if block.out.bias is not None:
                bias = brought(block.out.bias.detach())
                found.append(Part(f"{name}.attn.bias", bias, None, bias, None))
            written = Part(f"{name}.mlp", seen.mlp[layer][i], None, 0 * whole, None)
            if not parallel:
                middle, stream = f"{name}.mid", whole + seen.attention[layer][i]
                wholes[middle], parts[middle] = stream, found
                found, source = [Part(middle, stream, middle, 0 * whole, eye)], middle
            found.append(Part(written.node, written.vector, source, written.constant, None))
            wholes[f"{name}.post"], parts[f"{name}.post"] = seen.post[layer][i], found
            after.append(f"{name}.post")
        before = after
    for name, found in parts.items():
        total = torch.stack([p.vector for p in found]).sum(0)
        assert torch.allclose(total, wholes[name], rtol=0, atol=1e-11), name
    return Taken(parts, wholes, before)


def _values(
    model: PreTrainedModel, block: Block, stream: Tensor
) -> tuple[list[Tensor], list[Tensor], list[list[Tensor]]]:
    """Of each head, what a weight of 1 writes for each source: in all, (T, d_model); without any
    stream, (T, d_model); and as maps of the stream, (d_model, d_model) a source. Before any norm
    after attention.
    """
    n_heads, norm, out = model.config.num_attention_heads, block.before_attention, block.out
    n_kv = getattr(model.config, "num_key_value_heads", None) or n_heads
    fused = model.config.model_type == "gpt2"
    source = block.attention.c_attn if fused else block.attention.v_proj
    matrix, width = matrix_of(source), matrix_of(out).shape[0] // n_heads
    bias = 0 * matrix[0] if source.bias is None else source.bias.detach()
    matrix, bias = matrix[:, -n_kv * width :], bias[-n_kv * width :]
    normed = 0 * stream if getattr(norm, "bias", None) is None else norm.bias + 0 * stream
    eye = torch.eye(stream.shape[-1], dtype=torch.float64)
    values, constants, maps = [], [], []
    for head in range(n_heads):
        shared = head // (n_heads // n_kv)
        columns = slice(shared * width, (shared + 1) * width)
        written = matrix_of(out)[head * width : (head + 1) * width]
        with torch.no_grad():
            value = norm(stream) @ matrix[:, columns] + bias[columns]
            constant = normed.detach() @ matrix[:, columns] + bias[columns]
        values.append(value @ written)
        constants.append(constant @ written)
        maps.append([frozen(norm, x, eye) @ matrix[:, columns] @ written for x in stream])
    return values, constants, maps


def reading(model: PreTrainedModel, final: Tensor, target: int, foil: int | None) -> Tensor:
    """(d_model,) how a logit, or the difference of two, reads the last stream."""
    head = model.get_output_embeddings().weight.detach()
    row = head[target] - (0 if foil is None else head[foil])
    eye = torch.eye(len(final), dtype=torch.float64)
    return frozen(final_norm_of(model), final, eye) @ row


def near(part: Tensor, whole: Tensor) -> float:
    """Ferrando & Voita's: by how much a part brings nothing nearer to the whole, no less than 0."""
    return max(float(whole.abs().sum() - (whole - part).abs().sum()), 0.0)
