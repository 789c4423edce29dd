"""One forward pass, and the exact parts it splits into.

`visit_widget.trace` is both this package and the function of the same name: importing the package
must not take
the function from users, so the package can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from .audit import Audit
from .batch import trace_batch
from .generation import Generation, generate
from .steps import Step
from .storage import load_trace
from .target import Target
from .trace import Trace
from .tracing import trace
from .turns import Turn

__all__ = [
    "Audit", "Generation", "Step", "Target", "Trace", "Turn", "generate", "load_trace", "trace",
    "trace_batch",
]  # fmt: skip


class _CallablePackage(ModuleType):
    __doc__ = trace.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Trace:
        return trace(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
