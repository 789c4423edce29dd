"""One forward pass, and what is kept of it: the stream at every layer, and queries, keys and
values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
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
from .rows import Row

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
class _Notes:
    """What the hooks note of one prompt."""

    row: Row
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
    final: Tensor | None = None
    device: torch.device | None = None

    def kept(self, tensor: Tensor) -> Tensor:
        """The tensor where it is to be kept."""
        return tensor if self.keep_on is None else tensor.to(self.keep_on)

    def hear(self, batch: AttentionCall) -> None:
        """Keep of an attention call what its rows are derived from again."""
        call = self.row.call(batch)
        mask = self._mask(call, batch.mask)
        query, key, value = (self.kept(t[0]) for t in (call.query, call.key, call.value))
        self.attention[call.module] = AttentionRecord(
            query, key, value, mask, scaling_of(call), call.options, call.attend
        )

    def _mask(self, call: AttentionCall, of_batch: Tensor | None) -> RowMask:
        if not self.open:
            return mask_of(call, len(self.row), self.implementation)
        causal = is_causal(call)
        known = (m for given, c, m in self.masks if given is of_batch and c == causal)
        mask = next(known, None)
        if mask is None:
            mask = RowMask.of(call.mask, len(self.row), causal)
            # Most layers share a mask or two; where each has its own, they are not all kept alive.
            self.masks = [*self.masks[-3:], (of_batch, causal, mask)]
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
    ids, rows = input_ids[None].to(input_device(model)), [Row.alone(input_ids.numel())]
    # Edits are of rows, which are every position's.
    notes, logits = _run(model, anatomy, ids, rows, {}, edits is None, keep_on, edits)
    if any(len(stream) != input_ids.numel() for stream in notes[0].pre.values()):
        # Some models leave out positions whose logits are not asked for.
        notes, logits = _run(model, anatomy, ids, rows, {}, False, keep_on, edits)
    return _record(model, anatomy, notes[0], logits[0, -1], edits)


def record_rows(
    model: PreTrainedModel,
    anatomy: Anatomy,
    input_ids: Tensor,
    rows: Sequence[Row],
    given: dict[str, Any],
    keep_on: torch.device | str | None = None,
) -> list[Record]:
    """Run the model once on a padded batch, and keep of each prompt what `record` keeps of it.

    Args:
        model: to run.
        anatomy: where it keeps its parts.
        input_ids: (n_rows, n_columns).
        rows: where the prompts stand in it.
        given: what the model is given besides: its mask, and positions where they are needed.
        keep_on: as in `trace`.
    """
    ids, lasts = input_ids.to(input_device(model)), [row.end - 1 for row in rows]
    given = {name: value.to(ids.device) for name, value in given.items()}
    wanted = sorted(set(lasts))
    notes, logits = _run(model, anatomy, ids, rows, given, wanted, keep_on, None)
    if any(len(s) != len(n.row) for n in notes for s in n.pre.values()):
        notes, logits = _run(model, anatomy, ids, rows, given, False, keep_on, None)
    few = logits.shape[1] == len(wanted)
    columns = [wanted.index(last) if few else last for last in lasts]
    return [
        _record(model, anatomy, n, logits[n.row.index, column], None)
        for n, column in zip(notes, columns, strict=True)
    ]


def _record(
    model: PreTrainedModel,
    anatomy: Anatomy,
    notes: _Notes,
    logits: Tensor,
    edits: Edits | None,
) -> Record:
    layers = _collect(anatomy, notes, edits)
    assert notes.final is not None
    assert notes.device is not None
    implementation = model.config._attn_implementation or "eager"
    return Record(layers, notes.final, logits.detach().clone(), notes.device, implementation)


def _run(
    model: PreTrainedModel,
    anatomy: Anatomy,
    input_ids: Tensor,
    rows: Sequence[Row],
    given: dict[str, Any],
    wanted: bool | Sequence[int],
    keep_on: torch.device | str | None,
    edits: Edits | None,
) -> tuple[list[_Notes], Tensor]:
    """What one pass leaves in the hooks, by prompt, and its logits."""
    implementation = model.config._attn_implementation or "eager"
    is_known = is_open(implementation)
    every = [_Notes(row, keep_on, implementation=implementation, open=is_known) for row in rows]

    layers = {part.attention: n for n, part in enumerate(anatomy.blocks) if part.attention}

    def hear(call: AttentionCall) -> Tensor | None:
        query, key, value = _apart(call.query, call.key, call.value)
        for notes in every:
            notes.hear(replace(call, query=query, key=key, value=value))
        if edits is None:
            return None
        layer, kept = layers[call.module], every[0].attention[call.module]
        found: Tensor | None = edits.heard(layer, anatomy.blocks[layer], kept, call.output)
        return found

    modules = [part.attention for part in anatomy.blocks if part.attention is not None]
    # What is kept takes part in derivatives later, which tensors made in inference mode cannot.
    with torch.inference_mode(False), torch.no_grad(), ExitStack() as stack:
        stack.enter_context(listening(model, hear, modules=modules))
        if edits is not None:
            # Before the hooks that keep: they are to see what was changed.
            edits.hook(stack, anatomy.blocks)
        _hook(stack, anatomy, every)
        logits = logits_of(model, input_ids, wanted, given=given)
    return every, logits


def _hook(stack: ExitStack, anatomy: Anatomy, every: Sequence[_Notes]) -> None:
    def keep(handle: Any) -> None:
        stack.callback(handle.remove)

    for index, part in enumerate(anatomy.blocks):

        def before_block(_: nn.Module, args: Any, kwargs: Any, index: int = index) -> None:
            stream = first_tensor(args) if args else kwargs.get("hidden_states")
            assert stream is not None
            for notes in every:
                notes.pre[index] = notes.kept(notes.row.stream(stream))

        def before_attention(_: nn.Module, args: Any, kwargs: Any, index: int = index) -> None:
            for notes in every:
                notes.arguments[index] = _without_hidden(args, kwargs, notes.row)

        def before_mlp(_: nn.Module, args: Any, kwargs: Any, index: int = index) -> None:
            stream = first_tensor(args) if args else first_tensor(kwargs)
            assert stream is not None
            for notes in every:
                notes.mid[index] = notes.kept(notes.row.stream(stream))

        def after_mixer(_module: nn.Module, _args: Any, output: Any, index: int = index) -> None:
            written = first_tensor(output)
            assert written is not None
            for notes in every:
                notes.mixed[index] = notes.kept(notes.row.stream(written))

        keep(part.block.register_forward_pre_hook(before_block, with_kwargs=True))
        if part.attention is not None:
            keep(part.attention.register_forward_pre_hook(before_attention, with_kwargs=True))
        if part.mlp_entry is not None:
            keep(part.mlp_entry.register_forward_pre_hook(before_mlp, with_kwargs=True))
        if part.mixer is not None:
            keep(part.mixer.register_forward_hook(after_mixer))
        for half, writer in _plain_writers(part):
            keep(writer.register_forward_hook(partial(_note_added, every, index, half)))

    def after_last(_module: nn.Module, _args: Any, output: Any) -> None:
        stream = first_tensor(output)
        assert stream is not None
        for notes in every:
            notes.final, notes.device = notes.kept(notes.row.stream(stream)), stream.device

    keep(anatomy.blocks[-1].block.register_forward_hook(after_last))


def _plain_writers(part: BlockAnatomy) -> Iterator[tuple[Half, nn.Module]]:
    """The modules whose output is what a sublayer adds to the stream as it is."""
    if part.output_projection is not None and part.attention_join.is_plain:
        yield "attention", part.output_projection
    if len(part.mlp_exits) == 1 and part.mlp_join.is_plain:
        yield "mlp", part.mlp_exits[0]


def _note_added(
    every: Sequence[_Notes], index: int, half: Half, _module: nn.Module, _args: Any, output: Any
) -> None:
    written = first_tensor(output)
    assert written is not None
    for notes in every:
        notes.added[index][half] = notes.row.stream(written)[-1].clone()


def _without_hidden(
    args: tuple[Any, ...], kwargs: dict[str, Any], row: Row
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of an attention module, as of one prompt, with HIDDEN wherever the hidden state
    stood: it is derived again when needed, and some modules take it once each for query, key and
    value. Masks are replaced by their kind.
    """
    hidden = args[0] if args and isinstance(args[0], Tensor) else kwargs.get("hidden_states")
    n_tokens = 0 if hidden is None else hidden.shape[-2] if row.is_all else len(row)

    def mark(value: Any) -> Any:
        if value is hidden and hidden is not None:
            return HIDDEN
        if isinstance(value, Cache):
            return None
        value = row.cut(value)
        square = isinstance(value, Tensor) and value.ndim == 4 and value.shape[-1] == n_tokens
        if square and value.shape[-2] == n_tokens and value.shape[0] == value.shape[1] == 1:
            return MaskOf(value.dtype)
        return value

    return tuple(mark(a) for a in args), {k: mark(v) for k, v in kwargs.items()}


def _apart(*tensors: Tensor) -> list[Tensor]:
    """The tensors, copied out of their storages where these hold more than what is shown of them
    all (a fused projection of which only the values are still in use, say).
    """
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    shown = sum(t.numel() * t.element_size() for t in tensors)
    return [t.clone() for t in tensors] if sum(storages.values()) > shown else list(tensors)


def _collect(anatomy: Anatomy, notes: _Notes, edits: Edits | None) -> list[LayerRecord]:
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
            layer.added = notes.added[index]
        if part.attention is not None:
            layer.attention = notes.attention[part.attention]
            layer.attention.arguments = notes.arguments[index]
        layers.append(layer)
    return layers
