"""Vectors to tokens."""

from .lens import LogitLens, Projection

__all__ = ["LogitLens", "Projection"]
