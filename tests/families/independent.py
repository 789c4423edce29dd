"""Other ways to what a trace says: passes of the model itself under plain hooks.

Of the package only the names of modules are used (`trace.anatomy`); every number that a trace is
compared with comes out of the model's own arithmetic, or of a norm's textbook formula. A part is
taken out where the model makes it (a head's slice of the output projection's input, a neuron's
activation, an expert's weights, a mixer's output), and the stream after the sublayer must change by
exactly that part, what else reads the change in that layer held as it was. Where a norm stands in
between, the change goes through the formula with the norm's scale frozen: after the sublayer
(`post_norm`) it is put in the place of what the norm gave, and the model goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

import visit_widget as vw
from tests.families.configs import PROMPT

# Names in configs of c in logits = c · tanh(z / c).
CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
# Classes that pass over the cap in their config.
UNCAPPED = ("Gemma3ForConditionalGeneration",)


def first(value: Any) -> Tensor:
    """The hidden state that a module was given or gave."""
    if isinstance(value, dict):
        value = list(value.values())
    tensor: Tensor = value if isinstance(value, Tensor) else value[0]
    return tensor


def row(tensor: Tensor, position: int) -> Tensor:
    """One position of (1, T, width), or of (T, width)."""
    return tensor.detach().reshape(-1, tensor.shape[-1])[position].clone()


def off(ours: Tensor, theirs: Tensor, scale: Tensor | None = None) -> float:
    """‖ours − theirs‖ in units of ‖theirs‖, or of ‖scale‖."""
    size = (theirs if scale is None else scale).norm().clamp_min(1e-30)
    return float((ours.to(theirs) - theirs).norm() / size)


# Rows and logits.


def rows(eager: PreTrainedModel, trace: vw.Trace, position: int) -> float | None:
    """`trace.attention` against the `output_attentions` of a model of its own in eager attention;
    None where it returns none.
    """
    with torch.no_grad():
        output = eager(torch.tensor([PROMPT]), use_cache=False, output_attentions=True)
    given = getattr(output, "attentions", None) or ()
    # Some give the states of linear attention along with them.
    given = [a for a in given if a is not None and a.shape[-2] == len(PROMPT)]
    layers = [n for n in range(trace.n_layers) if trace.attends(n)]
    if not given:
        return None
    assert len(given) == len(layers), f"{len(given)} attentions for {len(layers)} layers"
    return max(
        off(trace.attention(n, position), a[0, :, position, : len(PROMPT)])
        for n, a in zip(layers, given, strict=True)
    )


def logits(model: PreTrainedModel, trace: vw.Trace, position: int) -> float:
    """Σ logit_parts against the model's own logits with the softcap undone, each way to split a
    logit, with and without a foil.
    """
    with torch.no_grad():
        said = model(torch.tensor([PROMPT]), use_cache=False).logits[0, position].to(trace.dtype)
    config = model.config.get_text_config()
    cap = next((c for name in CAPS if (c := getattr(config, name, None))), None)
    known = said.isfinite()
    if cap is not None and type(model).__name__ not in UNCAPPED:
        known &= said.abs() < 0.9 * cap
        said = torch.atanh((said / cap).clamp(-0.99, 0.99)) * cap
    target, *_, foil = said.masked_fill(~known, 0).topk(5).indices.tolist()
    size = float(said[known].abs().max())
    worst = 0.0
    for by in ("component", "head", "neuron"):
        for other in (None, foil):
            parts = trace.logit_parts(target, other, position, by)
            expected = float(said[target] - (0 if other is None else said[other]))
            worst = max(worst, abs(sum(parts.values()) - expected) / size)
    return worst


def said(model: PreTrainedModel, trace: vw.Trace, position: int) -> float:
    """`trace.logits`, capped as the anatomy has it, against the model's own logits."""
    with torch.no_grad():
        theirs = model(torch.tensor([PROMPT]), use_cache=False).logits[0, position].to(trace.dtype)
    ours, cap = trace.logits(position), trace.anatomy.softcap
    known = theirs.isfinite()
    return off((ours if cap is None else torch.tanh(ours / cap) * cap)[known], theirs[known])


# Ablations.


# Changes a model until the stack is left.
Change = Callable[[ExitStack], None]


@dataclass(frozen=True)
class Sublayer:
    """Where the change that a part makes is looked at.

    Attributes:
        block: the block.
        post_norm: norm of what the sublayer writes, if any.
        stream_norm: norm of the sum, if any.
        reader: the module that reads the stream after the sublayer; None where that is the block's
            output.
    """

    block: nn.Module
    post_norm: nn.Module | None = None
    stream_norm: nn.Module | None = None
    reader: nn.Module | None = None

    @property
    def watched(self) -> dict[str, tuple[nn.Module, bool]]:
        """What to look at: {name: (module, whether at its input)}."""
        found = {"after": (self.reader or self.block, self.reader is not None)}
        if self.post_norm is not None:
            found["post_norm"] = self.post_norm, True
        if self.stream_norm is not None:
            found["stream_norm"] = self.stream_norm, True
        return found


