"""One forward pass, and what is kept of it: the stream at every layer, and queries, keys and
values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from ..model import Anatomy, BlockAnatomy, UnsupportedModelError
from ..model.attention import listening, scaling_of
from ..model.attention_call import AttentionCall
from ..model.forward import logits_of
from ..model.watch import first_tensor, input_device
from .edits import Edits
from .kernels import is_causal, is_open, mask_of
from .masks import RowMask

Half = Literal["attention", "mlp"]


class _Hidden:
    """There is one, whatever is copied or pickled."""

    def __reduce__(self) -> str:
        return "HIDDEN"


# Stands for the hidden state among the kept arguments of an attention module.
HIDDEN = _Hidden()


@dataclass(frozen=True)
class MaskOf:
    """Stands for the attention mask among them, which is not kept: it has T × T numbers."""

    dtype: torch.dtype

    def causal(self, n_tokens: int, device: torch.device) -> Tensor:
        """(1, 1, T, T) a plain causal mask of the same kind."""
        seen = torch.ones(1, 1, n_tokens, n_tokens, dtype=torch.bool, device=device).tril()
        if self.dtype == torch.bool:
            return seen
        lowest = torch.finfo(self.dtype).min
        return torch.zeros_like(seen, dtype=self.dtype).masked_fill(~seen, lowest)


@dataclass
class AttentionRecord:
    """What one attention call left behind.

    Attributes:
        query: (n_heads, T, d_head).
        key: (n_kv_heads, T, d_head).
        value: (n_kv_heads, T, d_value).
        mask: what each query saw.
        scaling: factor on the scores, or None for 1/√d_head.
        options: what else the attention function was given.
        attend: the attention function, to run rows of it again.
        arguments: how the attention module was called, to call it again for a few rows.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: RowMask
    scaling: float | None
    options: dict[str, Any]
    attend: Callable[..., tuple[Tensor, Tensor | None]]
    arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})


@dataclass
class LayerRecord:
    """What one layer left behind.

    Attributes:
        pre: (T, d_model) the stream before the block.
        mid: (T, d_model) the stream that the MLP branch read; None in a block without MLP.
        mixed: (T, d_model) what a mixer other than attention gave; None where there is none.
        attention: what its attention call left behind; None in a block without attention.
        added: what a sublayer ("attention", "mlp") added at the last position, (d_model,), where it
            joins the stream by a plain sum.
    """

    pre: Tensor
    mid: Tensor | None = None
    mixed: Tensor | None = None
    attention: AttentionRecord | None = None
    added: dict[Half, Tensor] = field(default_factory=dict)


@dataclass
class Record:
    """What one pass left behind.

    Attributes:
        layers: one per block.
        final: (T, d_model) the stream after the last block.
        logits: (n_vocab,) the model's own logits at the last position.
        device: where the last stream was made.
        implementation: the attention implementation that the model ran.
    """

    layers: list[LayerRecord]
    final: Tensor
    logits: Tensor
    device: torch.device
    implementation: str


@dataclass
class Notes:
    """What hooks note of one pass, as `record` puts it together.

    Attributes:
        keep_on: the device to keep tensors on; None for where they are made.
        implementation: the attention function that the model runs.
        open: whether the mask that it is given is what it goes by.
        n_last: at how many of the last positions it is noted what sublayers added.
    """

    keep_on: torch.device | str | None
    pre: dict[int, Tensor] = field(default_factory=dict)
    mid: dict[int, Tensor] = field(default_factory=dict)
    mixed: dict[int, Tensor] = field(default_factory=dict)
    arguments: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=dict)
    attention: dict[nn.Module, AttentionRecord] = field(default_factory=dict)
    added: dict[int, dict[Half, Tensor]] = field(default_factory=lambda: defaultdict(dict))
    masks: list[tuple[Tensor | None, bool, RowMask]] = field(default_factory=list)
    implementation: str = "eager"
    open: bool = True
    n_last: int = 1
    final: Tensor | None = None
    device: torch.device | None = None

    def kept(self, tensor: Tensor) -> Tensor:
        """The tensor where it is to be kept."""
        return tensor if self.keep_on is None else tensor.to(self.keep_on)

    def hear(self, call: AttentionCall, n_tokens: int) -> None:
        """Keep of an attention call what its rows are derived from again."""
        mask = self._mask(call, n_tokens)
        query, key, value = (self.kept(t[0]) for t in apart(call.query, call.key, call.value))
        self.attention[call.module] = AttentionRecord(
            query, key, value, mask, scaling_of(call), call.options, call.attend
        )

    def _mask(self, call: AttentionCall, n_tokens: int) -> RowMask:
        if not self.open:
            return mask_of(call, n_tokens, self.implementation)
        causal = is_causal(call)
        known = (m for given, c, m in self.masks if given is call.mask and c == causal)
        mask = next(known, None)
        if mask is None:
            mask = RowMask.of(call.mask, n_tokens, causal)
            # Most layers share a mask or two; where each has its own, they are not all kept alive.
            self.masks = [*self.masks[-3:], (call.mask, causal, mask)]
        return mask


