"""The errors a user can meet. Each message is a sentence that says what to do next."""

from __future__ import annotations


class VisitError(ValueError):
    """Something asked of visit_widget cannot be done as asked."""


class UnsupportedModelError(VisitError):
    """The model's anatomy was not understood, so no graph is drawn rather than a wrong one."""