@dataclass
class Bench:
    """A model on which parts are taken out at one position."""

    model: PreTrainedModel
    trace: vw.Trace
    position: int

    def attention(self, layer: int) -> Sublayer:
        """What comes after attention, or after a mixer in its place."""
        part = self.trace.anatomy.blocks[layer]
        join = part.attention_join
        reader = None if part.parallel else part.mlp_entry
        return Sublayer(part.block, join.post_norm, join.stream_norm, reader)

    def mlp(self, layer: int) -> Sublayer:
        """What comes after the MLP."""
        part = self.trace.anatomy.blocks[layer]
        return Sublayer(part.block, part.mlp_join.post_norm, part.mlp_join.stream_norm)

    def mixer(self, layer: int) -> Sublayer:
        """What comes after a mixer."""
        part = self.trace.anatomy.blocks[layer]
        if part.attention is None and not part.mixer_late:
            return self.attention(layer)
        # Beside attention or MLP it has norms of its own, in the module.
        late = part.mixer_late or part.parallel
        return Sublayer(part.block, reader=None if late else part.mlp_entry)

    def see(self, sublayer: Sublayer, *changes: Change) -> dict[str, Tensor]:
        """What is seen at the sublayer in a pass with some changes."""
        seen: dict[str, Tensor] = {}

        def look(name: str, module: nn.Module, at_input: bool) -> Any:
            def before(_: nn.Module, args: Any, kwargs: Any) -> None:
                seen[name] = row(first(args or kwargs), self.position)

            def after(_: nn.Module, _args: Any, output: Any) -> None:
                seen[name] = row(first(output), self.position)

            if at_input:
                return module.register_forward_pre_hook(before, with_kwargs=True)
            return module.register_forward_hook(after)

        with ExitStack() as stack, torch.no_grad():
            for change in changes:
                change(stack)
            for name, (module, at_input) in sublayer.watched.items():
                stack.callback(look(name, module, at_input).remove)
            self.model(torch.tensor([PROMPT]), use_cache=False)
        return seen

    def without(self, sublayer: Sublayer, change: Change, held: nn.Module | None = None) -> Tensor:
        """How the stream after the sublayer changes, the scales of norms in between frozen.

        Args:
            sublayer: where the change is looked at.
            change: what takes the part out.
            held: a module of the block that reads what has changed, and goes on to give what it
                usually does.
        """
        others = [] if held is None else [self.constant(held)]
        usual, seen = self.see(sublayer), self.see(sublayer, change, *others)
        if sublayer.post_norm is not None:
            part = seen["post_norm"] - usual["post_norm"]
            part = frozen(sublayer.post_norm, usual["post_norm"], part)
            seen = self.see(sublayer, self.plus(sublayer.post_norm, part), *others)
        if sublayer.stream_norm is not None:
            part = seen["stream_norm"] - usual["stream_norm"]
            return frozen(sublayer.stream_norm, usual["stream_norm"], part)
        return seen["after"] - usual["after"]

    # Changes.

    def plus(self, module: nn.Module, part: Tensor) -> Change:
        """Adds to what a module gives."""

        def hook(_: nn.Module, _args: Any, output: Tensor) -> Tensor:
            changed = output.clone()
            changed.view(-1, output.shape[-1])[self.position] += part
            return changed

        return lambda stack: stack.callback(module.register_forward_hook(hook).remove)

    def constant(self, module: nn.Module) -> Change:
        """Gives what the module gives in a pass without changes."""
        usual = self.see(Sublayer(module))["after"]

        def hook(_: nn.Module, _args: Any, output: Any) -> Any:
            changed = first(output).clone()
            changed.view(-1, changed.shape[-1])[self.position] = usual
            return changed if isinstance(output, Tensor) else (changed, *output[1:])

        return lambda stack: stack.callback(module.register_forward_hook(hook).remove)

    def silent(self, module: nn.Module) -> Change:
        """Zeros what a module gives."""

        def hook(_: nn.Module, _args: Any, output: Any) -> Any:
            changed = first(output).clone()
            changed.view(-1, changed.shape[-1])[self.position] = 0
            return changed if isinstance(output, Tensor) else (changed, *output[1:])

        return lambda stack: stack.callback(module.register_forward_hook(hook).remove)

    def cut(self, module: nn.Module, place: slice) -> Change:
        """Zeros some numbers of what a module reads."""

        def hook(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            changed = args[0].clone()
            changed.view(-1, changed.shape[-1])[self.position, place] = 0
            return (changed, *args[1:])

        return lambda stack: stack.callback(module.register_forward_pre_hook(hook).remove)

    def erased(self, weight: Tensor, place: tuple[Any, ...]) -> Change:
        """Zeros some numbers of a weight."""
        return lambda stack: stack.enter_context(_erased(weight, place))


@contextmanager
def _erased(weight: Tensor, place: tuple[Any, ...]) -> Iterator[None]:
    usual = weight.data[place].clone()
    weight.data[place] = 0
    try:
        yield
    finally:
        weight.data[place] = usual


def heads(bench: Bench, layer: int) -> float | None:
    """`head_outputs`, the first and the last head; None where the layer has none."""
    part = bench.trace.anatomy.blocks[layer]
    if part.output_projection is None:
        return None
    said = bench.trace.head_outputs(layer, bench.position)
    count = len(said)
    width = bench.trace.attention_row(layer, bench.position).matrix.shape[1]
    worst = 0.0
    for head in {0, count - 1}:
        change = bench.cut(part.output_projection, slice(head * width, (head + 1) * width))
        lost = bench.without(bench.attention(layer), change)
        worst = max(worst, off(-said[head], lost, said[head]))
    return worst


def neurons(bench: Bench, layer: int) -> float | None:
    """activation · value of some neurons, those that write most and one that may be idle; None
    where the layer has no MLP.
    """
    trace, part = bench.trace, bench.trace.anatomy.blocks[layer]
    if part.mlp is None:
        return None
    said = trace.neurons(layer, bench.position)[:, None]
    said = said * trace.neuron_values(layer, bench.position)
    order = said.norm(dim=-1).argsort(descending=True).tolist()
    worst, size = 0.0, said[order[0]]
    for neuron in {*order[:2], order[len(order) // 20], order[-1]}:
        if part.down_projection is not None:
            change = bench.cut(part.down_projection, slice(neuron, neuron + 1))
        else:
            change = bench.erased(*place_of(part, neuron, trace.d_model))
        late = part.mixer if part.mixer_late else None
        lost = bench.without(bench.mlp(layer), change, held=late)
        worst = max(worst, off(-said[neuron], lost, size))
    return worst


def place_of(part: vw.BlockAnatomy, neuron: int, d_model: int) -> tuple[Tensor, tuple[Any, ...]]:
    """The weight of a neuron that no single down projection has, and where in it its value is."""
    assert part.mlp is not None
    assert part.writers is not None
    for group in part.writers.groups:
        inside = neuron - group.offset
        if 0 <= inside < group.size:
            weight = part.mlp.get_parameter(group.names[inside // group.per_weight])
            inside %= group.per_weight
            if weight.ndim == 3:
                expert, n = divmod(inside, group.width)
                across = weight.shape[1] == d_model
                return weight, (expert, slice(None), n) if across else (expert, n)
            return weight, (slice(None), inside) if weight.shape[0] == d_model else (inside,)
    raise AssertionError(f"no weight has neuron {neuron}")


def mixers(bench: Bench, layer: int) -> float | None:
    """`mixer_output`; None where the layer has none."""
    part = bench.trace.anatomy.blocks[layer]
    if part.mixer is None:
        return None
    said = bench.trace.mixer_output(layer, bench.position)
    lost = bench.without(bench.mixer(layer), bench.silent(part.mixer))
    return off(-said, lost)


# Norms.


def frozen(norm: nn.Module, whole: Tensor, part: Tensor) -> Tensor:
    """What a summand `part` of `whole` becomes in a norm with its scale frozen at `whole`, by the
    formulas of layer norm and RMS norm; the one is taken that gives what the module gives.
    """
    weight = getattr(norm, "weight", None)
    bias = getattr(norm, "bias", None)
    gains = [torch.ones_like(whole)] if weight is None else [weight.detach(), 1 + weight.detach()]
    numbers = [v for v in vars(norm).values() if isinstance(v, float) and 0 < v < 1e-2]
    with torch.no_grad():
        theirs = norm(whole[None, None])[0, 0]
        for centred in (True, False):
            x, p = (v - v.mean() if centred else v for v in (whole, part))
            for gain in gains:
                for epsilon in [*numbers, torch.finfo(torch.float32).eps, 0.0]:
                    scale = (x.square().mean() + epsilon).rsqrt()
                    ours = gain * scale * x + (0 if bias is None else bias.detach())
                    if off(ours, theirs) < 1e-12:
                        return gain * scale * p
    raise AssertionError(f"{type(norm).__name__} is neither a layer norm nor an RMS norm")
