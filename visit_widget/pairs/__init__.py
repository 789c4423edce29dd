"""Two passes side by side: of two prompts, or of two models."""

from .adapters import adapter_pair
from .alignment import Alignment, align
from .changed import Change, Changed
from .comparison import Comparison, compare
from .pair import Pair, PairPainter
from .paired import EdgePair, NodePair, Values
from .patching import patching
from .pictures import Patching

__all__ = [
    "Alignment",
    "Change",
    "Changed",
    "Comparison",
    "EdgePair",
    "NodePair",
    "Pair",
    "PairPainter",
    "Patching",
    "Values",
    "adapter_pair",
    "align",
    "compare",
    "patching",
]
