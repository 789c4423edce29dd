"""Routes through every family that is traced exactly: every sum holds, and values can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

import visit_widget as vw
from tests.families.configs import FLOAT32_ONLY, PROMPT, VARIANTS, build
from tests.families.independent import CAPS, UNCAPPED
from tests.families.sweep import NAMES, TOLERANCE, quiet, widened
from tests.whole import assert_routes_whole, unread

RECORDED: dict[str, Any] = json.loads(
    (Path(vw.__file__).parent / "model" / "families.json").read_text("utf-8")
)
KNOWN: dict[str, Any] = {**RECORDED["families"], **RECORDED["variants"]}
EXACT = [name for name in NAMES if KNOWN.get(name, {}).get("status") == "exact"]
pytestmark = pytest.mark.skipif(
    RECORDED["transformers"] != transformers.__version__,
    reason=f"the list is of transformers {RECORDED['transformers']}",
)

# {family: (layers whose values cannot be followed to the stream, why)}.
UNREAD: dict[str, tuple[set[int], str]] = {
    "axk2": ({0, 1, 2}, "the norm before attention is multiplied by a gate of the stream"),
    "gemma4_text": ({2, 3}, "keys and values are those of an earlier layer"),
    "gemma4_unified": ({2, 3}, "keys and values are those of an earlier layer"),
}
KEEPS = {
    "everything": vw.Keep(routes={"count": None, "threshold": 0}),
    "some": vw.Keep(routes={"threshold": 0.03}),
    "edges": vw.Keep(routes={"threshold": 0.05}, routes_by="edge"),
}
DRAWN = (
    ("share", "everything"), ("logit", "everything"), ("logit", "some"), ("proximity", "edges"),
    ("effect", "some"), ("linear", "everything"), ("linear", "some"),
)  # fmt: skip


def uncapped(model: PreTrainedModel, logits: Tensor) -> Tensor:
    """The logits before a softcap; not finite where that took too much away."""
    config = model.config.get_text_config()
    cap = next((c for name in CAPS if (c := getattr(config, name, None))), None)
    if cap is None or type(model).__name__ in UNCAPPED:
        return logits
    inner = torch.atanh((logits / cap).clamp(-0.99, 0.99)) * cap
    return inner.masked_fill(logits.abs() > 0.9 * cap, float("nan"))


@pytest.mark.parametrize("name", EXACT)
def test_routes_are_whole_and_values_are_read(name):
    family, changes = VARIANTS.get(name, (name, {}))
    dtype = torch.float32 if family in FLOAT32_ONLY else torch.float64
    with quiet(), widened(dtype), torch.no_grad():
        model = build(family, dtype, **changes)
        trace = vw.trace(model, None, PROMPT)
        said = model(torch.tensor([PROMPT]), use_cache=False).logits[0, -1].to(trace.dtype)
        said = uncapped(model, said)
        target, foil = said.nan_to_num(-1e9, neginf=-1e9).topk(2).indices.tolist()
        for measure, keep in DRAWN:
            graph = trace.routes(-1, target, foil, measure, KEEPS[keep])
            in_logits = measure in ("logit", "effect", "linear")
            total = float(said[target] - said[foil]) if in_logits else 1.0
            assert_routes_whole(graph, total, TOLERANCE[dtype])
            if keep == "everything":
                layers, _ = UNREAD.get(name, (set(), ""))
                assert {n.layer for n in unread(graph)} == layers
                assert not [n for n in graph.nodes if n.kind == "rest"]
                ends = layers or any(n.kind == "opaque" for n in graph.nodes)
                assert bool(graph.attribution["opaque"]) == bool(ends)


def test_what_cannot_be_read_is_among_the_exact():
    assert set(UNREAD) <= set(EXACT)
