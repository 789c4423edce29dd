"""Where a decoder keeps its parts.

`anatomy_of(model)` finds blocks, norms and projections by watching one short pass: the output
projection is the module whose input is the flattened heads, the MLP is the module whose output is
what the block added to the stream after attention, and so on. Nothing is taken on a name's word.
What cannot be found, or does not add up, raises `UnsupportedModelError`; a graph is never drawn on
a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .joins import PLAIN, Factor, Join
from .watch import first_tensor
from .writers import WriterLayout


class Chain(nn.Sequential):
    """Modules that a block calls one after the other where other models have one MLP module."""


class Beside(nn.ModuleList):
    """Modules that read the same and write side by side where other models have one MLP module (a
    shared expert next to the routed ones, say).
    """

    def forward(self, x: Tensor) -> Tensor:
        """The sum of what they write."""
        written = [first_tensor(module(x)) for module in self]
        return torch.stack([w.reshape(x.shape) for w in written if w is not None]).sum(0)


@dataclass(frozen=True)
class BlockAnatomy:
    """The modules of one block.

    Attributes:
        block: maps the stream before it to the stream after it.
        attention: the module that calls the attention function; None in a block without attention.
        output_projection: W_O, whose input is the flattened heads.
        mlp: maps the normed stream to what the MLP writes; None in a block without one.
        down_projection: W_out, whose input is the neurons' activations; None where several modules
            or parameters write (a mixture of experts), which `writers` names.
        attention_norm: norm of the attention's input, if any (ln1).
        attention_input_scale: factor on the attention's (normed) input.
        mlp_norm: norm of the MLP's input, if any (ln2).
        attention_join: how what attention writes joins the stream.
        mlp_join: likewise for the MLP.
        activation: the activation function's module, whose input says what each neuron looks for;
            None if it is no module.
        inner_norms: norms inside the attention module (of queries and keys), if any.
        heads_norm: norm of the flattened heads before the output projection, if any.
        gated_heads: whether the flattened heads are multiplied with a gate before the projection.
        writers: what the neurons of a mixture of experts write with.
        mixer: a module that mixes tokens in some other way than attention (a state-space or
            convolution layer): shown whole, as one part.
        mixer_scale: factor on what the mixer writes.
        mixer_late: whether the mixer writes along with the MLP rather than where attention does.
        parallel: whether the MLP reads the stream before the block, not after attention.
        d_mlp: neurons; 0 without an MLP.
    """

    block: nn.Module
    attention: nn.Module | None = None
    output_projection: nn.Module | None = None
    mlp: nn.Module | None = None
    down_projection: nn.Module | None = None
    attention_norm: nn.Module | None = None
    attention_input_scale: float = 1.0
    mlp_norm: nn.Module | None = None
    attention_join: Join = PLAIN
    mlp_join: Join = PLAIN
    activation: nn.Module | None = None
    inner_norms: tuple[nn.Module, ...] = ()
    heads_norm: nn.Module | None = None
    gated_heads: bool = False
    writers: WriterLayout | None = None
    mixer: nn.Module | None = None
    mixer_late: bool = False
    mixer_scale: Factor = 1.0
    parallel: bool = False
    d_mlp: int = 0

    @property
    def mlp_entry(self) -> nn.Module | None:
        """The first module of the MLP branch: its input is the stream that the MLP reads."""
        if self.mlp_norm is not None:
            return self.mlp_norm
        return self.mlp[0] if isinstance(self.mlp, (Chain, Beside)) else self.mlp

    @property
    def mlp_exits(self) -> tuple[nn.Module, ...]:
        """The modules whose outputs, summed, are what the MLP writes, before any post-norm."""
        if isinstance(self.mlp, Beside):
            return tuple(self.mlp)
        if isinstance(self.mlp, Chain):
            return (self.mlp[-1],)
        return () if self.mlp is None else (self.mlp,)


@dataclass(frozen=True)
class Anatomy:
    """Where a model keeps its parts.

    Attributes:
        blocks: one per layer, in order.
        final_norm: norm between the last block and the unembedding, if any.
        unembedding: the last linear map, from d_model to the vocabulary.
        d_model: width of the stream.
        n_vocab: size of the vocabulary.
        head_scale: factor between the final norm and the unembedding.
        logit_scale: factor on what the unembedding gives.
        softcap: c of logits = c · tanh(z / c), where the model caps them.
        notes: sentences on how it was found, where there is something to say.
    """

    blocks: tuple[BlockAnatomy, ...]
    final_norm: nn.Module | None
    unembedding: nn.Module
    d_model: int
    n_vocab: int
    head_scale: float = 1.0
    logit_scale: float = 1.0
    softcap: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def d_mlp(self) -> int:
        """Neurons of a layer; the most that any layer has."""
        return max(block.d_mlp for block in self.blocks)
