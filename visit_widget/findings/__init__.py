"""What is found in the passes of a model over many prompts, as tidy rows and figures.

    found = vw.study(model, tokenizer, vw.findings.factual_prompts(), [vw.findings.head_overlap])

Everything here stands on the public `Trace` and the lenses; docs/findings.md lists the findings.
"""

from .attention_output import attention_overlap
from .composition import composition, traced_share
from .confidence import confidence_neurons
from .corpus import study
from .effects import part_effects, rank_effects
from .elsewhere import most_telling, part_at_work
from .facts import Fact, factual_prompts, load_counterfact
from .feed_forward import feed_forward_mixing, feed_forward_parts
from .head_reads import head_reads
from .heads import head_overlap
from .joint_embedding import joint_embedding
from .layer_norms import norm_filter
from .memory import memory_values
from .mixing import mixed_parts, mixing_ratio
from .neurons import regularisation_neurons, top_neurons
from .predictions import prediction_by_layer
from .queries import query_key_overlap
from .reading import overlap, top_tokens
from .results import Study
from .sinks import attention_sinks
from .statistics import Summary, interval, jaccard, stability, summarise
from .trajectories import trajectories

__all__ = [
    "Fact",
    "Study",
    "Summary",
    "attention_overlap",
    "attention_sinks",
    "composition",
    "confidence_neurons",
    "factual_prompts",
    "feed_forward_mixing",
    "feed_forward_parts",
    "head_overlap",
    "head_reads",
    "interval",
    "jaccard",
    "joint_embedding",
    "load_counterfact",
    "memory_values",
    "mixed_parts",
    "mixing_ratio",
    "most_telling",
    "norm_filter",
    "overlap",
    "part_at_work",
    "part_effects",
    "prediction_by_layer",
    "query_key_overlap",
    "rank_effects",
    "regularisation_neurons",
    "stability",
    "study",
    "summarise",
    "top_neurons",
    "top_tokens",
    "traced_share",
    "trajectories",
]
