"""Finding a model's anatomy from the numbers of one short pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .anatomy import Anatomy, BlockAnatomy
from .attention import AttentionCall
from .errors import UnsupportedModelError
from .watch import Call, Watched, input_embedding, watch

HINT = "If you know where the model keeps it, pass an Anatomy by hand: see docs/architecture.md."


def discover(model: PreTrainedModel) -> Anatomy:
    """Watch a short pass of the model and say which module is what.

    Raises:
        UnsupportedModelError: naming the part that was not found.
    """
    unembedding = model.get_output_embeddings()
    if unembedding is None:
        raise UnsupportedModelError(
            f"{type(model).__name__} has no language-model head. Load it with AutoModelForCausalLM."
        )
    embedding = input_embedding(model)
    n_vocab = int(embedding.shape[0])
    ids = torch.tensor([[n_vocab // 3, n_vocab // 2, n_vocab // 5, n_vocab // 7]]) % n_vocab
    seen = watch(model, ids.to(embedding.device))
    if not seen.attention:
        raise UnsupportedModelError(
            f"{type(model).__name__} made no call of the attention interface: no layer of it "
            "mixes tokens by attention "
            "in a way that can be heard. Recurrent and state-space models are not supported."
        )
    blocks = _blocks(model, seen)
    if len(blocks) != len(seen.attention):
        raise UnsupportedModelError(
            f"{type(model).__name__} has {len(blocks)} blocks but {len(seen.attention)} attention "
            "calls; "
            "models whose blocks do not each attend once are not supported."
        )
    parts = tuple(
        _block(seen, index, block, heard)
        for index, (block, heard) in enumerate(zip(blocks, seen.attention, strict=True))
    )
    last = _called(seen, blocks[-1], "the last block")
    head = _called(seen, unembedding, "the unembedding")
    final_norm = None
    if not _same(head.input, last.output):
        final_norm = _outermost(
            seen.calls, lambda c: _same(c.input, last.output) and _same(c.output, head.input)
        )
        if final_norm is None:
            raise UnsupportedModelError(
                f"The final norm of {type(model).__name__} was not found. {HINT}"
            )
    return Anatomy(
        blocks=parts,
        final_norm=None if final_norm is None else final_norm.module,
        unembedding=unembedding,
        n_heads=seen.attention[0].query.shape[1],
        d_model=last.output.shape[-1],
        d_mlp=_called(seen, parts[0].down_projection, "the down projection").inputs[0].shape[-1],
        n_vocab=head.output.shape[-1],
    )


def _blocks(model: PreTrainedModel, seen: Watched) -> list[nn.Module]:
    """The called elements of the module list that holds the attention modules."""
    names = {module: name for name, module in model.named_modules()}
    path = names.get(seen.attention[0].module, "").split(".")
    for length in range(1, len(path)):
        parent = model.get_submodule(".".join(path[:length]))
        if isinstance(parent, nn.ModuleList):
            return [block for block in parent if seen.of(block) is not None]
    raise UnsupportedModelError(
        f"The blocks of {type(model).__name__} were not found: its attention is in no ModuleList. "
        f"{HINT}"
    )


def _block(seen: Watched, index: int, block: nn.Module, heard: AttentionCall) -> BlockAnatomy:
    inside = set(block.modules())
    calls = [c for c in seen.calls if c.module in inside]
    whole = _called(seen, block, f"block {index}")
    attention = _called(seen, heard.module, f"the attention of block {index}")
    in_attention = set(heard.module.modules())
    outside = [c for c in calls if c.module not in in_attention and c.module is not block]
    stream = whole.input
    if stream is None:
        raise UnsupportedModelError(f"Block {index} was called without a hidden state. {HINT}")

    heads = heard.output.reshape(1, stream.shape[1], -1)
    output = _outermost(
        [c for c in calls if c.module in in_attention and c.module is not heard.module],
        lambda c: _same(c.input, heads),
    )
    if output is None:
        raise UnsupportedModelError(f"The output projection of block {index} was not found. {HINT}")

    attention_norm = _norm_between(
        outside, stream, attention.inputs, f"the attention norm of block {index}"
    )
    post = _outermost(outside, lambda c: _same(c.input, output.output) and not _idle(c))
    written = output if post is None else post

    mlp, mlp_post = _mlp(outside, stream, written.output, whole.output, index)
    down = _outermost(
        [c for c in calls if c.module in set(mlp.module.modules()) - {mlp.module}],
        lambda c: _same(c.output, mlp.output) and not _idle(c),
    )
    if down is None or not isinstance(down.input, Tensor):
        raise UnsupportedModelError(
            f"The down projection of the MLP of block {index} was not found. {HINT}"
        )
    mid = stream + written.output
    reads = mlp.inputs[0]
    mlp_norm, parallel = None, False
    if not _close(reads, mid) and not _same(reads, stream):
        found = _outermost(
            outside, lambda c: _same(c.output, reads) and not _same(c.input, c.output)
        )
        if found is None or found.input is None:
            raise UnsupportedModelError(
                f"The norm before the MLP of block {index} was not found. {HINT}"
            )
        mlp_norm, reads = found.module, found.input
    if not _close(reads, mid):
        if not _close(reads, stream):
            raise UnsupportedModelError(
                f"The MLP of block {index} reads neither the stream before the block nor the one "
                f"after attention. {HINT}"
            )
        parallel = True
    return BlockAnatomy(
        block=block,
        attention=heard.module,
        output_projection=output.module,
        mlp=mlp.module,
        down_projection=down.module,
        attention_norm=attention_norm,
        mlp_norm=mlp_norm,
        attention_post_norm=None if post is None else post.module,
        mlp_post_norm=None if mlp_post is None else mlp_post.module,
        activation=_activation(calls, mlp, down),
        inner_norms=_inner_norms([c for c in calls if c.module in in_attention]),
        parallel=parallel,
    )


def _norm_between(
    calls: list[Call], stream: Tensor, inputs: list[Tensor], name: str
) -> nn.Module | None:
    """The module that turns the stream into one of the inputs; None where the stream itself is the
    input.
    """
    if any(_same(stream, x) for x in inputs):
        return None
    found = _outermost(
        calls, lambda c: _same(c.input, stream) and any(_same(c.output, x) for x in inputs)
    )
    if found is None:
        raise UnsupportedModelError(f"Could not find {name}. {HINT}")
    return found.module


def _mlp(
    calls: list[Call], stream: Tensor, attention_written: Tensor, after: Tensor, index: int
) -> tuple[Call, Call | None]:
    """The MLP, and its post-norm where there is one: what the block added after attention is its
    output.
    """
    wide = torch.float64
    delta = after.to(wide) - stream.to(wide) - attention_written.to(wide)
    # Streams can carry values thousands of times larger than what is added; the calmest position is
    # the best witness.
    calm = int(after[0].to(wide).norm(dim=-1).argmin())
    size = delta[0, calm].norm().clamp_min(1e-30)
    noise = (
        32
        * torch.finfo(after.dtype).eps
        * (after[0, calm].to(wide).norm() + stream[0, calm].to(wide).norm())
    )

    def misses(call: Call) -> float:
        if call.output.numel() != delta.numel():
            return float("inf")
        return float((call.output.reshape(delta.shape)[0, calm].to(wide) - delta[0, calm]).norm())

    best = min((misses(c) for c in calls), default=float("inf"))
    writer = _outermost(calls, lambda c: misses(c) <= best * 1.001)
    if writer is None or best > max(1e-5 * float(size), float(noise)):
        raise UnsupportedModelError(
            f"Block {index} adds something to the stream that is neither its attention nor an MLP "
            "that was found "
            f"(off by {best / float(size):.1e}). {HINT}"
        )
    if not _is_leaf(writer.module):
        return writer, None
    mlp = _outermost(
        calls,
        lambda c: _same(c.output, writer.input) and not _is_leaf(c.module),
    )
    if mlp is None:
        raise UnsupportedModelError(f"The MLP of block {index} was not found as one module. {HINT}")
    return mlp, writer


def _activation(calls: list[Call], mlp: Call, down: Call) -> nn.Module | None:
    """The parameterless module of the MLP that acts neuron by neuron."""
    inside = set(mlp.module.modules())
    width = down.inputs[0].shape[-1]
    for call in calls:
        if call.module not in inside or call.input is None or _idle(call):
            continue
        plain = not any(True for _ in call.module.parameters()) and _is_leaf(call.module)
        if plain and call.input.shape[-1] == width == call.output.shape[-1]:
            return call.module
    return None


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _inner_norms(calls: list[Call]) -> tuple[nn.Module, ...]:
    """Modules inside attention that keep the shape and have at most vectors as weights: norms of
    queries and keys.
    """
    return tuple(
        c.module
        for c in calls
        if c.input is not None
        and c.input.shape == c.output.shape
        and _is_leaf(c.module)
        and all(p.ndim <= 1 for p in c.module.parameters())
        and not _idle(c)
    )


def _called(seen: Watched, module: nn.Module, what: str) -> Call:
    call = seen.of(module)
    if call is None or not call.inputs:
        raise UnsupportedModelError(
            f"In a short forward pass {what} was not called with a tensor. {HINT}"
        )
    return call


def _outermost(calls: Iterable[Call], fits: Callable[[Call], bool]) -> Call | None:
    """Of the calls that fit, the one whose module holds the others (the first of those that hold
    none).
    """
    return min((c for c in calls if fits(c)), key=lambda c: c.name.count("."), default=None)


def _idle(call: Call) -> bool:
    """Whether the module only passes on what it gets (dropout in eval mode, identity)."""
    return _same(call.input, call.output)


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None or a.numel() != b.numel():
        return False
    return a is b or bool(torch.equal(a.reshape(-1), b.reshape(-1).to(a.device)))


def _close(a: Tensor, b: Tensor) -> bool:
    tolerance = 8 * torch.finfo(a.dtype).eps
    return a.shape == b.shape and bool((a - b).norm() <= tolerance * b.norm())
