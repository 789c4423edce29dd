"""The audit: how far off each identity is that a flow graph rests on.

Each line compares what the trace derives with what the model itself says in two fresh passes (one
in its own attention implementation, one eager). An error is ‖ours − theirs‖ / ‖theirs‖, the largest
over layers.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..model.attention import MODEL_LOCK, AttentionCall, listening
from ..model.watch import first_tensor, input_embedding
from .directions import Projection, key_directions, query_directions

if TYPE_CHECKING:
    from .trace import Trace

# Float64 models too: transformers computes norms and softmax in float32 whatever the model's dtype.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class Audit:
    """The largest relative error of each identity.

    Attributes:
        errors: {identity: error}; NaN where the model could not be asked.
        tolerance: what rounding alone may cause in the model's dtype.
    """

    errors: dict[str, float]
    tolerance: float

    @property
    def max_error(self) -> float:
        """The largest of the errors that could be computed."""
        return max((e for e in self.errors.values() if e == e), default=float("nan"))

    @property
    def exact(self) -> bool:
        """Whether every identity holds to rounding."""
        return self.max_error <= self.tolerance

    def __str__(self) -> str:
        width = max(len(name) for name in self.errors)
        rows = [f"{'identity':<{width}}  largest relative error"]
        rows += [
            f"{name:<{width}}  {'not asked' if e != e else f'{e:.1e}'}"
            for name, e in self.errors.items()
        ]
        verdict = "exact" if self.exact else "NOT exact"
        rows.append(f"{verdict} to rounding (tolerance {self.tolerance:.0e})")
        return "\n".join(rows)

    __repr__ = __str__


def audit(trace: Trace, position: int) -> Audit:
    """Check every identity at one position."""
    with MODEL_LOCK, torch.no_grad():
        theirs = _fresh_pass(trace, position)
        errors = {
            "post = pre + attention + MLP": _stream(trace, position),
            "attention = Σ heads + bias": _branch(
                theirs.attention, trace.attention_output, trace, position
            ),
            "head = Σ sources": _sources(trace, position),
            "MLP = Σ neurons + bias": _branch(theirs.mlp, trace.mlp_output, trace, position),
            "attention rows = output_attentions": _rows(trace, position),
            "query direction · x + c = score": _directions(trace, position, query_directions, True),
            "key direction · x + c = score": _directions(trace, position, key_directions, False),
            "Σ logit parts = logit": _logit(trace, position, theirs.logits),
            "lens of the last stream = logits": _error(trace.logits(position), theirs.logits),
        }
    return Audit(errors, TOLERANCE.get(trace.record.final.dtype, 1e-4))


def last_logits_error(trace: Trace) -> float:
    """How far the lens of the last stream is off the logits that the traced pass itself gave."""
    return _error(trace.logits(-1), trace.work(_uncap(trace, trace.record.logits)))


@dataclass
class _Theirs:
    attention: dict[int, Tensor]
    mlp: dict[int, Tensor]
    logits: Tensor


def _fresh_pass(trace: Trace, position: int) -> _Theirs:
    """What the model's own modules write, in a pass of its own."""
    attention: dict[int, Tensor] = {}
    mlp: dict[int, Tensor] = {}
    head: list[Tensor] = []
    model = trace.model
    training = [m for m in model.modules() if m.training]

    def note(into: dict[int, Tensor], index: int) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            result = first_tensor(output)
            assert result is not None
            into[index] = trace.work(result.reshape(-1, result.shape[-1])[position])

        return hook

    with ExitStack() as stack:
        for index, part in enumerate(trace.anatomy.blocks):
            writer = part.attention_post_norm or part.attention
            stack.callback(writer.register_forward_hook(note(attention, index)).remove)
            stack.callback(
                (part.mlp_post_norm or part.mlp).register_forward_hook(note(mlp, index)).remove
            )
        unembedding = trace.anatomy.unembedding
        stack.callback(
            unembedding.register_forward_hook(
                lambda _m, _a, out: head.append(out[0, position])
            ).remove
        )
        model.eval()
        try:
            ids = trace.input_ids[None].to(input_embedding(model).device)
            model(input_ids=ids, use_cache=False)
        finally:
            for module in training:
                module.training = True
    return _Theirs(attention, mlp, trace.work(head[0]))


def _stream(trace: Trace, position: int) -> float:
    worst = 0.0
    for layer in range(trace.n_layers):
        pre, post = trace.residual(layer, "pre")[position], trace.residual(layer, "post")[position]
        parts = pre + trace.attention_output(layer, position) + trace.mlp_output(layer, position)
        worst = max(worst, _error(parts, post))
    return worst


def _branch(theirs: dict[int, Tensor], ours: Any, trace: Trace, position: int) -> float:
    return max(_error(ours(layer, position), theirs[layer]) for layer in range(trace.n_layers))


def _sources(trace: Trace, position: int) -> float:
    worst = 0.0
    for layer in range(trace.n_layers):
        row = trace.attention_row(layer, position)
        worst = max(
            worst, *(_error(row.sources(h).sum(0), row.heads[h]) for h in range(trace.n_heads))
        )
    return worst


def _rows(trace: Trace, position: int) -> float:
    """Against the weights that the model's eager attention gives, the same that it returns as
    `output_attentions` (asking for those would leave hooks of transformers on the model).
    """
    theirs: dict[nn.Module, Tensor] = {}

    def hear(call: AttentionCall) -> None:
        if call.weights is not None:
            theirs[call.module] = trace.work(call.weights[0, :, position])

    ids = trace.input_ids[None].to(input_embedding(trace.model).device)
    with listening(trace.model, hear, implementation="eager"):
        trace.model(input_ids=ids, use_cache=False)
    modules = [part.attention for part in trace.anatomy.blocks]
    if not all(module in theirs for module in modules):
        return float("nan")
    return max(
        _error(trace.attention(layer, position), theirs[module])
        for layer, module in enumerate(modules)
    )


def _directions(trace: Trace, position: int, derive: Any, at_source: bool) -> float:
    worst = 0.0
    heads, sources = range(trace.n_heads), range(position + 1)
    for layer in range(trace.n_layers):
        directions, constants = derive(trace, layer, position, heads, sources)
        rows = sources if at_source else [position]
        x = trace.work(Projection(trace, layer, list(rows)).input)
        scores = torch.einsum("hjd,jd->hj", directions, x.expand(len(sources), -1)) + constants
        expected = trace.attention_row(layer, position).scores[:, : position + 1]
        seen = expected > float("-inf")
        worst = max(worst, _error(scores[seen], expected[seen]))
    return worst


def _logit(trace: Trace, position: int, logits: Tensor) -> float:
    target = int(logits.argmax())
    worst = 0.0
    for by in ("component", "head", "neuron"):
        total = sum(trace.logit_parts(target, position=position, by=by).values())
        worst = max(worst, abs(total - float(logits[target])) / logits.abs().max().item())
    return worst


def _uncap(trace: Trace, logits: Tensor) -> Tensor:
    cap = getattr(trace.model.config, "final_logit_softcapping", None)
    return (
        logits
        if not cap
        else torch.atanh((logits.double() / cap).clamp(-1 + 1e-12, 1 - 1e-12)) * cap
    )


def _error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-30))
