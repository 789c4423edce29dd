"""What if a part were not there: interventions, and the effect of every part."""

from .rerun import rerun

__all__ = ["rerun"]
