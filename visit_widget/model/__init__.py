"""Where a model keeps its parts."""

from .anatomy import Anatomy, BlockAnatomy, anatomy_of
from .errors import UnsupportedModelError, VisitError

__all__ = ["Anatomy", "BlockAnatomy", "UnsupportedModelError", "VisitError", "anatomy_of"]
