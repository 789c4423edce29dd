"""A normalisation layer as an affine map whose scale can be frozen.

Every norm that `transformers` decoders use (LayerNorm, RMSNorm, Gemma's one-plus-weight RMSNorm,
norms without
weights) has the form

    N(x) = gain ⊙ s(x) · c(x) + bias,      c(x) = x − mean(x) if the norm centres, else x

with a scalar s(x). Once s is frozen at an observed vector, N is affine, and a sum goes through it
part by part:
that is what makes attribution through norms exact. `gain`, `bias` and whether it centres are read
off the module's own outputs on probes, not off its attributes, so that any implementation is
understood or refused. Hooks that somebody put on the norm are part of it.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn

from .errors import UnsupportedModelError
from .loaded import weights_at_hand
from .precision import noise

# Our own hooks are told from others by where they were defined.
_OURS = __name__.partition(".")[0]


class Norm:
    """One norm module of a model, with arithmetic in at least float32.

    Args:
        module: the model's norm, mapping (..., width) to (..., width).
        width: size of the last dimension.
        dtype: dtype to compute in (float64 for a float64 model, else float32).
        device: where to compute.
        name: how to call it in an error.

    Attributes:
        gain: (width,).
        bias: (width,); zeros for norms without one.
        centres: whether the mean is subtracted first.

    Raises:
        UnsupportedModelError: the module is not of the form above.
    """

    def __init__(
        self,
        module: nn.Module,
        width: int,
        dtype: torch.dtype,
        device: torch.device,
        name: str = "a norm",
    ) -> None:
        self.module = _bare_copy(module, dtype, device)
        self.width, self.name = width, name
        self._rounding = 0.0
        with torch.no_grad():
            self._probe(dtype, device)

    def _probe(self, dtype: torch.dtype, device: torch.device) -> None:
        zero = torch.zeros(self.width, dtype=dtype, device=device)
        # Large alternating values: mean zero, variance known, and far above any epsilon.
        signs = torch.ones_like(zero)
        signs[1::2] = -1
        if self.width % 2 and self.width > 2:
            signs[-3:] = torch.tensor([2.0, -1.0, -1.0], dtype=dtype, device=device)
        signs = signs / signs.square().mean().sqrt()
        probe = noise(self.width, seed=7).to(signs)
        # One by one: norms of heads may have a row of gains for each head.
        moved, own = self(probe + 3), self(probe)
        self.bias = self(zero)
        self.gain = (self(signs * 2**14) - self.bias) / signs
        self.centres = bool((moved - own).norm() < 0.05 * moved.norm())
        expected = self.forward_frozen(probe, self.scale(probe))
        error = (expected - own).norm() / own.norm().clamp_min(1e-30)
        if not error < max(1e-4, 2 * self._rounding):
            raise UnsupportedModelError(
                f"{self.name} ({type(self.module).__name__}) is not a layer norm or an RMS norm: "
                "its output is off "
                f"the formula by {float(error):.1e}. Pass an Anatomy that names another module "
                "for it."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """N(x) for x of shape (..., width), the scale computed on each vector itself."""
        if not (self.module._forward_hooks or self.module._forward_pre_hooks):
            result: Tensor = self.module(x)
            return result
        # Hooks expect a batch of prompts, and may round.
        rows: Tensor = self.module(x.reshape(-1, 1, x.shape[-1]))
        self._rounding = max(self._rounding, torch.finfo(rows.dtype).eps)
        return rows.reshape(x.shape).to(x.dtype)

    def centre(self, x: Tensor) -> Tensor:
        """c(x), shape as x."""
        return x - x.mean(-1, keepdim=True) if self.centres else x

    def scale(self, x: Tensor) -> Tensor:
        """The scalar s(x) that the module applies to each vector of x: (..., width) → (..., 1)."""
        direction = self.gain * self.centre(x)
        length = direction.square().sum(-1, keepdim=True)
        along = ((self(x) - self.bias) * direction).sum(-1, keepdim=True)
        return along / length.clamp_min(torch.finfo(x.dtype).tiny)

    def forward_frozen(self, x: Tensor, scale: Tensor) -> Tensor:
        """N(x) with the scale frozen: affine in x."""
        return self.linear(x, scale) + self.bias

    def linear(self, x: Tensor, scale: Tensor) -> Tensor:
        """The linear part of the frozen norm: what a summand x becomes. (..., width) → (...,
        width).
        """
        return self.gain * scale * self.centre(x)

    def pull_back(self, direction: Tensor, scale: Tensor) -> Tensor:
        """The direction d' with ⟨d', x⟩ = ⟨direction, linear(x)⟩ for every x. (..., width) → (...,
        width).
        """
        return scale * self.centre(self.gain * direction)


def _bare_copy(module: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """A copy of a leaf module with its own tensors and nothing of ours on it, nor anything that
    brings weights from elsewhere.
    """
    twin = copy.copy(module)
    twin.__dict__ = dict(vars(module))
    with weights_at_hand(module):
        for store in ("_parameters", "_buffers"):
            tensors = getattr(module, store)
            moved = {
                k: None if t is None else _moved(t.detach(), dtype, device)
                for k, t in tensors.items()
            }
            twin.__dict__[store] = moved
    for store in list(twin.__dict__):
        if store in ("_forward_hooks", "_forward_pre_hooks"):
            kept = [(k, hook) for k, hook in vars(module)[store].items() if not _is_ours(hook)]
            twin.__dict__[store] = OrderedDict(kept)
        elif store.endswith("_hooks"):
            twin.__dict__[store] = OrderedDict()
    if "_hf_hook" in twin.__dict__:
        # With it, `forward` belongs to the module that was copied.
        for name in ("_hf_hook", "forward", "_old_forward"):
            twin.__dict__.pop(name, None)
    twin.__dict__["_compiled_call_impl"] = None
    twin.training = False
    return twin


def _moved(tensor: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)


def _is_ours(hook: object) -> bool:
    return str(getattr(hook, "__module__", "")).partition(".")[0] == _OURS
