"""Vectors to tokens."""

from .calibrated import CalibratedLens
from .choose import known_lenses, lens_of
from .jacobian import JacobianLens
from .lens import Lens, LogitLens
from .local import LocalLens
from .readout import Projection
from .sites import Site
from .tuned import TunedLens

__all__ = [
    "CalibratedLens",
    "JacobianLens",
    "Lens",
    "LocalLens",
    "LogitLens",
    "Projection",
    "Site",
    "TunedLens",
    "known_lenses",
    "lens_of",
]
