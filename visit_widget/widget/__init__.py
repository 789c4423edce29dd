"""The flow graph inline in a notebook: traits, requests, and a standalone page."""

from .widget import VisitWidget, visit

__all__ = ["VisitWidget", "visit"]
