"""The flow graph inline in a notebook: traits, requests, and a standalone page."""

from .make import visit
from .widget import VisitWidget

__all__ = ["VisitWidget", "visit"]
