"""What if a part were not there: interventions, and the effect of every part."""

from .effects import effects
from .rerun import Rerun, rerun
from .table import Effect, Effects

__all__ = ["Effect", "Effects", "Rerun", "effects", "rerun"]
