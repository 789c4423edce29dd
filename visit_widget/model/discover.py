"""Finding a model's anatomy from the numbers of one short pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .anatomy import Anatomy
from .attention import AttentionCall, hear_by_operations
from .block import BlockReader
from .eager import check_like_eager
from .errors import UnsupportedModelError
from .find import called, is_linear_like, is_norm_like, outermost, refuse, same
from .forward import logits_of
from .joins import scalar, settle
from .loaded import check_weights, eval_mode
from .watch import Call, Watched, input_device, input_embedding, watch


def discover(model: PreTrainedModel) -> Anatomy:
    """Watch a short pass of the model and say which module is what.

    Raises:
        UnsupportedModelError: naming the part that was not found.
    """
    check_weights(model)
    embedding = input_embedding(model)
    n_vocab = int(embedding.shape[0])
    ids = torch.tensor([[n_vocab // n for n in (3, 2, 5, 7, 4, 6)]], device="cpu") % n_vocab
    seen = watch(model, ids.to(input_device(model)))
    if not seen.attention:
        hear_by_operations(model)
        seen = watch(model, ids.to(input_device(model)))
    if not seen.attention:
        raise UnsupportedModelError(
            f"No layer of {type(model).__name__} mixes tokens by attention in a way that can be "
            "heard. Recurrent and state-space models are not supported: trace a model with "
            "attention layers."
        )
    check_like_eager(seen.attention, model.config._attn_implementation or "eager")
    blocks = _blocks(model, seen)
    whole = called(seen, model, "the model")
    if not _is_causal(model, ids, whole.output):
        raise UnsupportedModelError(
            f"{type(model).__name__} looks at later tokens (it is an encoder): load a causal "
            "language model, or set is_decoder=True in its config if it was trained as one. (If it "
            "is quantised, activations are rounded across tokens: load it with weight-only "
            "quantisation. If a hook of yours adds noise, take it off.)"
        )
    parts = []
    for index, block in enumerate(blocks):
        inside = set(block.modules())
        heard = [call for call in seen.attention if call.module in inside]
        parts.append(BlockReader(seen, index, block, heard).read())
    _check_order(seen, blocks, model)
    head = _unembedding(model, seen, whole)
    last = called(seen, blocks[-1], "the last block").output
    final_norm, head_scale = _final_norm(seen, last, head, model)
    logit_scale, softcap = _after_head(whole.output, head, model)
    return Anatomy(
        blocks=tuple(parts),
        final_norm=final_norm,
        unembedding=head.module,
        d_model=last.shape[-1],
        n_vocab=head.output.shape[-1],
        head_scale=head_scale,
        logit_scale=logit_scale,
        softcap=softcap,
    )


def _is_causal(model: PreTrainedModel, ids: Tensor, logits: Tensor) -> bool:
    """Whether what is said at earlier positions stays the same when the last token changes."""
    changed = ids.clone()
    changed[0, -1] = ids[0, 0] if ids[0, 0] != ids[0, -1] else ids[0, -1] // 2
    with torch.no_grad(), eval_mode(model):
        again = logits_of(model, changed.to(input_device(model)))
    if again.shape != logits.shape:
        return False
    before, after = logits[0, :-1].double(), again[0, :-1].double()
    return bool((before - after).norm() <= 16 * torch.finfo(logits.dtype).eps * before.norm())


def _blocks(model: PreTrainedModel, seen: Watched) -> list[nn.Module]:
    """The called elements of the module list that holds the attention modules."""
    names = {module: name for name, module in model.named_modules()}
    first: AttentionCall = seen.attention[0]
    path = names.get(first.module, "").split(".")
    for length in range(1, len(path)):
        parent = model.get_submodule(".".join(path[:length]))
        if isinstance(parent, nn.ModuleList):
            break
    else:
        raise refuse(
            f"The blocks of {type(model).__name__} were not found: its attention is in no "
            "ModuleList."
        )
    inside = {module for block in parent for module in block.modules()}
    stray = next((call for call in seen.attention if call.module not in inside), None)
    if stray is not None:
        raise refuse(
            f"{type(model).__name__} attends outside its blocks, in "
            f"{names.get(stray.module, type(stray.module).__name__)}."
        )
    order = [c.module for c in seen.calls if c.module in set(parent)]
    if len(order) != len(set(order)):
        raise refuse(
            f"{type(model).__name__} runs its blocks more than once in a pass; each is understood "
            "as one layer."
        )
    return order


def _check_order(seen: Watched, blocks: list[nn.Module], model: PreTrainedModel) -> None:
    """Each block reads what the one before it gave."""
    for index in range(1, len(blocks)):
        before = called(seen, blocks[index - 1], f"block {index - 1}").output
        after = called(seen, blocks[index], f"block {index}").input
        if not same(before, after):
            raise refuse(
                f"Between blocks {index - 1} and {index} {type(model).__name__} does something to "
                "the stream that was not understood."
            )


def _unembedding(model: PreTrainedModel, seen: Watched, whole: Call) -> Call:
    module = model.get_output_embeddings()
    found = None if module is None else seen.of(module)
    if found is None:
        found = outermost(
            [c for c in seen.calls if is_linear_like(c.module)],
            lambda c: same(c.output, whole.output),
        )
    if found is None:
        raise UnsupportedModelError(
            f"{type(model).__name__} has no language-model head. Load it with AutoModelForCausalLM."
        )
    return found


def _final_norm(
    seen: Watched, last: Tensor, head: Call, model: PreTrainedModel
) -> tuple[nn.Module | None, float]:
    """The norm between the last block and the unembedding, and the factor after it."""
    assert head.input is not None
    into = head.input.reshape(1, -1, head.input.shape[-1])
    if same(last, into):
        return None, 1.0
    readers = [c for c in seen.calls if same(c.input, last)]
    norms = [c for c in readers if is_norm_like(c.module)]
    exact = outermost(norms, lambda c: same(c.output, into))
    if exact is not None:
        return exact.module, 1.0
    for call in (*norms, None):
        factor = scalar(into, last if call is None else call.output, model)
        if factor is not None:
            return None if call is None else call.module, factor
    other = outermost(readers, lambda c: same(c.output, into))
    between = "" if other is None else f" ({type(other.module).__name__})"
    raise refuse(
        f"What {type(model).__name__} does between its last block and the unembedding{between} is "
        "not a norm, so that a logit is no sum over the parts of the stream."
    )


def _after_head(logits: Tensor, head: Call, model: PreTrainedModel) -> tuple[float, float | None]:
    """The factor on the unembedding's output, and the softcap."""
    if same(logits, head.output):
        return 1.0, None
    eps = torch.finfo(logits.dtype).eps
    if head.output.numel() == logits.numel():
        given = head.output.reshape(logits.shape).to(logits.dtype)
        # In half precision a gentle cap looks like a factor: the best of what fits is taken.
        fitting: list[tuple[float, float, float | None]] = []
        factor = scalar(logits, given, model)
        if factor is not None:
            off = (given.double() * factor - logits).norm()
            fitting.append((float(off), factor, None))
        for cap in sorted(_caps(model)):
            # Far from the cap, where the inverse is well behaved, it shows what was capped.
            inner = torch.atanh((logits.double() / cap).clamp(-0.999, 0.999)) * cap
            scale = float((inner * given).sum() / given.double().square().sum())
            for factor in (1.0, float(settle(scale, model, eps))):
                ours = torch.tanh(given.double() * factor / cap) * cap
                off = (ours - logits).norm()
                if off <= 8 * eps * logits.double().norm():
                    fitting.append((float(off), factor, cap))
        if fitting:
            _, factor, softcap = min(fitting, key=lambda f: f[0])
            return factor, softcap
    raise refuse(
        f"The logits of {type(model).__name__} are not what its unembedding gives, scaled or "
        "softly capped."
    )


def _caps(model: PreTrainedModel) -> set[float]:
    """What the config has of caps."""
    config = vars(model.config.get_text_config())
    return {float(v) for k, v in config.items() if "cap" in k and isinstance(v, (int, float)) and v}
