"""The audit: how far off each identity is that a flow graph rests on.

Each line compares what the trace derives with what the model itself says in two fresh passes (one
in its own attention implementation, one eager). An error is ‖ours − theirs‖ / ‖theirs‖, the largest
over layers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..model import BlockAnatomy
from ..model.attention import listening
from ..model.attention_call import AttentionCall
from ..model.exclusive import exclusive
from ..model.forward import logits_of
from ..model.joins import Join
from ..model.loaded import eval_mode
from ..model.watch import first_tensor, input_device
from . import bounds
from .directions import key_directions, query_directions
from .outlet import like
from .projection import Projection
from .rounding import Where, has_mid, parts_at
from .stream import carry

if TYPE_CHECKING:
    from .trace import Trace

# What no audit allows more than, however its bounds come out. Float64 models too: transformers
# computes norms and softmax in float32 whatever the model's dtype.
AT_MOST = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 1.0, torch.float16: 1.0}
# A first, quick measure of what rounding may cause: sums of a few terms.
QUICK = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class Audit:
    """The largest relative error of each identity.

    Prints as a table, and `to_markdown` gives one to paste.

    Attributes:
        errors: {identity: error}; NaN where the model could not be asked. Of those that have
            layers, that of the layer where it is largest beside its tolerance.
        tolerance: the largest of the tolerances.
        worst: {identity: that layer}.
        about: what was audited, in words.
        tolerances: {identity: what rounding alone may cause there}, derived from the dtype and from
            the sizes met (`bounds.py`); `tolerance` where there is none.
    """

    errors: dict[str, float]
    tolerance: float
    worst: dict[str, int] = field(default_factory=dict)
    about: str = ""
    tolerances: dict[str, float] = field(default_factory=dict)

    def tolerance_for(self, identity: str) -> float:
        """What rounding alone may cause in one identity."""
        return self.tolerances.get(identity, self.tolerance)

    @property
    def max_error(self) -> float:
        """The largest of the errors that could be computed."""
        return max((e for e in self.errors.values() if e == e), default=float("nan"))

    @property
    def exact(self) -> bool:
        """Whether every identity holds to rounding."""
        known = {name: e for name, e in self.errors.items() if e == e}
        return bool(known) and all(e <= self.tolerance_for(name) for name, e in known.items())

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.exact:
            return (
                f"Exact to rounding: the largest error is {self.max_error:.1e}, and each is within "
                "what rounding alone may cause."
            )
        off = [name for name, error in self.errors.items() if error > self.tolerance_for(name)]
        return (
            f"NOT exact: {len(off)} of {len(self.errors)} identities are off by more than rounding "
            "may cause."
        )

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(identity, relative error, what rounding may cause, layer where it is) as text."""
        return [
            (
                name,
                "not asked" if error != error else f"{error:.1e}",
                f"{self.tolerance_for(name):.1e}",
                f"L{self.worst[name]}" if name in self.worst else "",
            )
            for name, error in self.errors.items()
        ]

    def to_markdown(self) -> str:
        """The table in Markdown, with what was audited above it and the verdict below."""
        head = ["| identity | relative error | rounding may cause | layer |", "|---|---|---|---|"]
        body = [f"| {' | '.join(row)} |" for row in self.rows()]
        return "\n".join([self.about, "", *head, *body, "", self.verdict])

    def __str__(self) -> str:
        rows = [("identity", "relative error", "rounding may cause", "layer"), *self.rows()]
        widths = [max(len(row[n]) for row in rows) for n in range(4)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in rows]
        rule = "─" * (sum(widths) + 6)
        table = [self.about, rule, lines[0], rule, *lines[1:], rule, self.verdict]
        return "\n".join(line.rstrip() for line in table if line)

    __repr__ = __str__


def audit(trace: Trace, position: int) -> Audit:
    """Check every identity at one position."""
    with exclusive(trace.model), torch.no_grad():
        theirs = _fresh_pass(trace, position)
        rows = _eager_rows(trace, position)
        by_layer: dict[str, _ByLayer] = {
            "mid = pre + attention, post = mid + MLP": _stream,
            "attention = Σ heads + bias": lambda t, n, at: _attention(t, n, at, theirs),
            "head = Σ sources": _sources,
            "MLP = Σ neurons + bias": lambda t, n, at: _mlp(t, n, at, theirs),
            "attention rows = output_attentions": lambda t, n, at: _rows(t, n, at, rows),
            "query direction · x + c = score": lambda t, n, at: _directions(
                t, n, at, query_directions, True
            ),
            "key direction · x + c = score": lambda t, n, at: _directions(
                t, n, at, key_directions, False
            ),
        }
        errors: dict[str, float] = {}
        tolerances: dict[str, float] = {}
        worst: dict[str, int] = {}
        most = AT_MOST.get(trace.coarsest_dtype, 1e-4)
        most = most if bounds.products_round(trace.device) == 0 else 1.0
        for name, found_at in by_layer.items():
            found = [(found_at(trace, n, position), n) for n in range(trace.n_layers)]
            known = [(f[0], min(most, f[1]), n) for f, n in found if f is not None]
            if not known:
                errors[name] = float("nan")
                continue
            errors[name], tolerances[name], worst[name] = max(known, key=_beside)
        said = min(most, bounds.of_logits(trace))
        errors["Σ logit parts = logit"] = _logit(trace, position, theirs.logits)
        lens = capped(trace, trace.logits(position))
        errors["lens of the last stream = logits"] = _error(lens, theirs.logits)
        tolerances.update(dict.fromkeys(list(errors)[-2:], said))
    dtype = trace.record.final.dtype
    name = str(getattr(trace.model.config, "model_type", "")) or type(trace.model).__name__
    about = (
        f"{name}, {str(dtype).removeprefix('torch.')}, {trace.n_layers} layers, "
        f"position {position} of {len(trace)} tokens"
    )
    return Audit(errors, max(tolerances.values()), worst, about, tolerances)