def record(
    model: PreTrainedModel,
    anatomy: Anatomy,
    input_ids: Tensor,
    keep_on: torch.device | str | None = None,
    edits: Edits | None = None,
) -> Record:
    """Run the model once on input_ids of shape (T,) and keep what a Trace is derived from.

    Nothing is copied, unless it is to be kept on another device: the kept tensors are the ones that
    the pass made. `edits` are done to it on the way.
    """
    notes, logits = run(model, anatomy, input_ids, 1, keep_on, edits)
    return together(model, collect(anatomy, notes, edits), notes, logits[-1])


def together(
    model: PreTrainedModel, layers: list[LayerRecord], notes: Notes, logits: Tensor
) -> Record:
    """The record of a pass, from what was noted of it."""
    assert notes.final is not None
    assert notes.device is not None
    implementation = model.config._attn_implementation or "eager"
    return Record(layers, notes.final, logits, notes.device, implementation)


def run(
    model: PreTrainedModel,
    anatomy: Anatomy,
    input_ids: Tensor,
    n_last: int,
    keep_on: torch.device | str | None,
    edits: Edits | None = None,
) -> tuple[Notes, Tensor]:
    """What one pass on input_ids of shape (T,) leaves in the hooks, and the logits at the last
    positions, (n_last, n_vocab).
    """
    ids = input_ids[None].to(input_device(model))
    # Edits are of rows, which are every position's.
    notes, logits = _run(model, anatomy, ids, n_last, edits is None, keep_on, edits)
    if any(len(stream) != input_ids.numel() for stream in notes.pre.values()):
        # Some models leave out positions whose logits are not asked for.
        notes, logits = _run(model, anatomy, ids, n_last, False, keep_on, edits)
    return notes, logits


def _run(
    model: PreTrainedModel,
    anatomy: Anatomy,
    input_ids: Tensor,
    n_last: int,
    last_only: bool,
    keep_on: torch.device | str | None,
    edits: Edits | None,
) -> tuple[Notes, Tensor]:
    implementation = model.config._attn_implementation or "eager"
    notes = Notes(keep_on, implementation=implementation, open=is_open(implementation))
    notes.n_last = n_last

    layers = {part.attention: n for n, part in enumerate(anatomy.blocks) if part.attention}

    def hear(call: AttentionCall) -> Tensor | None:
        notes.hear(call, input_ids.shape[1])
        if edits is None:
            return None
        layer, kept = layers[call.module], notes.attention[call.module]
        found: Tensor | None = edits.heard(layer, anatomy.blocks[layer], kept, call.output)
        return found

    modules = [part.attention for part in anatomy.blocks if part.attention is not None]
    # What is kept takes part in derivatives later, which tensors made in inference mode cannot.
    with torch.inference_mode(False), torch.no_grad(), ExitStack() as stack:
        stack.enter_context(listening(model, hear, modules=modules))
        if edits is not None:
            # Before the hooks that keep: they are to see what was changed.
            edits.hook(stack, anatomy.blocks)
        hook(stack, anatomy, notes)
        logits = logits_of(model, input_ids, n_last if last_only else None)
    return notes, logits[0, -n_last:].detach().clone()


