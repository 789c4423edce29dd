"""visit_widget: one forward pass of a language model as an interactive flow graph, inline in a
notebook.

    import visit_widget as vw
    model, tokenizer = vw.load_demo()
    vw.visit(model, tokenizer, "The capital of Japan is the city of")

It implements VISIT (Katz & Belinkov, Findings of EMNLP 2023, arXiv 2305.13417) with exact numbers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Imported on first use: torch and transformers take seconds, and `visit-widget --help` should not.
_HOME = {
    "Anatomy": ".model",
    "Alignment": ".pairs",
    "Audit": ".trace",
    "BlockAnatomy": ".model",
    "CalibratedLens": ".lens",
    "Comparison": ".pairs",
    "FlowGraph": ".flow",
    "Generation": ".trace",
    "JacobianLens": ".lens",
    "Join": ".model",
    "Keep": ".flow",
    "Lens": ".lens",
    "Limit": ".flow",
    "LocalLens": ".lens",
    "LogitLens": ".lens",
    "MEASURES": ".flow",
    "Patching": ".pairs",
    "Target": ".trace",
    "Trace": ".trace",
    "TunedLens": ".lens",
    "SavedWidget": ".viewer",
    "UnsupportedModelError": ".errors",
    "VisitError": ".errors",
    "VisitWidget": ".widget",
    "adapter_pair": ".pairs",
    "compare": ".pairs",
    "findings": ".findings",
    "generate": ".trace",
    "load_demo": ".model.demo",
    "load_trace": ".trace",
    "patching": ".pairs",
    "show": ".viewer",
    "study": ".findings",
    "supported": ".model.families",
    "trace": ".trace",
    "visit": ".widget",
}

__all__ = [
    "MEASURES",
    "Alignment",
    "Anatomy",
    "Audit",
    "BlockAnatomy",
    "CalibratedLens",
    "Comparison",
    "FlowGraph",
    "Generation",
    "JacobianLens",
    "Join",
    "Keep",
    "Lens",
    "Limit",
    "LocalLens",
    "LogitLens",
    "Patching",
    "SavedWidget",
    "Target",
    "Trace",
    "TunedLens",
    "UnsupportedModelError",
    "VisitError",
    "VisitWidget",
    "adapter_pair",
    "compare",
    "findings",
    "generate",
    "load_demo",
    "load_trace",
    "patching",
    "show",
    "study",
    "supported",
    "trace",
    "visit",
]

if TYPE_CHECKING:
    from . import findings
    from .errors import UnsupportedModelError, VisitError
    from .findings import study
    from .flow import MEASURES, FlowGraph, Keep, Limit
    from .lens import CalibratedLens, JacobianLens, Lens, LocalLens, LogitLens, TunedLens
    from .model import Anatomy, BlockAnatomy, Join
    from .model.demo import load_demo
    from .model.families import supported
    from .pairs import Alignment, Comparison, Patching, adapter_pair, compare, patching
    from .trace import Audit, Generation, Target, Trace, generate, load_trace, trace
    from .viewer import SavedWidget, show
    from .widget import VisitWidget, visit


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(_HOME[name], __name__)
    # The package `trace` is callable and stands for its function.
    value = home if name in ("trace", "findings") else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