def _beside(found: tuple[float, float, int]) -> float:
    """How large an error is beside its tolerance."""
    error, tolerance, _ = found
    return float("inf") if error != error else error / max(tolerance, 1e-30)


def tolerance_of(trace: Trace) -> float:
    """Roughly what rounding alone may cause in a sum of a few parts, by the coarsest dtype that the
    model computes in.
    """
    return QUICK.get(trace.coarsest_dtype, 1e-4)


def last_logits_error(trace: Trace) -> float:
    """How far the lens of the last stream is off the logits that the traced pass itself gave."""
    said = trace.work(trace.record.logits)
    return _error(capped(trace, trace.logits(-1)), said)


# (error, what rounding may cause), both relative; None where a layer has no such thing.
Found = tuple[float, float]
_ByLayer = Callable[["Trace", int, int], Found | None]


@dataclass
class _Theirs:
    """What the model's own modules gave: {module: (width,)} at the position, and its logits as it
    gives them, (n_vocab,).
    """

    outputs: dict[nn.Module, Tensor]
    logits: Tensor


def _fresh_pass(trace: Trace, position: int) -> _Theirs:
    """What the model's own modules write, in a pass of its own."""
    outputs: dict[nn.Module, Tensor] = {}
    model, anatomy = trace.model, trace.anatomy

    def note(module: nn.Module, _args: Any, output: Any) -> None:
        result = first_tensor(output)
        assert result is not None
        # A copy: some models go on to write into what a module gave them.
        outputs[module] = trace.work(result.reshape(-1, result.shape[-1])[position]).clone()

    wanted: set[nn.Module | None] = set()
    for part in anatomy.blocks:
        wanted |= {part.output_projection, *part.mlp_exits}
        for join in (part.attention_join, part.mlp_join):
            wanted |= {join.post_norm, join.stream_norm}
    with ExitStack() as stack:
        for module in wanted - {None}:
            assert module is not None
            stack.callback(module.register_forward_hook(note).remove)
        stack.enter_context(eval_mode(model))
        if trace.in_steps:
            # What steps with a cache round otherwise than one pass does not add up.
            _put_streams(stack, trace)
        ids = trace.input_ids[None].to(input_device(model))
        said = logits_of(model, ids)
    return _Theirs(outputs, trace.work(said[0, position]))


def _joined(theirs: _Theirs, join: Join, writers: tuple[nn.Module, ...], carried: Tensor) -> Tensor:
    """What the model's modules say that a sublayer added to the stream."""
    if join.stream_norm is not None:
        return theirs.outputs[join.stream_norm] - carried
    modules = writers if join.post_norm is None else (join.post_norm,)
    written = torch.stack([theirs.outputs[module] for module in modules]).sum(0)
    written = written * like(join.scale, written)
    return written if join.bias is None else written + join.bias.to(written)


def _stream(trace: Trace, layer: int, position: int) -> Found:
    """Both halves of the block, against the streams that the pass left: what is left over has to be
    rounding.
    """
    part = trace.anatomy.blocks[layer]
    places: list[Where] = ["mid", "post"] if has_mid(trace, layer) else ["post"]
    found = []
    for at in places:
        whole = trace.residual(layer, "post")[position] if at == "post" else None
        whole = trace.mid(layer, position) if whole is None else whole
        parts = parts_at(trace, layer, at, position, derived=True)
        bound = bounds.of_stream(trace, layer, at, position, derived=True)
        found.append((_error(parts, whole), bound / float(whole.norm().clamp_min(1e-30))))
    if part.parallel:
        read, pre = trace.record.layers[layer].mid, trace.residual(layer, "pre")[position]
        assert read is not None
        found.append((_error(trace.work(read[position]), pre), bounds.unit(trace)))
    return max(found, key=lambda f: _beside((*f, layer)))


def _attention(trace: Trace, layer: int, position: int, theirs: _Theirs) -> Found | None:
    part = trace.anatomy.blocks[layer]
    if part.output_projection is None:
        return None
    pre = trace.residual(layer, "pre")[position]
    carried = carry(trace, layer, position, "attention").forward(pre)
    added = _joined(theirs, part.attention_join, (part.output_projection,), carried)
    off = _error(trace.attention_output(layer, position), added)
    return off, _relative(trace, part, bounds.of_attention(trace, layer, position), added, carried)


