"""One forward pass, or a padded batch of them, and what hooks note of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

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
from .record import HIDDEN, AttentionRecord, Half, LayerRecord, MaskOf, Record
from .rows import Row


@dataclass
class Notes:
    """What hooks note of one prompt's pass, as `record` puts it together.

    Attributes:
        keep_on: the device to keep tensors on; None for where they are made.
        row: where the prompt stands in a batch; None where it is run by itself.
        implementation: the attention function that the model runs.
        open: whether the mask that it is given is what it goes by.
        n_last: at how many of the last positions it is noted what sublayers added.
    """

    keep_on: torch.device | str | None
    row: Row | None = None
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

    def stream(self, tensor: Tensor) -> Tensor:
        """(T, d) of the prompt, whichever way a module has rows and columns."""
        if self.row is None:
            return tensor.reshape(-1, tensor.shape[-1])
        return self.row.stream(tensor)

    def hear(self, batch: AttentionCall, n_tokens: int) -> None:
        """Keep of an attention call what its rows are derived from again."""
        call = batch if self.row is None else self.row.call(batch)
        mask = self._mask(call, n_tokens, batch.mask)
        query, key, value = (self.kept(t[0]) for t in (call.query, call.key, call.value))
        self.attention[call.module] = AttentionRecord(
            query, key, value, mask, scaling_of(call), call.options, call.attend
        )

    def _mask(self, call: AttentionCall, n_tokens: int, of_batch: Tensor | None) -> RowMask:
        if not self.open:
            return mask_of(call, n_tokens, self.implementation)
        causal = is_causal(call)
        known = (m for given, c, m in self.masks if given is of_batch and c == causal)
        mask = next(known, None)
        if mask is None:
            mask = RowMask.of(call.mask, n_tokens, causal)
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
    notes, logits = run(model, anatomy, input_ids, 1, keep_on, edits)
    return together(model, collect(anatomy, notes, edits), notes, logits[-1])


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
    every = _notes(model, keep_on, rows)
    logits = _run(model, anatomy, ids, every, wanted, given=given)
    lengths = zip(every, rows, strict=True)
    if any(len(stream) != len(row) for notes, row in lengths for stream in notes.pre.values()):
        every = _notes(model, keep_on, rows)
        logits = _run(model, anatomy, ids, every, None, given=given)
    few = logits.shape[1] == len(wanted)
    columns = [wanted.index(last) if few else last for last in lasts]
    return [
        together(model, collect(anatomy, notes), notes, logits[row.index, column].detach().clone())
        for notes, row, column in zip(every, rows, columns, strict=True)
    ]


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
    (notes,) = every = _notes(model, keep_on, [None], n_last)
    logits = _run(model, anatomy, ids, every, n_last if edits is None else None, edits)
    if any(len(stream) != input_ids.numel() for stream in notes.pre.values()):
        # Some models leave out positions whose logits are not asked for.
        (notes,) = every = _notes(model, keep_on, [None], n_last)
        logits = _run(model, anatomy, ids, every, None, edits)
    return notes, logits[0, -n_last:].detach().clone()


def _notes(
    model: PreTrainedModel,
    keep_on: torch.device | str | None,
    rows: Sequence[Row | None],
    n_last: int = 1,
) -> list[Notes]:
    """Empty notes, for each prompt of a pass."""
    implementation = model.config._attn_implementation or "eager"
    is_known = is_open(implementation)
    return [
        Notes(keep_on, row, implementation=implementation, open=is_known, n_last=n_last)
        for row in rows
    ]


def _run(
    model: PreTrainedModel,
    anatomy: Anatomy,
    input_ids: Tensor,
    every: Sequence[Notes],
    wanted: int | Sequence[int] | None,
    edits: Edits | None = None,
    given: dict[str, Any] | None = None,
) -> Tensor:
    """One pass that leaves its notes, and its logits."""
    layers = {part.attention: n for n, part in enumerate(anatomy.blocks) if part.attention}

    def hear(call: AttentionCall) -> Tensor | None:
        query, key, value = apart(call.query, call.key, call.value)
        for notes in every:
            n_tokens = input_ids.shape[1] if notes.row is None else len(notes.row)
            notes.hear(replace(call, query=query, key=key, value=value), n_tokens)
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
        hook(stack, anatomy, every)
        return logits_of(model, input_ids, wanted, given=given)


def hook(stack: ExitStack, anatomy: Anatomy, every: Sequence[Notes]) -> None:
    """Have what a record is made of noted until the stack is left, attention calls apart."""

    def keep(handle: Any) -> None:
        stack.callback(handle.remove)

    for index, part in enumerate(anatomy.blocks):

        def before_block(_: nn.Module, args: Any, kwargs: Any, index: int = index) -> None:
            stream = first_tensor(args) if args else kwargs.get("hidden_states")
            assert stream is not None
            for notes in every:
                notes.pre[index] = notes.kept(notes.stream(stream))

        def before_attention(_: nn.Module, args: Any, kwargs: Any, index: int = index) -> None:
            for notes in every:
                notes.arguments[index] = _without_hidden(args, kwargs, notes.row)

        def before_mlp(_: nn.Module, args: Any, kwargs: Any, index: int = index) -> None:
            stream = first_tensor(args) if args else first_tensor(kwargs)
            assert stream is not None
            for notes in every:
                notes.mid[index] = notes.kept(notes.stream(stream))

        def after_mixer(_module: nn.Module, _args: Any, output: Any, index: int = index) -> None:
            written = first_tensor(output)
            assert written is not None
            for notes in every:
                notes.mixed[index] = notes.kept(notes.stream(written))

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
            notes.final, notes.device = notes.kept(notes.stream(stream)), stream.device

    keep(anatomy.blocks[-1].block.register_forward_hook(after_last))


def _plain_writers(part: BlockAnatomy) -> Iterator[tuple[Half, nn.Module]]:
    """The modules whose output is what a sublayer adds to the stream as it is."""
    if part.output_projection is not None and part.attention_join.is_plain:
        yield "attention", part.output_projection
    if len(part.mlp_exits) == 1 and part.mlp_join.is_plain:
        yield "mlp", part.mlp_exits[0]


def _note_added(
    every: Sequence[Notes], index: int, half: Half, _module: nn.Module, _args: Any, output: Any
) -> None:
    written = first_tensor(output)
    assert written is not None
    for notes in every:
        notes.added[index][half] = notes.stream(written)[-notes.n_last :].clone()


def _without_hidden(
    args: tuple[Any, ...], kwargs: dict[str, Any], row: Row | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of an attention module, as of one prompt, with HIDDEN wherever the hidden state
    stood: it is derived again when needed, and some modules take it once each for query, key and
    value. Masks are replaced by their kind.
    """
    hidden = args[0] if args and isinstance(args[0], Tensor) else kwargs.get("hidden_states")
    n_tokens = 0 if hidden is None else hidden.shape[-2] if row is None else len(row)

    def mark(value: Any) -> Any:
        if value is hidden and hidden is not None:
            return HIDDEN
        if isinstance(value, Cache):
            return None
        value = value if row is None else row.cut(value)
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
