"""One pass of a whole prompt with derivatives: the streams of every layer, and what a direction
at the last of them becomes when it is pulled back through the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError
from ..model.attention import listening
from ..model.attention_call import AttentionCall, Listener
from ..model.exclusive import exclusive
from ..model.forward import logits_of
from ..model.watch import first_tensor, input_device
from .edits import Edits
from .record import LayerRecord
from .unbroken import unbroken

At = Literal["pre", "mid", "post"]
Place = tuple[int, At]


class Tape:
    """A recorded pass of a prompt.

    Args:
        model: left as it is found.
        anatomy: where it keeps its parts.
        ids: (T,) the prompt.
        frugal: whether to keep nothing but the streams, and to run each block once more on the way
            back: memory for the inner life of one block at a time, for a third more work.
        edits: what is done to parts on the way; not where the tape is frugal.
        layers: of a rerun, what its pass left, for attention that is asked again.

    Attributes:
        streams: {(layer, "pre" | "mid" | "post"): (T, d_model)}; "mid" only where a layer has a
            stream between its sublayers.
    """

    def __init__(
        self, model: PreTrainedModel, anatomy: Anatomy, ids: Tensor, frugal: bool = False,
        edits: Edits | None = None, layers: Sequence[LayerRecord] = (),
    ) -> None:  # fmt: skip
        self.model, self.frugal = model, frugal
        self._kept: dict[Place, Tensor] = {}
        last = len(anatomy.blocks) - 1
        with (
            exclusive(model),
            torch.inference_mode(False),
            torch.enable_grad(),
            ExitStack() as stack,
        ):
            implementation = differentiable(model)
            hear = _nothing if edits is None else _editing(edits, anatomy, layers)
            stack.enter_context(listening(model, hear, implementation=implementation))
            if edits is not None:
                edits.hook(stack, anatomy.blocks)
            for layer, part in enumerate(anatomy.blocks):
                if frugal:
                    stack.enter_context(_run_again_later(part.block))
                self._hook(stack, layer, part.block, None if part.parallel else part.mlp_entry)
            # Ids that were made in inference mode are saved for no way back.
            stack.enter_context(unbroken(model))
            given = ids[None].clone().to(input_device(model))
            logits_of(model, given, 1 if edits is None else None, afresh=self._kept.clear)
            if any(self._rows(stream).shape[0] != ids.numel() for stream in self._kept.values()):
                # Some models leave out positions whose logits are not asked for.
                self._kept.clear()
                logits_of(model, given, afresh=self._kept.clear)
        self._last = self._kept[last, "post"]
        self.streams = {place: self._rows(stream).detach() for place, stream in self._kept.items()}

    def pull(self, directions: Tensor, places: list[Place]) -> list[Tensor]:
        """∂ Σ ⟨directions, last stream⟩ / ∂ stream, for n sets of directions.

        Args:
            directions: (n, T, d_model) at every position of the last stream.
            places: streams, as keys of `streams`.

        Returns:
            (n, T, d_model) for each place, in float32 at least.

        Raises:
            VisitError: no derivative can be taken through this model.
        """
        streams = [self._kept[place] for place in places]
        given = directions.to(self._last).reshape(len(directions), *self._last.shape)
        with (
            exclusive(self.model),
            torch.inference_mode(False),
            torch.enable_grad(),
            ExitStack() as stack,
        ):
            if self.frugal:
                implementation = differentiable(self.model)
                again = listening(self.model, _nothing, implementation=implementation)
                stack.enter_context(again)
            try:
                found = pulled(self._last, streams, given, not self.frugal)
            except RuntimeError:
                # Not every operation's derivative can be taken for several at once.
                rows = [pulled(self._last, streams, one[None], not self.frugal) for one in given]
                found = [torch.cat(column) for column in zip(*rows, strict=True)]
        wide = torch.promote_types(self._last.dtype, torch.float32)
        return [g.reshape(len(directions), -1, g.shape[-1]).to(wide) for g in found]

    @staticmethod
    def _rows(stream: Tensor) -> Tensor:
        return stream.reshape(-1, stream.shape[-1])

    def _hook(
        self, stack: ExitStack, layer: int, block: nn.Module, middle: nn.Module | None
    ) -> None:
        def before(_: nn.Module, args: Any, kwargs: Any) -> Any:
            stream = first_tensor(args) if args else kwargs.get("hidden_states")
            assert stream is not None
            if layer:
                self._kept[layer, "pre"] = stream
                return None
            # Everything before the first block is as it is.
            self._kept[layer, "pre"] = fresh = stream.detach().requires_grad_()
            return (
                ((fresh, *args[1:]), kwargs) if args else ((), {**kwargs, "hidden_states": fresh})
            )

        def between(_: nn.Module, args: Any, kwargs: Any) -> None:
            stream = first_tensor(args) if args else first_tensor(kwargs)
            assert stream is not None
            self._kept[layer, "mid"] = stream

        def after(_module: nn.Module, _args: Any, output: Any) -> None:
            stream = first_tensor(output)
            assert stream is not None
            self._kept[layer, "post"] = stream

        hooks = [block.register_forward_pre_hook(before, with_kwargs=True)]
        hooks.append(block.register_forward_hook(after))
        if middle is not None:
            hooks.append(middle.register_forward_pre_hook(between, with_kwargs=True))
        for hook in hooks:
            stack.callback(hook.remove)


@contextmanager
def _recorded() -> Iterator[None]:
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _nothing(_: AttentionCall) -> None:
    """What is heard changes nothing."""


def _editing(edits: Edits, anatomy: Anatomy, layers: Sequence[LayerRecord]) -> Listener:
    """What answers attention calls as edits do, of the queries, keys and values of this pass."""
    places = {part.attention: n for n, part in enumerate(anatomy.blocks) if part.attention}

    def answer(call: AttentionCall) -> Tensor | None:
        layer = places.get(call.module)
        kept = None if layer is None else layers[layer].attention
        if layer is None or kept is None:
            return None
        here = replace(kept, query=call.query[0], key=call.key[0], value=call.value[0])
        return edits.heard(layer, anatomy.blocks[layer], here, call.output)

    return answer


def differentiable(model: PreTrainedModel) -> str | None:
    """The attention implementation to take derivatives through; None for the model's own."""
    # Flex attention has none on a CPU.
    own = model.config._attn_implementation
    return "eager" if own == "flex_attention" else None


