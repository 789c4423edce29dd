"""Figures of the findings: each takes a study, or rows, and returns its axes.

    from visit_widget.findings import plots
    plots.head_overlap(found).figure.savefig("heads.svg")

Drawn with matplotlib, which the extra `plots` installs and nothing imports before it is needed.
"""

from .attention import attention_overlap, query_key_overlap
from .composition import composition
from .effects import rank_effects
from .heads import head_overlap, head_ranks
from .memory import memory_heads, memory_tokens, memory_values
from .mixing import feed_forward_mixing, joint_embedding, mixing_ratio, trajectories
from .neurons import confidence_neurons, regularisation_neurons
from .norms import norm_filter, norm_targets, norm_tokens
from .predictions import prediction_by_layer
from .sinks import attention_sinks

__all__ = [
    "attention_overlap",
    "attention_sinks",
    "composition",
    "confidence_neurons",
    "feed_forward_mixing",
    "head_overlap",
    "head_ranks",
    "joint_embedding",
    "memory_heads",
    "memory_tokens",
    "memory_values",
    "mixing_ratio",
    "norm_filter",
    "norm_targets",
    "norm_tokens",
    "prediction_by_layer",
    "query_key_overlap",
    "rank_effects",
    "regularisation_neurons",
    "trajectories",
]
