"""Where a decoder keeps its parts.

`anatomy_of(model)` finds blocks, norms and projections by watching one short pass: the output
projection is the
module whose input is the flattened heads, the MLP is the module whose output is what the block
added to the stream
after attention, and so on. Nothing is taken on a name's word. What cannot be found, or does not add
up, raises
`UnsupportedModelError`; a graph is never drawn on a guess.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel


@dataclass(frozen=True)
class BlockAnatomy:
    """The modules of one block.

    Attributes:
        block: maps the stream before it to the stream after it.
        attention: the module that calls the attention function.
        output_projection: W_O, whose input is the flattened heads.
        mlp: maps the normed stream to what the MLP writes.
        down_projection: W_out, whose input is the neurons' activations.
        attention_norm: norm of the attention's input, if any (ln1).
        mlp_norm: norm of the MLP's input, if any (ln2).
        attention_post_norm: norm of what attention writes, before it is added, if any.
        mlp_post_norm: likewise for the MLP.
        activation: the activation function's module, whose input says what each neuron looks for;
            None if it is no module.
        inner_norms: norms inside the attention module (of queries and keys), if any.
        parallel: whether the MLP reads the stream before the block, not after attention.
    """

    block: nn.Module
    attention: nn.Module
    output_projection: nn.Module
    mlp: nn.Module
    down_projection: nn.Module
    attention_norm: nn.Module | None = None
    mlp_norm: nn.Module | None = None
    attention_post_norm: nn.Module | None = None
    mlp_post_norm: nn.Module | None = None
    activation: nn.Module | None = None
    inner_norms: tuple[nn.Module, ...] = ()
    parallel: bool = False

    @property
    def mlp_entry(self) -> nn.Module:
        """The first module of the MLP branch: its input is the stream that the MLP reads."""
        return self.mlp_norm or self.mlp


@dataclass(frozen=True)
class Anatomy:
    """Where a model keeps its parts.

    Attributes:
        blocks: one per layer, in order.
        final_norm: norm between the last block and the unembedding, if any.
        unembedding: the last linear map, from d_model to the vocabulary.
        n_heads: query heads of a layer.
        d_model: width of the stream.
        d_mlp: neurons of a layer.
        n_vocab: size of the vocabulary.
    """

    blocks: tuple[BlockAnatomy, ...]
    final_norm: nn.Module | None
    unembedding: nn.Module
    n_heads: int
    d_model: int
    d_mlp: int
    n_vocab: int


_known: weakref.WeakKeyDictionary[PreTrainedModel, tuple[tuple[int, ...], Anatomy]] = (
    weakref.WeakKeyDictionary()
)


def anatomy_of(model: PreTrainedModel) -> Anatomy:
    """The anatomy of a model, found once and found anew when its modules have changed (an adapter
    was added, say).

    Raises:
        UnsupportedModelError: a part was not found or the parts do not add up.
    """
    from .discover import discover

    modules = tuple(id(m) for m in model.modules())
    known = _known.get(model)
    if known is None or known[0] != modules:
        known = modules, discover(model)
        _known[model] = known
    return known[1]
