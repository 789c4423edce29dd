"""Where one prompt stands in a padded batch, and what of the batch's tensors is its own.

All that is cut is a view: a row costs nothing until it is asked for something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import VisitError
from ..model.attention_call import AttentionCall


@dataclass(frozen=True)
class Row:
    """One prompt of a batch.

    Attributes:
        index: which row of the batch it is.
        begin, end: the columns of its tokens; the others are padding.
        n_rows, n_columns: the shape of the batch.
    """

    index: int
    begin: int
    end: int
    n_rows: int
    n_columns: int

    @classmethod
    def alone(cls, n_tokens: int) -> Row:
        """A prompt that is run by itself."""
        return cls(0, 0, n_tokens, 1, n_tokens)

    def __len__(self) -> int:
        return self.end - self.begin

    @property
    def is_all(self) -> bool:
        """Whether the batch is this prompt and nothing else."""
        return self.n_rows == 1 and len(self) == self.n_columns

    def stream(self, stream: Tensor) -> Tensor:
        """(n, d) of (n_rows, n_columns, d), also where a module has rows and columns as one."""
        return stream.reshape(self.n_rows, -1, stream.shape[-1])[self.index, self.begin : self.end]

    def call(self, call: AttentionCall) -> AttentionCall:
        """What the batch's attention call is for this prompt alone.

        Raises:
            VisitError: its mask is no tensor that could be cut.
        """
        if self.is_all:
            return call
        if call.mask is not None and not isinstance(call.mask, Tensor):
            raise VisitError(
                f"The attention got a mask that cannot be cut to one prompt of a batch "
                f'({type(call.mask).__name__}): call model.set_attn_implementation("sdpa"), or '
                "trace the prompts one by one."
            )
        columns = slice(self.begin, self.end)
        heads = [self._heads(t)[:, :, columns] for t in (call.query, call.key, call.value)]
        output = self._heads(call.output.transpose(1, 2))[:, :, columns].transpose(1, 2)
        return replace(
            call, query=heads[0], key=heads[1], value=heads[2], output=output, weights=None,
            mask=None if call.mask is None else self._mask(call.mask),
            options={name: self.cut(value) for name, value in call.options.items()},
        )  # fmt: skip

    def cut(self, value: Any) -> Any:
        """An argument of a module as it would be if this prompt ran alone: its row where there is
        one for each prompt, its columns where there is one for each token.
        """
        if self.is_all:
            return value
        if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
            return type(value)(self.cut(v) for v in value)
        if not isinstance(value, Tensor) or not value.ndim:
            return value
        first = 0
        if value.ndim > 1 and self.n_rows > 1 and value.shape[0] == self.n_rows:
            value, first = value[self.index : self.index + 1], 1
        for dim in range(first, value.ndim):
            if value.shape[dim] == self.n_columns:
                value = value.narrow(dim, self.begin, len(self))
        return value

    def _heads(self, tensor: Tensor) -> Tensor:
        """(1, heads, …) of (n_rows, heads, …), or of (1, n_rows · heads, …), as attention that is
        heard by its operations has them.
        """
        if tensor.shape[0] != self.n_rows:
            tensor = tensor.reshape(self.n_rows, -1, *tensor.shape[-2:])
        return tensor[self.index : self.index + 1]

    def _mask(self, mask: Tensor) -> Tensor:
        columns = slice(self.begin, self.end)
        if mask.ndim == 2:  # which tokens are no padding
            return mask[self.index : self.index + 1, columns]
        if mask.shape[0] == 1 and mask.shape[1] > 1 and mask.shape[1] % self.n_rows == 0:
            mask = mask.reshape(self.n_rows, -1, *mask.shape[-2:])
        row = mask[self.index : self.index + 1] if mask.shape[0] == self.n_rows else mask
        rows = columns if mask.shape[-2] == self.n_columns else slice(None)
        return row[..., rows, columns]


def fitting_width(model: PreTrainedModel, n_rows: int, longest: int, most: int | None) -> int:
    """How many columns a batch gets: as many as its longest prompt has, or a few more, so that no
    other size in the model is the same number and columns can be told by it.

    Args:
        model: that is to run it.
        n_rows: prompts in the batch.
        longest: tokens of the longest.
        most: as many as the model reads, where it says so.
    """
    config = model.config.get_text_config()
    sizes = {v for v in vars(config).values() if type(v) is int} | {n_rows}
    heads, width = (vars(config).get(n) for n in ("num_attention_heads", "hidden_size"))
    if isinstance(heads, int) and isinstance(width, int) and heads:
        sizes |= {width // heads, heads * n_rows}
    sizes -= {getattr(config, "max_position_embeddings", None)}
    found = next(n for n in range(longest, longest + len(sizes) + 1) if n not in sizes)
    return longest if most is not None and found > most else found


def batch_of(prompts: Sequence[Tensor], width: int, side: str, pad: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask, (n_rows, width) each, of prompts of (T,) ids.

    Args:
        prompts: the token ids.
        width: columns.
        side: where the padding goes: "right" or "left".
        pad: what it is made of.
    """
    ids = torch.full((len(prompts), width), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        n = prompt.numel()
        columns = slice(0, n) if side == "right" else slice(width - n, width)
        ids[row, columns], mask[row, columns] = prompt, 1
    return ids, mask
