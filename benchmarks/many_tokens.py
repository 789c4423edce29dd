"""What routes say of tokens, over more prompts than `faithfulness` ablates heads on.

    python -m benchmarks.many_tokens

A prompt has few tokens, so that one rank correlation says little: here the mean over many prompts
has its standard error beside it, and readings are compared prompt by prompt. Beside the routes'
readings stand two that need no routes: the gradient of the logit at the embeddings times the
embedding, and times what replaces it. Prints tables in Markdown.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import visit_widget as vw
from visit_widget.flow.build import Painter
from visit_widget.flow.routes import attribution_of

from .ranking import decimals, spearman
from .report import Table
from .token_effects import EFFECTS, lost

PROMPTS = (
    "The capital of Japan is the city of",
    "The Eiffel Tower is in the city of",
    "Paris is the capital of France, and Rome is the capital of",
    "The opposite of hot is",
    "When Mary and John went to the store, John gave a drink to",
    "I know that the dogs next to the man",
    "The largest planet in the solar system is called",
    "Water boils at one hundred degrees and freezes at",
    "My sister lives in Berlin, so she is learning to speak",
    "After the rain stopped, the children ran outside to",
    "The chef tasted the soup and decided that it needed more",
    "The author of Romeo and Juliet is William",
    "Bees make honey, and cows give us",
    "Monday, Tuesday, Wednesday,",
    "One, two, three, four,",
    "The keys to the old wooden cabinet",
    "The key to the old wooden cabinets",
    "Anna lost her umbrella, so Peter gave his umbrella to",
    "Tom has a dog and Lucy has a cat. The name of Tom's",
    "In winter the lake freezes, and people go there to",
    "The first president of the United States was George",
    "A triangle has three sides and a square has",
    "The doctor washed her hands before she examined the",
    "He opened the letter, read it twice, and began to",
    "The train to London was late, so we missed the",
    "Gold is a metal, oxygen is a gas, and water is a",
    "She plays the violin and her brother plays the",
    "The sun rises in the east and sets in the",
    "Madrid is in Spain. Lisbon is in Portugal. Athens is in",
    "If you mix blue and yellow paint you get",
    "The baby was tired, so her mother put her to",
    "Spiders have eight legs, but insects have only",
    "The red car is fast. The blue car is slow. The fast car is",
    "Please turn off the light when you leave the",
    "The river flows down from the mountains to the",
    "Nurses work in hospitals and teachers work in",
    "He speaks French because he was born in",
    "The farmer fed the chickens, the cows and the",
    "To make bread you need flour, water, salt and",
    "The movie was so boring that I fell",
)
READINGS = (
    "value", "value by linear", "value by linear, less the mean embedding's", "direct",
    "gradient · embedding", "gradient · (embedding − mean)",
)  # fmt: skip


def gradients(model: Any, ids: Tensor, target: int, foil: int) -> tuple[Tensor, Tensor, Tensor]:
    """(T, d_model) the embeddings, and the gradients there of the target's logit and the foil's."""
    embeddings = model.get_input_embeddings()(ids[None]).detach().requires_grad_()
    logits = model(inputs_embeds=embeddings, use_cache=False, logits_to_keep=1).logits[0, -1]
    found = [
        torch.autograd.grad(logits[token], embeddings, retain_graph=True)[0][0]
        for token in (target, foil)
    ]
    return embeddings[0].detach(), found[0], found[1]


def readings(
    model: Any, tokenizer: Any, prompt: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What is said of each token of a prompt, with a foil under "…, − foil"; and what it does."""
    trace = vw.trace(model, tokenizer, prompt)
    target, foil = trace.logits().topk(2).indices.tolist()
    mean = model.get_input_embeddings().weight.mean(0)
    keep = vw.Keep(routes=vw.Limit())
    embeddings, of_target, of_foil = gradients(model, trace.input_ids, target, foil)
    said: dict[str, Tensor] = {}
    for more, against in (("", None), (", − foil", foil)):
        for measure, name in (("logit", "value"), ("linear", "value by linear")):
            painter = Painter(trace, -1, target, against, keep, measure)
            walk = painter._walk(measure)
            told = attribution_of(walk)["tokens"]
            said[name + more] = torch.tensor([t["value"] for t in told])
            if measure == "logit":
                said["direct" + more] = torch.tensor([t["direct"] for t in told])
                continue
            ways = [walk.embeddings[p][0].direction[0] for p in range(len(trace))]
            less = said[name + more] - torch.stack(ways) @ mean.detach()
            said[f"{name}, less the mean embedding's{more}"] = less
        slope = of_target if against is None else of_target - of_foil
        said["gradient · embedding" + more] = (slope * embeddings).sum(-1)
        said["gradient · (embedding − mean)" + more] = (slope * (embeddings - mean)).sum(-1)
    return said, lost(model, trace.input_ids, target, foil)


def table_of(found: dict[str, dict[str, list[float]]]) -> Table:
    """Means and standard errors."""
    table = Table(f"What routes say of tokens, mean over {len(PROMPTS)} prompts")
    table.columns = ["attribution", *EFFECTS]
    for reading in READINGS:
        cells = [with_error(found[reading][effect]) for effect in EFFECTS]
        table.rows.append([reading, *cells])
    apart = [
        with_error([a - b for a, b in zip(found[READINGS[1]][e], found["value"][e], strict=True)])
        for e in EFFECTS
    ]
    table.rows.append(["value by linear − value, prompt by prompt", *apart])
    return table


def with_error(values: Sequence[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{decimals(statistics.mean(values))} ± {error:.2f}"


def main() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    start = time.perf_counter()
    model, tokenizer = vw.load_demo()
    found = {r: {e: list[float]() for e in EFFECTS} for r in READINGS}
    for prompt in PROMPTS:
        said, fallen = readings(model, tokenizer, prompt)
        print(f"{time.perf_counter() - start:.0f} s: {prompt}", file=sys.stderr, flush=True)
        for reading in READINGS:
            for effect in EFFECTS:
                name = reading + (", − foil" if effect.endswith("foil") else "")
                found[reading][effect].append(spearman(said[name].double(), fallen[effect]))
    print(table_of(found).markdown())
    print(f"Took {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
