"""Whether a derivative really comes back through every weight of a model.

A product with packed weights may run in code that knows no derivative. The stream goes on past it,
so autograd says nothing, and leaves out all that the weight does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from ..model import VisitError
from ..model.loaded import modules_of, weights_of
from ..model.watch import first_tensor


@contextmanager
def unbroken(model: nn.Module) -> Iterator[None]:
    """Within the block a module that multiplies with a matrix, and forgets what it was given, ends
    the run.

    Raises:
        VisitError: there is one.
    """
    with ExitStack() as stack:
        for module in modules_of(model):
            if not module._modules and any(w.ndim > 1 for w in weights_of(module, recurse=False)):
                stack.callback(module.register_forward_hook(_check).remove)
        yield


def _check(module: nn.Module, args: Any, output: Any) -> None:
    # Some models choose tokens on purpose where nothing is taped.
    if not torch.is_grad_enabled():
        return
    given, made = first_tensor(args), first_tensor(output)
    if given is None or made is None or not given.requires_grad or made.requires_grad:
        return
    # A table of positions makes something of another shape.
    if made.is_floating_point() and made.shape[:-1] == given.shape[:-1]:
        raise VisitError(
            f"No derivative comes back through a {type(module).__name__} of this model (its "
            "weights are packed in a way that has none), so what a part changes in the prediction "
            'cannot be told: use lens="logit" and another measure than "effect", or load the model '
            "without this quantisation."
        )