def _mlp(trace: Trace, layer: int, position: int, theirs: _Theirs) -> Found | None:
    part = trace.anatomy.blocks[layer]
    if part.mlp is None:
        return None
    mid = trace.mid(layer, position)
    carried = carry(trace, layer, position, "mlp").forward(mid)
    added = _joined(theirs, part.mlp_join, part.mlp_exits, carried)
    row = trace.mlp_row(layer, position)
    total = row.parts().sum(0)
    off = _error(total if row.bias is None else total + row.bias, added)
    return off, _relative(trace, part, bounds.of_mlp(trace, layer, position), added, carried)


def _relative(
    trace: Trace, part: BlockAnatomy, bound: float, added: Tensor, carried: Tensor
) -> float:
    """A bound on what a sublayer adds, relative to it; norms and factors on the way round too, and
    where a norm is on the sum, so does the stream that is taken from it again.
    """
    joins = (part.attention_join, part.mlp_join)
    size = float(added.norm().clamp_min(1e-30))
    if any(not join.is_plain for join in joins):
        bound += 4 * bounds.unit(trace) * size
    if any(not join.carries_as_is for join in joins):
        bound += 8 * bounds.unit(trace) * float(carried.norm())
    return bound / size


def _sources(trace: Trace, layer: int, position: int) -> Found | None:
    if not trace.attends(layer):
        return None
    row = trace.attention_row(layer, position)
    n_heads, n_values = row.mixed.shape
    off = max(_error(row.sources(h).sum(0), row.heads[h]) for h in range(n_heads))
    return off, bounds.of_sums(trace, len(trace) * n_values)


def _eager_rows(trace: Trace, position: int) -> dict[nn.Module, Tensor]:
    """The weights that the model's eager attention gives, the same that it returns as
    `output_attentions` (asking for those would leave hooks of transformers on the model).

    Each block reads the traced stream, so that what another implementation rounds otherwise does
    not add up: it could tip a router over to another expert.
    """
    theirs: dict[nn.Module, Tensor] = {}

    def hear(call: AttentionCall) -> None:
        if call.weights is not None:
            theirs[call.module] = trace.work(call.weights[0, :, position])

    ids = trace.input_ids[None].to(input_device(trace.model))
    with ExitStack() as stack:
        _put_streams(stack, trace)
        stack.enter_context(listening(trace.model, hear, implementation="eager"))
        logits_of(trace.model, ids)
    return theirs


def _put_streams(stack: ExitStack, trace: Trace) -> None:
    """Have each block read the traced stream until the stack is left."""

    def put(layer: int) -> Any:
        pre = trace.record.layers[layer].pre

        def hook(block: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
            stream = trace.into(block, pre)[None]
            if args:
                return (stream, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": stream}

        return hook

    for layer, part in enumerate(trace.anatomy.blocks):
        handle = part.block.register_forward_pre_hook(put(layer), with_kwargs=True)
        stack.callback(handle.remove)


def _rows(trace: Trace, layer: int, position: int, theirs: dict[nn.Module, Tensor]) -> Found | None:
    module = trace.anatomy.blocks[layer].attention
    if module is None or module not in theirs:
        return None
    given = theirs[module][:, : len(trace)]
    size = float(given.norm().clamp_min(1e-30))
    bound = bounds.of_rows(trace, layer, position) / size
    return _error(trace.attention(layer, position), given), bound


def _directions(
    trace: Trace, layer: int, position: int, derive: Any, at_source: bool
) -> Found | None:
    if not trace.attends(layer):
        return None
    expected = trace.attention_row(layer, position).scores[:, : position + 1]
    heads, sources = range(expected.shape[0]), range(position + 1)
    directions, constants = derive(trace, layer, position, heads, sources)
    rows = sources if at_source else [position]
    x = trace.work(Projection(trace, layer, list(rows)).input)
    scores = torch.einsum("hjd,jd->hj", directions, x.expand(len(sources), -1)) + constants()
    seen = expected > float("-inf")
    size = float(expected[seen].norm().clamp_min(1e-30))
    bound = bounds.of_directions(trace, layer, position) / size
    return _error(scores[seen], expected[seen]), bound


def _logit(trace: Trace, position: int, logits: Tensor) -> float:
    target = int(logits.argmax())
    worst = 0.0
    for by in ("component", "head", "neuron"):
        parts = trace.logit_parts(target, position=position, by=by).values()
        total = capped(trace, logits.new_tensor(sum(parts)))
        worst = max(worst, float((total - logits[target]).abs() / logits.abs().max()))
    return worst


def capped(trace: Trace, logits: Tensor) -> Tensor:
    """The logits as the model gives them, through its softcap where it has one."""
    cap = trace.anatomy.softcap
    return logits if cap is None else torch.tanh(logits / cap) * cap


def _error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-30))
