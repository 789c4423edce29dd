"""Where a model keeps its parts."""

from .anatomy import Anatomy, BlockAnatomy
from .discover import anatomy_of
from .errors import UnsupportedModelError, VisitError
from .joins import Join

__all__ = ["Anatomy", "BlockAnatomy", "Join", "UnsupportedModelError", "VisitError", "anatomy_of"]
