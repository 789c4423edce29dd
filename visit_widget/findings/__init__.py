"""What is found in the passes of a model over many prompts, as tidy rows and figures.

    found = vw.study(model, tokenizer, vw.findings.factual_prompts(), [vw.findings.head_overlap])

Everything here stands on the public `Trace` and the lenses; docs/findings.md lists the findings.
"""

from .attention_output import attention_overlap
from .corpus import study
from .facts import Fact, factual_prompts, load_counterfact
from .heads import head_overlap
from .layer_norms import norm_filter
from .memory import memory_values
from .neurons import regularisation_neurons, top_neurons
from .predictions import prediction_by_layer
from .queries import query_key_overlap
from .reading import overlap, top_tokens
from .results import Study
from .statistics import Summary, interval, jaccard, stability, summarise

__all__ = [
    "Fact",
    "Study",
    "Summary",
    "attention_overlap",
    "factual_prompts",
    "head_overlap",
    "interval",
    "jaccard",
    "load_counterfact",
    "memory_values",
    "norm_filter",
    "overlap",
    "prediction_by_layer",
    "query_key_overlap",
    "regularisation_neurons",
    "stability",
    "study",
    "summarise",
    "top_neurons",
    "top_tokens",
]
