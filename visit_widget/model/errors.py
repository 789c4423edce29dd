"""The package's errors, for the rooms that know models. They live where no torch is imported."""

from __future__ import annotations

from ..errors import UnsupportedModelError, VisitError

__all__ = ["UnsupportedModelError", "VisitError"]
