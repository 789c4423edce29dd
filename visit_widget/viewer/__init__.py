"""What was saved, shown again: pages, and the widget of `show`. Neither torch nor a model is needed
here, and nothing of the other rooms.
"""

from .show import SavedWidget, show

__all__ = ["SavedWidget", "show"]
