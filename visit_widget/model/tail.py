"""What a model does after its last block: the final norm, the unembedding, scales and a softcap.

One more pass tells. In it the norm and the unembedding give numbers of our choosing, in double
precision and over several magnitudes, so that what is done to them shows to the last digit: in half
precision, and on small logits, a softcap would look like nothing at all. The prompt's last token is
another one in that pass, so that it also shows whether earlier positions look at later ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .errors import UnsupportedModelError
from .find import is_linear_like, is_norm_like, outermost, refuse, same
from .forward import logits_of
from .joins import scalar, settle
from .loaded import eval_mode
from .precision import careful, noise, resolution, widest
from .replica import FAILURES
from .watch import Call, Watched, first_tensor, input_device


@dataclass(frozen=True)
class Tail:
    """What follows the last block.

    Attributes:
        final_norm: the norm before the unembedding, if any.
        unembedding: the last linear map.
        head_scale: factor between the two.
        logit_scale: factor on the logits.
        softcap: of the logits, if any.
    """

    final_norm: nn.Module | None
    unembedding: nn.Module
    head_scale: float = 1.0
    logit_scale: float = 1.0
    softcap: float | None = None


@dataclass
class _Probe:
    """What was given and made in the pass with our numbers; None where it was not to be had."""

    normed: Tensor | None = None
    into_head: Tensor | None = None
    from_head: Tensor | None = None
    last: Tensor | None = None
    logits: Tensor | None = None


class TailReader:
    """Reads what follows the last block.

    Args:
        model: the model.
        seen: a pass of it.
        whole: the model's own call in it.
        last: the last block's call.
        input_ids: (1, T) of that pass.
    """

    def __init__(
        self, model: PreTrainedModel, seen: Watched, whole: Call, last: Call, input_ids: Tensor
    ) -> None:
        self.model, self.seen, self.whole, self.last = model, seen, whole, last
        self.head = self._head()
        self.norms = [
            c for c in seen.calls if is_norm_like(c.module) and same(c.input, last.output)
        ]
        self.probe = self._probed(input_ids)

    def is_causal(self) -> bool:
        """Whether earlier positions stay the same when the last token changes."""
        before, after = self.last.output, self.probe.last
        if after is None or after.shape != before.shape:
            return False
        before, after = before[0, :-1].float(), after[0, :-1].float()
        near = 16 * torch.finfo(self.last.output.dtype).eps
        return bool((before - after).norm() <= max(near, 1e-6) * before.norm())

    def read(self) -> Tail:
        """The tail.

        Raises:
            UnsupportedModelError: naming what was not understood.
        """
        if self.head is None:
            raise UnsupportedModelError(
                f"{type(self.model).__name__} has no language-model head. Load it with "
                "AutoModelForCausalLM."
            )
        norm, head_scale = self._final_norm(self.head)
        logit_scale, softcap = self._after_head(self.head)
        return Tail(norm, self.head.module, head_scale, logit_scale, softcap)

    def _head(self) -> Call | None:
        module = self.model.get_output_embeddings()
        found = None if module is None else self.seen.of(module)
        if found is not None:
            return found
        linear = [c for c in self.seen.calls if is_linear_like(c.module)]
        return outermost(linear, lambda c: same(c.output, self.whole.output))

    # The pass with our numbers.

    def _probed(self, input_ids: Tensor) -> _Probe:
        changed = input_ids.clone()
        ids = input_ids[0]
        changed[0, -1] = ids[0] if ids[0] != ids[-1] else ids[-1] // 2
        try:
            return self._run(changed, _Probe(), ours=True)
        except FAILURES:
            # It cannot go on from numbers in double precision.
            return self._run(changed, _Probe(), ours=False)

    def _run(self, input_ids: Tensor, probe: _Probe, ours: bool) -> _Probe:
        with ExitStack() as stack:

            def after_last(_module: nn.Module, _args: Any, output: Any) -> None:
                probe.last = first_tensor(output)

            stack.callback(self.last.module.register_forward_hook(after_last).remove)
            if ours:
                self._put_numbers(stack, probe)
            stack.enter_context(torch.no_grad())
            stack.enter_context(eval_mode(self.model))
            given = input_ids.to(input_device(self.model))
            said = logits_of(self.model, given)
        probe.logits = said if ours else None
        return probe

    def _put_numbers(self, stack: ExitStack, probe: _Probe) -> None:
        reads = self.last.output if self.head is None else self.head.input
        assert reads is not None
        own = reads.dtype

        def after_norm(_module: nn.Module, _args: Any, output: Any) -> Any:
            # A norm may serve in other places too.
            if probe.last is None or not isinstance(output, Tensor):
                return None
            probe.normed = _numbers(output, seed=5)
            return probe.normed

        def before_head(_module: nn.Module, args: Any) -> Any:
            if probe.last is None or not args or not isinstance(args[0], Tensor):
                return None
            probe.into_head = args[0]
            return (args[0].to(own), *args[1:])

        def after_head(_module: nn.Module, _args: Any, output: Any) -> Any:
            if probe.last is None or not isinstance(output, Tensor):
                return None
            probe.from_head = _numbers(output, seed=6)
            return probe.from_head

        for call in self.norms:
            stack.callback(call.module.register_forward_hook(after_norm).remove)
        if self.head is not None:
            stack.callback(self.head.module.register_forward_pre_hook(before_head).remove)
            stack.callback(self.head.module.register_forward_hook(after_head).remove)

    # What it tells.

    def _final_norm(self, head: Call) -> tuple[nn.Module | None, float]:
        """The norm between the last block and the unembedding, and the factor after it."""
        last = self.last.output
        assert head.input is not None
        into = head.input.reshape(1, -1, head.input.shape[-1])
        if same(last, into):
            return None, 1.0
        readers = [c for c in self.seen.calls if same(c.input, last)]
        exact = outermost(self.norms, lambda c: same(c.output, into))
        if exact is not None:
            return exact.module, 1.0
        for call in self.norms:
            factor = self._factor(into, call.output, self.probe.into_head, self.probe.normed)
            if factor is not None:
                return call.module, factor
        factor = scalar(into, last, self.model)
        if factor is not None:
            return None, factor
        other = outermost(readers, lambda c: same(c.output, into))
        between = "" if other is None else f" ({type(other.module).__name__})"
        raise refuse(
            f"What {type(self.model).__name__} does between its last block and the unembedding"
            f"{between} is not a norm, so that a logit is no sum over the parts of the stream."
        )

    def _factor(
        self, seen_made: Tensor, seen_given: Tensor, made: Tensor | None, given: Tensor | None
    ) -> float | None:
        """The factor between what was given and made, as the pass shows it to its rounding and our
        numbers to the last digit.
        """
        rough = scalar(seen_made, seen_given, self.model)
        if rough is None or made is None or given is None or made.numel() != given.numel():
            return rough
        fine = scalar(made.reshape(given.shape), given, self.model)
        return rough if fine is None else fine

    def _after_head(self, head: Call) -> tuple[float, float | None]:
        """The factor on the unembedding's output, and the softcap."""
        made, given = self.probe.logits, self.probe.from_head
        if made is None or given is None or made.numel() != given.numel():
            made, given = self.whole.output, head.output
        if same(made, given):
            return 1.0, None
        if made.numel() == given.numel():
            fitting = self._fitting(made, given.reshape(made.shape).to(made.dtype))
            if fitting:
                _, factor, softcap = min(fitting, key=lambda f: f[0])
                return factor, softcap
        raise refuse(
            f"The logits of {type(self.model).__name__} are not what its unembedding gives, scaled "
            "or softly capped."
        )

    def _fitting(self, made: Tensor, given: Tensor) -> list[tuple[float, float, float | None]]:
        """(how far off, the factor, the softcap) of what explains the logits."""
        eps = resolution(made)
        fitting: list[tuple[float, float, float | None]] = []
        factor = scalar(made, given, self.model)
        made, given = careful(made), careful(given)
        if factor is not None:
            fitting.append((float((given * factor - made).norm()), factor, None))
        for cap in _caps(self.model):
            # Far from the cap, where the inverse is well behaved, it shows what was capped.
            open_ = (made / cap).abs() < 0.99
            inner = torch.atanh(made[open_] / cap) * cap
            scale = float((inner * given[open_]).sum() / given[open_].square().sum())
            for factor in (1.0, float(settle(scale, self.model, eps))):
                off = (torch.tanh(given * factor / cap) * cap - made).norm()
                if off <= 8 * eps * made.norm():
                    fitting.append((float(off), factor, cap))
        return fitting


def _numbers(like: Tensor, seed: int) -> Tensor:
    """Random numbers over several magnitudes, in the widest dtype, shaped like another tensor."""
    made = noise(*like.shape, seed=seed, device=like.device).to(widest(like.device))
    sizes = torch.logspace(-1, 2, like.shape[-1], dtype=made.dtype, device="cpu").to(made.device)
    return made * sizes


def _caps(model: PreTrainedModel) -> Sequence[float]:
    """What the config has of caps."""
    config = vars(model.config.get_text_config())
    found = {
        float(v) for k, v in config.items() if "cap" in k and isinstance(v, (int, float)) and v
    }
    return sorted(found)
