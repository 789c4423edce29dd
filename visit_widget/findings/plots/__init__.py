"""Figures of the findings: each takes a study, or rows, and returns its axes.

    from visit_widget.findings import plots
    plots.head_overlap(found).figure.savefig("heads.svg")

Drawn with matplotlib, which the extra `plots` installs and nothing imports before it is needed.
"""

from .attention import attention_overlap, query_key_overlap
from .heads import head_overlap, head_ranks
from .memory import memory_heads, memory_tokens, memory_values
from .neurons import regularisation_neurons
from .norms import norm_filter, norm_targets, norm_tokens
from .predictions import prediction_by_layer

__all__ = [
    "attention_overlap",
    "head_overlap",
    "head_ranks",
    "memory_heads",
    "memory_tokens",
    "memory_values",
    "norm_filter",
    "norm_targets",
    "norm_tokens",
    "prediction_by_layer",
    "query_key_overlap",
    "regularisation_neurons",
]
