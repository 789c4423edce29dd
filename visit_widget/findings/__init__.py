"""What is found in the passes of a model over many prompts, as tidy rows and figures.

    found = vw.study(model, tokenizer, vw.findings.factual_prompts(), [head_overlap])

Everything here stands on the public `Trace` and the lenses; docs/findings.md lists the findings.
"""

from .corpus import study
from .facts import Fact, factual_prompts, load_counterfact
from .results import Study
from .statistics import Summary, interval, jaccard, stability, summarise

__all__ = [
    "Fact",
    "Study",
    "Summary",
    "factual_prompts",
    "interval",
    "jaccard",
    "load_counterfact",
    "stability",
    "study",
    "summarise",
]
