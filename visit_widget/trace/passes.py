"""The passes of a generation, heard as they run and put together.

`generate` runs the prompt once and then one token at a time, with a cache of earlier keys and
values. Each pass leaves the rows of its own tokens: streams, queries, keys and values, what is
masked. Put together they are what one pass over the whole would have left, and no number is
computed twice.

That this is so is seen from the numbers: the tokens that the passes were given have to be the
sequence itself, and what the last query got of the keys and values that were put together has to be
what it got in the pass. Where it is not (keys that were dropped, a cache with columns of its own,
passes over the whole again), there is nothing to put together, and `None` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..model import Anatomy, UnsupportedModelError
from ..model.attention import has_interface, listening
from ..model.attention_call import AttentionCall
from ..model.forward import logits_in
from ..model.precision import wide
from .audit import QUICK
from .bounds import products_round
from .gathered import Part, joined
from .kernels import is_open
from .masks import MaskRow, RowMask
from .prefixes import Prefixes, beginning
from .record import AttentionRecord, Half, Record
from .recording import Notes, apart, collect, hook

# Passes that are put together as soon as there are so many: small tensors are many.
AT_ONCE = 64


class OtherBeginningError(Exception):
    """The model cannot go on from what is known of the first tokens."""


@dataclass
class StepNotes(Notes):
    """Notes on one pass after another.

    Attributes:
        n_said: at how many of the last positions of the first pass it is noted what is added.
        before: tokens that earlier passes have read.
        rows: tokens of this one.
        outputs: by module, what its last query got, (n_heads, d_value).
        known: scaling and function of a module's attention, as the first pass had them.
        seen: by module, what the queries of this pass saw.
        step_masks: masks of this pass that have been read, with what they say.
    """

    n_said: int = 1
    before: int = 0
    rows: int = 0
    outputs: dict[nn.Module, Tensor] = field(default_factory=dict)
    known: dict[nn.Module, AttentionRecord] = field(default_factory=dict)
    seen: dict[nn.Module, tuple[RowMask | MaskRow, ...]] = field(default_factory=dict)
    step_masks: list[tuple[Any, int, tuple[MaskRow, ...]]] = field(default_factory=list)

    def begin(self, n_rows: int) -> None:
        """Forget the last pass, of which everything was taken."""
        self.before, self.rows = self.before + self.rows, n_rows
        # Of a prompt only the last position says something; of what follows, every one may.
        self.n_last = n_rows if self.before else min(n_rows, self.n_said)
        for notes in (self.pre, self.mid, self.mixed, self.arguments, self.attention, self.added):
            notes.clear()
        self.masks, self.step_masks, self.final = [], [], None

    def hear(self, call: AttentionCall, n_tokens: int) -> None:
        """Keep of an attention call the rows of this pass."""
        self.outputs[call.module] = call.output[0, -1]
        if not self.before:
            if call.key.shape[2] != n_tokens:
                raise UnsupportedModelError("A cache has columns of its own.")
            query, key, value = apart(call.query, call.key, call.value)
            super().hear(replace(call, query=query, key=key, value=value), n_tokens)
            kept = self.attention[call.module]
            nothing = call.query.new_empty(0)
            self.known[call.module] = replace(kept, query=nothing, key=nothing, value=nothing)
            self.seen[call.module] = (kept.mask,)
            return
        n_keys = call.key.shape[2]
        if call.query.shape[2] != self.rows or not self.rows <= n_keys <= self.before + self.rows:
            raise UnsupportedModelError("A cache has columns of its own.")
        self.seen[call.module] = self._rows_of(call.mask, n_keys)
        new = (t[:, :, -self.rows :] for t in (call.query, call.key, call.value))
        query, key, value = (self.kept(t[0]) for t in apart(*new))
        self.attention[call.module] = replace(
            self.known[call.module], query=query, key=key, value=value, options=call.options
        )

    def _rows_of(self, given: Any, n_keys: int) -> tuple[MaskRow, ...]:
        """The rows of a mask, the same object where layers share it."""
        known = next((m for g, n, m in self.step_masks if g is given and n == n_keys), None)
        if known is None:
            known = MaskRow.each(given, self.before, self.rows, n_keys)
            if known is None:
                raise UnsupportedModelError("A mask is neither intervals nor a regular bias.")
            self.step_masks = [*self.step_masks[-3:], (given, n_keys, known)]
        return known


class Passes:
    """Listens to a model while it generates.

    Args:
        model: the model.
        anatomy: where it keeps its parts.
        keep_on: device for the kept tensors.
        n_said: at how many of the prompt's last positions something is said that matters.
        begun: what is known already of the prompt's beginning. All but its last token are in the
            cache; that has to come out again as it was.

    Attributes:
        n_begun: how many tokens are in the cache from the beginning.
        ids: the token ids that each pass was given.
        n_passes: how many were run to their end.
        rows: how many tokens each pass was given.
        first: (n, d_model) the last stream of the first pass, as far as it is known.
        said: (n_vocab,) the logits at the last position of the last pass.
        problem: why the passes cannot be put together; None while they can.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        anatomy: Anatomy,
        keep_on: torch.device | str | None,
        n_said: int = 1,
        begun: Record | None = None,
    ) -> None:
        self.model, self.anatomy = model, anatomy
        self.ids: list[Tensor] = []
        self.said: Tensor | None = None
        self.first: Tensor | None = None
        self.n_passes = 0
        self.rows: list[int] = []
        self.implementation = model.config._attn_implementation or "eager"
        self.notes = StepNotes(keep_on, implementation=self.implementation, n_said=n_said)
        self.problem: str | None = None
        self._parts: list[Part] = []
        self._since = 0
        self._layers = {p.attention: n for n, p in enumerate(anatomy.blocks) if p.attention}
        if not has_interface(model):
            self.problem = "The model has attention code of its own."
        elif not is_open(self.implementation):
            self.problem = f"{self.implementation!r} masks by itself."
        self._beginning = begun
        self.n_begun = 0 if begun is None else len(begun.final) - 1
        if begun is not None:
            first = beginning(begun, self.n_begun, begun.logits, [{} for _ in begun.layers])
            self._parts.append(_part_of(first))
            self.notes.rows = self.n_begun
            for module, layer in self._layers.items():
                kept = first.layers[layer].attention
                assert module is not None
                assert kept is not None
                self.notes.known[module] = kept

    def listen(self, stack: ExitStack) -> None:
        """Hear every pass until the stack is left."""
        if self.problem is None:
            modules = [module for module in self._layers if module is not None]
            stack.enter_context(listening(self.model, self._hear, modules=modules))
            hook(stack, self.anatomy, [self.notes])
        for handle in (
            self.model.register_forward_pre_hook(self._before, with_kwargs=True, prepend=True),
            self.model.register_forward_hook(self._after),
        ):
            stack.callback(handle.remove)

    def _hear(self, call: AttentionCall) -> None:
        if self.problem is None:
            try:
                self.notes.hear(call, self.notes.rows)
            except (UnsupportedModelError, RuntimeError, IndexError) as error:
                self.problem = str(error)

    def _before(self, _module: nn.Module, args: Any, kwargs: Any) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        self.rows.append(ids.shape[-1] if isinstance(ids, Tensor) else 0)
        if not isinstance(ids, Tensor) or ids.ndim != 2 or len(ids) != 1:
            self.problem = "The model was given something else than one row of ids."
        if self.problem is None:
            self.ids.append(ids[0])
            self.notes.begin(ids.shape[1])

    def _after(self, _module: nn.Module, _args: Any, output: Any) -> None:
        self.n_passes += 1
        try:
            said = logits_in(output, self.model, self.notes.rows)[0, -1]
            self.said = self.notes.kept(said.detach().clone())
            if self.problem is None:
                self._keep()
        except (UnsupportedModelError, RuntimeError, IndexError, ValueError) as error:
            self.problem = str(error)
        if self._beginning is not None and self.n_passes == 1:
            self._compare(self._beginning)

    def _compare(self, begun: Record) -> None:
        """See that the last of the known tokens comes out as it did.

        Raises:
            OtherBeginningError: it does not.
        """
        if self.problem is not None:
            raise OtherBeginningError
        part, allowed = self._parts[-1], QUICK.get(begun.final.dtype, 1e-4)
        pairs = [(part.final, begun.final)]
        pairs += [(a.pre, b.pre) for a, b in zip(part.layers, begun.layers, strict=True)]
        for ours, theirs in pairs:
            a, b = wide(ours[0]), wide(theirs[-1])
            if not (a - b).norm() <= allowed * b.norm():
                raise OtherBeginningError

    def _keep(self) -> None:
        notes, anatomy = self.notes, self.anatomy
        if self.n_passes == 1 and notes.final is not None and len(notes.final) == notes.rows:
            self.first = notes.final
        layers = collect(anatomy, notes)
        if any(len(layer.pre) != notes.rows for layer in layers):
            raise UnsupportedModelError("The model leaves out rows.")
        added = [dict(notes.added[n]) for n in range(len(layers))]
        masks = [() if p.attention is None else notes.seen[p.attention] for p in anatomy.blocks]
        end = notes.before + notes.rows
        noted = list(range(end - notes.n_last, end))
        assert notes.final is not None
        self._parts.append(Part(notes.rows, layers, masks, notes.final, noted, added))
        self._since += 1
        if self._since == AT_ONCE:
            # What was put together before stays apart: to copy it each time would add up.
            self._parts[-AT_ONCE:] = [joined(self._parts[-AT_ONCE:])]
            self._since = 0

    def together(self, ids: Sequence[int], shortest: int) -> Prefixes | None:
        """All passes as one, and those that said the new tokens as its beginnings; None where they
        cannot be put together. Their logits are left to whoever noted them.

        Args:
            ids: the whole sequence, the prompt and what came after it.
            shortest: tokens that the first of the new tokens came after.
        """
        known = self.n_begun
        given = [*ids[:known], *(token for some in self.ids for token in some.tolist())]
        n_tokens = sum(part.n_tokens for part in self._parts)
        if self.problem is None and (
            given[:n_tokens] != list(ids[:n_tokens]) or n_tokens < len(ids) - 1
        ):
            self.problem = "The passes were over something else than the sequence."
        if self.problem is not None:
            return None
        try:
            part = joined(self._parts)
            self._parts = [part]
            whole = _whole(self.model, part, self.notes)
            self._check(whole)
            at = [part.noted.index(position) for position in range(shortest - 1, len(ids) - 1)]
        except (UnsupportedModelError, RuntimeError, IndexError, ValueError) as error:
            self.problem = str(error)
            return None
        added = [{half: rows[at] for half, rows in some.items()} for some in part.added]
        return Prefixes(whole, shortest, whole.final.new_empty(0), added, in_steps=True)

    def _check(self, whole: Record) -> None:
        """See that the last query got of what was put together what it got in the pass."""
        at = len(whole.final) - 1
        for layer, part in zip(whole.layers, self.anatomy.blocks, strict=True):
            kept = layer.attention
            if kept is None:
                continue
            assert part.attention is not None
            theirs = wide(self.notes.outputs[part.attention])
            query, key, value = (
                t.to(theirs.device, torch.promote_types(t.dtype, torch.float32))[None]
                for t in (kept.query[:, at:], kept.key, kept.value)
            )
            mask = kept.mask.row(at, key.shape[2], query.dtype, query.device)
            with torch.no_grad():
                ours, _ = kept.attend(
                    part.attention, query, key, value, mask, scaling=kept.scaling, dropout=0.0,
                    **kept.options,
                )  # fmt: skip
            off = float((wide(ours).reshape(theirs.shape) - theirs).norm() / theirs.norm())
            eps = torch.finfo(kept.query.dtype).eps
            if not off <= max(1e-5, 8 * eps, 8 * products_round(theirs.device)):
                raise UnsupportedModelError(f"The last query got something else (off {off:.0e}).")


def _part_of(begun: Record) -> Part:
    """What is known of the first tokens."""
    masks: list[tuple[RowMask | MaskRow, ...]] = [
        () if k.attention is None else (k.attention.mask,) for k in begun.layers
    ]
    nothing: list[dict[Half, Tensor]] = [{} for _ in begun.layers]
    return Part(len(begun.final), list(begun.layers), masks, begun.final, [], nothing)


def _whole(model: PreTrainedModel, part: Part, notes: Notes) -> Record:
    """The record of a part that is everything."""
    known: dict[tuple[int, ...], RowMask] = {}
    for layer, masks in zip(part.layers, part.masks, strict=True):
        if layer.attention is None:
            continue
        key = tuple(map(id, masks))
        if key not in known:
            mask = RowMask.grown(masks)
            if mask is None:
                raise UnsupportedModelError("The masks of the passes do not fit together.")
            known[key] = mask
        layer.attention.mask = known[key]
    assert notes.device is not None
    implementation = model.config._attn_implementation or "eager"
    nothing = part.final.new_empty(0)
    return Record(part.layers, part.final, nothing, notes.device, implementation)
