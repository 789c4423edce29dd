"""The matrix of a linear module, whichever way the module keeps it.

Plain weights are read. Anything else (adapters, quantised or offloaded weights, a module with
somebody's hooks on it) is applied to the identity: what is read is what the module does when the
model runs. A module that is not linear is refused.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from .errors import UnsupportedModelError
from .loaded import eval_mode, is_changed, tensors_of, weights_at_hand
from .precision import noise
from .watch import device_of

# Bytes of matrices that were read by applying a module, and are kept until it goes.
KEPT_BYTES = 2**28
# Rows of the identity that a module is given at once.
ROWS_AT_ONCE = 1024


def is_plain(module: nn.Module) -> bool:
    """Whether what the module computes is x W + b with its own weights, and these can be read.

    Weights that are put away, and quantised ones, which are tensors of another kind, cannot be.
    """
    return _is_ordinary(module) and not any(p.is_meta for p in module.parameters())


def linear_map(module: nn.Module, n_in: int, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """W of shape (n_in, n_out) and b of shape (n_out,) or None, with module(x) = x W + b.

    `Conv1D` stores [in, out], `nn.Linear` [out, in]. The result may share memory with the module's
    weight: do not write to it.

    Raises:
        UnsupportedModelError: the module is not linear.
    """
    if is_plain(module):
        return _stored(module, dtype)
    if _is_ordinary(module):
        with weights_at_hand(module):
            return _stored(module, dtype)
    return _kept.read(module, n_in, dtype)


def linear_row(
    module: nn.Module, n_in: int, index: int, dtype: torch.dtype
) -> tuple[Tensor, float]:
    """The column of W (n_in,) and the number of b that make one number of the output.

    Raises:
        UnsupportedModelError: the module is not linear.
    """
    if type(module) is nn.Linear and is_plain(module):
        bias = 0.0 if module.bias is None else float(module.bias[index].detach())
        return module.weight[index].detach().to(dtype), bias
    row = _by_derivative(module, n_in, index, dtype)
    if row is not None:
        return row
    matrix, vector = linear_map(module, n_in, dtype)
    return matrix[:, index], 0.0 if vector is None else float(vector[index])


def apply(module: nn.Module, x: Tensor) -> Tensor:
    """module(x) for x of shape (n, n_in), each row a prompt of one token to the module and its
    hooks, in eval mode: (n, n_out).
    """
    with eval_mode(module):
        result: Tensor = module(x[:, None])[:, 0]
    return result


def input_dtype(module: nn.Module, otherwise: torch.dtype) -> torch.dtype:
    """The dtype that a module computes in, as far as its weights say."""
    floating = (t.dtype for t in tensors_of(module) if t.is_floating_point())
    # Eight-bit floats are a way to store numbers, not to compute with them.
    return next((d for d in floating if torch.finfo(d).bits >= 16), otherwise)


def _is_ordinary(module: nn.Module) -> bool:
    if type(module) not in (nn.Linear, Conv1D) or is_changed(module):
        return False
    return all(type(p) in (nn.Parameter, Tensor) for p in module.parameters())


def _stored(module: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    matrix = weight.detach() if type(module) is Conv1D else weight.detach().T
    return matrix.to(dtype), bias.detach().to(dtype) if isinstance(bias, Tensor) else None


@dataclass(frozen=True)
class _Reading:
    """A matrix that was read by applying a module.

    Attributes:
        probe: (2, n_in) zeros, and a random row.
        answer: (2, n_out) what the module gave for it: the reading holds while it gives that.
        weight: (n_in, n_out).
        bias: (n_out,) or None.
    """

    probe: Tensor
    answer: Tensor
    weight: Tensor
    bias: Tensor | None


class _Kept:
    """Readings by module and dtype, the oldest given up first; none outlasts its module.

    That a reading holds is asked of the module itself, with one row: an adapter that was switched
    off, or a steering hook that was changed, leaves no trace in the weights.
    """

    def __init__(self) -> None:
        self._readings: OrderedDict[tuple[int, torch.dtype], _Reading] = OrderedDict()
        self._watched: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def read(
        self, module: nn.Module, n_in: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None]:
        key = id(module), dtype
        found = self._readings.get(key)
        with torch.inference_mode(False), torch.no_grad():
            if found is None or not _holds(found, module):
                found = _apply_to_identity(module, n_in, dtype)
                self._keep(key, module, found)
        return found.weight, found.bias

    def _keep(self, key: tuple[int, torch.dtype], module: nn.Module, reading: _Reading) -> None:
        self._readings[key] = reading
        self._readings.move_to_end(key)
        if module not in self._watched:
            self._watched.add(module)
            weakref.finalize(module, self._forget, id(module)).atexit = False
        while sum(r.weight.nbytes for r in self._readings.values()) > KEPT_BYTES:
            self._readings.popitem(last=False)

    def _forget(self, number: int) -> None:
        for key in [k for k in self._readings if k[0] == number]:
            del self._readings[key]


_kept = _Kept()


def _holds(reading: _Reading, module: nn.Module) -> bool:
    return torch.equal(apply(module, reading.probe), reading.answer)


def _apply_to_identity(module: nn.Module, n_in: int, dtype: torch.dtype) -> _Reading:
    own = input_dtype(module, dtype)
    device = device_of(module) or torch.device("cpu")
    row = noise(n_in, seed=11)
    probe = torch.stack([torch.zeros_like(row), row]).to(device=device, dtype=own)
    try:
        answer = apply(module, probe)
    except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
        raise UnsupportedModelError(
            f"The matrix of a {type(module).__name__} could not be read: applied to one vector on "
            f"its own, it gave {type(error).__name__} ({error}). Load the model without what was "
            "put on this module, or unquantised."
        ) from error
    offset = answer[0].to(dtype)
    identity = torch.eye(n_in, dtype=own, device=device)
    weight = torch.cat([apply(module, rows).to(dtype) for rows in identity.split(ROWS_AT_ONCE)])
    weight -= offset
    ours = probe[1].to(dtype) @ weight + offset
    off = float((ours - answer[1].to(dtype)).norm() / ours.norm().clamp_min(1e-30))
    if not off <= rounding(module, answer.dtype):
        raise UnsupportedModelError(
            f"What {type(module).__name__} computes is not linear (off by {off:.1e}), so it is no "
            "sum over what enters it. Where activations are quantised, load the model with "
            "weight-only quantisation (of 4 bits, or torchao's and quanto's of 8); where a hook "
            "changes the output, take it off."
        )
    return _Reading(probe, answer, weight, offset if bool(offset.any()) else None)


def rounding(module: nn.Module, dtype: torch.dtype) -> float:
    """How far off its matrix rounding may take a module that gives numbers of a dtype."""
    computes_in = getattr(module, "compute_dtype", None) or dtype
    eps = max(torch.finfo(d).eps for d in (dtype, computes_in, input_dtype(module, dtype)))
    return 2 * eps if eps > 1e-4 else 256 * eps


def _by_derivative(
    module: nn.Module, n_in: int, index: int, dtype: torch.dtype
) -> tuple[Tensor, float] | None:
    """As `linear_row`; None where the derivative cannot be taken, or does not tell all."""
    own = input_dtype(module, dtype)
    device = device_of(module) or torch.device("cpu")
    with torch.inference_mode(False), torch.enable_grad():
        x = torch.zeros(1, n_in, dtype=own, device=device, requires_grad=True)
        try:
            said = apply(module, x)[0, index]
            (slope,) = torch.autograd.grad(said, x)
        except (RuntimeError, NotImplementedError):
            return None
        row, bias = slope[0].to(dtype), float(said.detach())
        probe = noise(n_in, seed=13).to(x)
        with torch.no_grad():
            theirs = float(apply(module, probe[None])[0, index])
    ours = float(row @ probe.to(dtype)) + bias
    size = float(row.norm()) * float(probe.to(dtype).norm()) + abs(bias)
    return (row, bias) if abs(ours - theirs) <= rounding(module, said.dtype) * size else None
