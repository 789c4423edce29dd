"""What a prediction loses when a token's embedding is another, and what routes say of the token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from visit_widget.flow import FlowGraph

from .ranking import decimals, spearman
from .report import Table

EFFECTS = ("mean", "zero", "mean, − foil", "zero, − foil")
SIGNED = ("value", "value by linear", "value by effect", "direct")
SIZES = (
    "|value|", "|value by linear|", "|direct|", "value by share", "value by proximity",
)  # fmt: skip


@dataclass(frozen=True)
class Tokens:
    """The tokens of one prompt.

    Attributes:
        prompt: the prompt.
        said: {what routes say: (T,)}; with a foil under "value, − foil" and so on.
        lost: {effect: (T,)} by how much the logit falls when each token's embedding is replaced.
    """

    prompt: str
    said: dict[str, Tensor]
    lost: dict[str, Tensor]


def tokens_of(
    model: Any, ids: Tensor, prompt: str, routes: Mapping[str, FlowGraph], target: int, foil: int
) -> Tokens:
    """What routes say of each token, and what replacing it does.

    Args:
        model: a model with an embedding that nothing but a hook need change.
        ids: (T,) the prompt's tokens.
        prompt: its text.
        routes: graphs with nothing pruned, by "logit", "linear", "effect" (all three also
            ", − foil"), "share" and
            "proximity".
        target, foil: the followed tokens.
    """

    def column(name: str, of: str) -> Tensor:
        found = routes[name].attribution
        assert found is not None
        return torch.tensor([t[of] for t in found["tokens"]], dtype=torch.float64)

    said: dict[str, Tensor] = {}
    for more in ("", ", − foil"):
        said |= {f"{of}{more}": column(f"logit{more}", of) for of in ("value", "direct")}
        for name in ("linear", "effect"):
            said[f"value by {name}{more}"] = column(f"{name}{more}", "value")
    said |= {f"value by {name}": column(name, "value") for name in ("share", "proximity")}
    return Tokens(prompt, said, lost(model, ids, target, foil))


@torch.no_grad()
def lost(model: Any, ids: Tensor, target: int, foil: int) -> dict[str, Tensor]:
    """{effect: (T,)} by how much logits at the last position fall, for each token replaced."""
    embedding = model.get_input_embeddings()
    baselines = {"mean": embedding.weight.mean(0), "zero": torch.zeros_like(embedding.weight[0])}
    each = torch.arange(len(ids))
    found = {}
    clean = _logits(model, ids[None])
    for name, baseline in baselines.items():

        def replaced(_m: Any, _a: Any, out: Tensor, baseline: Tensor = baseline) -> Tensor:
            out = out.clone()
            out[each, each] = baseline
            return out

        handle = embedding.register_forward_hook(replaced)
        try:
            fallen = (clean - _logits(model, ids.repeat(len(ids), 1))).double()
        finally:
            handle.remove()
        found[name] = fallen[:, target]
        found[f"{name}, − foil"] = fallen[:, target] - fallen[:, foil]
    return found


def _logits(model: Any, ids: Tensor) -> Tensor:
    logits: Tensor = model(ids, use_cache=False, logits_to_keep=1).logits[:, -1]
    return logits


def compared(tokens: Tokens, measure: str, effect: str) -> float:
    """The rank correlation of what is said with an effect; of sizes with the effect's size."""
    name, fallen = measure.strip("|"), tokens.lost[effect]
    foil = f"{name}, − foil"
    value = tokens.said[foil if effect.endswith("foil") and foil in tokens.said else name]
    if measure in SIZES:
        value, fallen = value.abs(), fallen.abs()
    return spearman(value, fallen)


def by_prompt(cases: Sequence[Tokens]) -> Table:
    """Both readings of a token, prompt by prompt."""
    table = Table("What routes say of tokens, by prompt")
    table.columns = ["prompt", "tokens", *(f"{m}: {e}" for m in SIGNED for e in EFFECTS[:2])]
    for tokens in cases:
        values = [compared(tokens, m, e) for m in SIGNED for e in EFFECTS[:2]]
        count = str(len(tokens.said["value"]))
        table.rows.append([tokens.prompt, count, *map(decimals, values)])
    return table


def by_measure(cases: Sequence[Tokens]) -> Table:
    """Every reading of a token, on the average over prompts."""
    table = Table("What routes say of tokens, mean over prompts")
    table.columns = ["attribution", *EFFECTS]
    for measure in (*SIGNED, *SIZES):
        means = [sum(compared(t, measure, e) for t in cases) / len(cases) for e in EFFECTS]
        table.rows.append([measure, *map(decimals, means)])
    table.notes.append(f"Sizes, the last {len(SIZES)} rows, are compared with that of the effect.")
    return table