@contextmanager
def _run_again_later(block: nn.Module) -> Iterator[None]:
    """Within the block, what runs in a module is forgotten, to be run again on the way back."""
    own, alone = block.forward, "forward" in vars(block)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(own, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    block.forward = forward
    try:
        yield
    finally:
        if alone:
            block.forward = own
        else:
            del block.forward


def pulled(
    last: Tensor, streams: list[Tensor], directions: Tensor, together: bool = True
) -> list[Tensor]:
    """∂ ⟨direction, last⟩ / ∂ stream for n directions: (n, …) each; zeros where nothing hangs on a
    stream.

    Args:
        last: what the directions read.
        streams: what it hangs on.
        directions: (n, …).
        together: whether they are pulled back at once; else n is 1.

    Raises:
        VisitError: no derivative can be taken through this model.
    """
    try:
        if together:
            found = torch.autograd.grad(
                last, streams, directions,
                retain_graph=True, allow_unused=True, is_grads_batched=True,
            )  # fmt: skip
        else:
            (one,) = directions
            rows = torch.autograd.grad(last, streams, one, retain_graph=True, allow_unused=True)
            found = tuple(None if g is None else g[None] for g in rows)
    except RuntimeError as error:
        if last.requires_grad and len(directions) > 1:
            raise
        raise VisitError(
            "No derivative can be taken through this model, so what a part changes in the "
            f'prediction cannot be told ({error}): use lens="logit".'
        ) from error
    return [
        directions.new_zeros(len(directions), *stream.shape) if g is None else g
        for g, stream in zip(found, streams, strict=True)
    ]