def hook(stack: ExitStack, anatomy: Anatomy, notes: Notes) -> None:
    """Have what a record is made of noted until the stack is left, attention calls apart."""

    def keep(handle: Any) -> None:
        stack.callback(handle.remove)

    for index, part in enumerate(anatomy.blocks):

        def before_block(_: nn.Module, args: Any, kwargs: Any, index: int = index) -> None:
            stream = first_tensor(args) if args else kwargs.get("hidden_states")
            assert stream is not None
            notes.pre[index] = notes.kept(stream[0])

        def before_attention(_: nn.Module, args: Any, kwargs: Any, index: int = index) -> None:
            notes.arguments[index] = _without_hidden(args, kwargs)

        def before_mlp(_: nn.Module, args: Any, kwargs: Any, index: int = index) -> None:
            stream = first_tensor(args) if args else first_tensor(kwargs)
            assert stream is not None
            notes.mid[index] = notes.kept(stream.reshape(-1, stream.shape[-1]))

        def after_mixer(_module: nn.Module, _args: Any, output: Any, index: int = index) -> None:
            written = first_tensor(output)
            assert written is not None
            notes.mixed[index] = notes.kept(written.reshape(-1, written.shape[-1]))

        keep(part.block.register_forward_pre_hook(before_block, with_kwargs=True))
        if part.attention is not None:
            keep(part.attention.register_forward_pre_hook(before_attention, with_kwargs=True))
        if part.mlp_entry is not None:
            keep(part.mlp_entry.register_forward_pre_hook(before_mlp, with_kwargs=True))
        if part.mixer is not None:
            keep(part.mixer.register_forward_hook(after_mixer))
        for half, writer in _plain_writers(part):
            keep(writer.register_forward_hook(partial(_note_added, notes, index, half)))

    def after_last(_module: nn.Module, _args: Any, output: Any) -> None:
        stream = first_tensor(output)
        assert stream is not None
        notes.final, notes.device = notes.kept(stream[0]), stream.device

    keep(anatomy.blocks[-1].block.register_forward_hook(after_last))


def _plain_writers(part: BlockAnatomy) -> Iterator[tuple[Half, nn.Module]]:
    """The modules whose output is what a sublayer adds to the stream as it is."""
    if part.output_projection is not None and part.attention_join.is_plain:
        yield "attention", part.output_projection
    if len(part.mlp_exits) == 1 and part.mlp_join.is_plain:
        yield "mlp", part.mlp_exits[0]


def _note_added(
    notes: Notes, index: int, half: Half, _module: nn.Module, _args: Any, output: Any
) -> None:
    written = first_tensor(output)
    assert written is not None
    rows = written[0] if written.ndim == 3 else written.reshape(-1, written.shape[-1])
    notes.added[index][half] = rows[-notes.n_last :].clone()


def _without_hidden(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of an attention module with HIDDEN wherever the hidden state stood: it is
    derived again when needed, and some modules take it once each for query, key and value. Masks
    are replaced by their kind.
    """
    hidden = args[0] if args and isinstance(args[0], Tensor) else kwargs.get("hidden_states")
    n_tokens = 0 if hidden is None else hidden.shape[-2]

    def mark(value: Any) -> Any:
        if value is hidden and hidden is not None:
            return HIDDEN
        if isinstance(value, Cache):
            return None
        # Of one token, a mask cannot be told from any other number.
        square = isinstance(value, Tensor) and value.ndim == 4 and value.shape[-1] == n_tokens > 1
        if square and value.shape[-2] == n_tokens and value.shape[0] == value.shape[1] == 1:
            return MaskOf(value.dtype)
        return value

    return tuple(mark(a) for a in args), {k: mark(v) for k, v in kwargs.items()}


def apart(*tensors: Tensor) -> list[Tensor]:
    """The tensors, copied out of their storages where these hold more than what is shown of them
    all (a fused projection of which only the values are still in use, say).
    """
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    shown = sum(t.numel() * t.element_size() for t in tensors)
    return [t.clone() for t in tensors] if sum(storages.values()) > shown else list(tensors)


def collect(anatomy: Anatomy, notes: Notes, edits: Edits | None = None) -> list[LayerRecord]:
    """What was noted, layer by layer.

    Raises:
        UnsupportedModelError: a part of the model did not run.
    """
    layers = []
    for index, part in enumerate(anatomy.blocks):
        expected = [
            index in notes.pre,
            part.mlp is None or index in notes.mid,
            part.mixer is None or index in notes.mixed,
            part.attention is None or part.attention in notes.attention,
            notes.final is not None,
        ]
        if not all(expected):
            raise UnsupportedModelError(
                f"Block {index} ran differently on this prompt than on a short one: its attention "
                "or MLP was not called."
            )
        layer = LayerRecord(notes.pre[index], notes.mid.get(index), notes.mixed.get(index))
        if edits is None or index not in edits.layers:
            layer.added = {half: rows[-1] for half, rows in notes.added[index].items()}
        if part.attention is not None:
            layer.attention = notes.attention[part.attention]
            layer.attention.arguments = notes.arguments[index]
        layers.append(layer)
    return layers
