"""Running a model's own `generate`, and the passes that said each of the new tokens.

There are three ways to these passes, and the numbers decide between them:

1. They are heard as they run (`passes.py`): nothing is computed twice.
2. Where they cannot be put together (models with attention code of their own, kernels that mask by
   themselves, static caches, assistants), one pass over the whole sequence is recorded afterwards:
   in a causal model it holds them all (`prefixes.py`). What it says of each new token has to be
   what `generate` saw.
3. Where it is not (positions that stretch with the length of the text), each pass is taken anew
   when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import (
    Cache,
    DynamicCache,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)  # fmt: skip

from ..model import Anatomy, VisitError
from ..model.exclusive import exclusive
from ..model.loaded import eval_mode
from ..model.watch import device_of, input_device
from .audit import capped
from .cached import Tables, alike, computes_alike
from .inputs import longest_of, too_long
from .options import goes_on_from_a_cache, option
from .passes import OtherBeginningError, Passes
from .prefixes import Prefixes, record_prefixes
from .record import Record
from .trace import Trace

_ANOTHER = (
    "What this model computes with its cache is not what it computes in one pass over the same "
    "text: each trace is of such a pass, taken when it is asked for, and need not say the token "
    "that came."
)


_FAILURES = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Generated:
    """What a model's `generate` gave.

    Attributes:
        tokens: the new token ids, in order.
        passes: those that said them, the last ones of them; None where each is to be taken anew.
        logits: (n, n_vocab) what the model said before each of the tokens, the last n of them; None
            where that is not known.
        interrupted: whether it was broken off.
        note: what there is to say of the passes, for the user.
    """

    tokens: list[int]
    passes: Prefixes | None
    logits: Tensor | None
    interrupted: bool
    note: str | None = None


class _Noting(StoppingCriteria):
    """Stops nothing, and notes each new token and what the model said before it.

    Attributes:
        sequence: prompt and new tokens.
        said: of each new token, the logits of the last pass before it.
        regular: whether each was said by the last pass before it, at its last position.
    """

    def __init__(self, passes: Passes) -> None:
        self.passes = passes
        self.sequence: Tensor | None = None
        self.said: list[Tensor] = []
        self.regular = True
        self._n_passes = 0

    def __call__(self, input_ids: Tensor, _scores: Any, **_: Any) -> Any:
        new, self._n_passes = self.passes.rows[self._n_passes :], self.passes.n_passes
        before = input_ids.shape[1] - 1
        if self.sequence is None:
            # The prompt, in one pass or in several.
            self.regular = sum(new) == before - self.passes.n_begun
        else:
            self.regular &= new in ([1], [before])
        if self.passes.said is not None:
            self.said.append(self.passes.said)
        self.sequence = input_ids[0]
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def generated(
    model: PreTrainedModel,
    anatomy: Anatomy,
    input_ids: Tensor,
    options: dict[str, Any],
    seed: int | None,
    keep_on: torch.device | str | None,
    shortest: int | None = None,
    begun: Record | None = None,
) -> Generated:
    """Let the model generate, and keep the passes.

    Args:
        model: the model.
        anatomy: where it keeps its parts.
        input_ids: (T,) the prompt, on the CPU.
        options: of `generate`.
        seed: of torch's random numbers; None for those that come next.
        keep_on: device for the kept tensors.
        shortest: the passes that are wanted begin with that over so many tokens; T by default.
        begun: the record of a pass over the prompt's beginning. The model goes on with its keys
            and values, where the last of its rows comes out again as it was.

    Raises:
        VisitError: `generate` does not take the options.
        KeyboardInterrupt: it was broken off before there was a token.
    """
    shortest = input_ids.numel() if shortest is None else shortest
    n_said = input_ids.numel() - shortest + 1
    with exclusive(model), _seeded(model, seed):
        if begun is not None and goes_on_from_a_cache(model, options):
            cache = cache_of(model, anatomy, begun, len(begun.final) - 1)
            passes = Passes(model, anatomy, keep_on, n_said, begun)
            if cache is not None and passes.problem is None:
                more = {**options, "past_key_values": cache}
                try:
                    run = _run(model, input_ids, more, passes)
                    return _with_passes(model, anatomy, input_ids, shortest, run, passes)
                except OtherBeginningError:
                    pass  # no number has been drawn yet
                except _FAILURES:
                    # Some models keep something else in their cache, some options want another.
                    if passes.n_passes:
                        raise
        passes = Passes(model, anatomy, keep_on, n_said)
        if passes.problem is None and not computes_alike(model, anatomy):
            passes.problem = "With a cache the model computes something else."
        run = _run(model, input_ids, options, passes)
        return _with_passes(model, anatomy, input_ids, shortest, run, passes)


@dataclass(frozen=True)
class _Run:
    tokens: list[int]
    said: list[Tensor]
    interrupted: bool


def _run(
    model: PreTrainedModel, input_ids: Tensor, options: dict[str, Any], passes: Passes
) -> _Run:
    """One call of `generate`, heard."""
    ids = input_ids[None].to(input_device(model))
    noting, tables = _Noting(passes), Tables(model)
    criteria = StoppingCriteriaList([*(options.get("stopping_criteria") or ()), noting])
    interrupted = False
    # What is kept takes part in derivatives later, which tensors made in inference mode cannot.
    with torch.inference_mode(False), torch.no_grad(), ExitStack() as stack:
        stack.enter_context(eval_mode(model))
        passes.listen(stack)
        try:
            found: Any = model.generate(  # type: ignore[operator]
                ids,
                **{
                    "attention_mask": torch.ones_like(ids),
                    **options,
                    "stopping_criteria": criteria,
                },
            )
            sequence = found if isinstance(found, Tensor) else found.sequences
        except KeyboardInterrupt:
            if noting.sequence is None:
                raise
            sequence, interrupted = noting.sequence[None], True
        except OtherBeginningError:
            raise
        except (ValueError, TypeError) as error:
            if passes.n_passes:
                raise
            raise VisitError(
                f"model.generate does not take these options: {_line(error)}"
            ) from error
        except torch.OutOfMemoryError as error:
            raise VisitError(
                f"There is not enough memory on {ids.device} to generate after "
                f'{input_ids.numel()} tokens: pass keep_on="cpu", or a smaller max_new_tokens.'
            ) from error
        except (IndexError, RuntimeError) as error:
            longest, n_tokens = longest_of(model), input_ids.numel() + len(noting.said) + 1
            if longest is None or n_tokens <= longest:
                raise
            raise too_long(n_tokens, longest) from error
    if not tables.stayed():
        passes.problem = "The model counted positions in another way in the end."
    tokens = [int(token) for token in sequence[0, input_ids.numel() :].tolist()]
    known = noting.regular and len(noting.said) >= len(tokens)
    plain = option(model, options, "guidance_scale") in (None, 1, 1.0)
    return _Run(tokens, noting.said[: len(tokens)] if known and plain else [], interrupted)


def _with_passes(
    model: PreTrainedModel,
    anatomy: Anatomy,
    input_ids: Tensor,
    shortest: int,
    run: _Run,
    passes: Passes,
) -> Generated:
    """What was generated, with the passes that said it."""
    sequence = torch.cat([input_ids, torch.tensor(run.tokens, dtype=torch.long, device="cpu")])
    said = torch.stack(run.said) if run.said else None
    if not run.tokens:
        return Generated([], None, None, run.interrupted)
    forced = input_ids.numel() - shortest
    try:
        found = None if said is None else passes.together(sequence.tolist(), shortest)
        if found is not None:
            assert said is not None
            trace = Trace(model, None, sequence[:-1], anatomy, found.whole, None)
            first = [capped(trace, trace.logits(shortest - 1 + n)).to(said) for n in range(forced)]
            logits = torch.cat([torch.stack(first), said]) if first else said
            found = replace(found, logits=logits, whole=replace(found.whole, logits=logits[-1]))
            return Generated(run.tokens, found, logits, run.interrupted)
        found = record_prefixes(
            model, anatomy, sequence[:-1], len(sequence) - shortest, passes.notes.keep_on
        )
    except VisitError:
        return Generated(run.tokens, None, said, run.interrupted)
    except KeyboardInterrupt:
        return Generated(run.tokens, None, said, True)
    if (said is None or alike(model, found.logits[forced:], said)) and (
        passes.first is None or _begins_alike(model, found, passes, input_ids.numel())
    ):
        return Generated(run.tokens, found, found.logits, run.interrupted)
    return Generated(run.tokens, None, said, run.interrupted, _ANOTHER)


def _begins_alike(model: PreTrainedModel, found: Prefixes, passes: Passes, n_tokens: int) -> bool:
    """Whether the prompt left in a pass over the whole what it left in the first pass."""
    assert passes.first is not None
    # A first pass may try some tokens after it, which did not come.
    known = passes.first[: n_tokens - passes.n_begun]
    return alike(model, found.whole.final[passes.n_begun :][: len(known)], known)


def cache_of(
    model: PreTrainedModel, anatomy: Anatomy, record: Record, n_tokens: int
) -> Cache | None:
    """A cache with the recorded keys and values of the first tokens; None where there is more to
    keep than these, or nothing. That the model goes on with it as it would have is to be checked.
    """
    if n_tokens < 1 or any(part.mixer is not None for part in anatomy.blocks):
        return None
    try:
        cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    except TypeError:  # of older versions of transformers
        cache = DynamicCache()
    try:
        for part, layer in zip(anatomy.blocks, record.layers, strict=True):
            kept = layer.attention
            if kept is None or getattr(part.attention, "is_kv_shared_layer", False):
                continue
            device = device_of(part.block) or kept.key.device
            pair = (t[None, :, :n_tokens].to(device) for t in (kept.key, kept.value))
            cache.update(*pair, part.attention.layer_idx)  # type: ignore[union-attr, arg-type]
        return cache if cache.get_seq_length() == n_tokens else None
    except (AttributeError, IndexError, TypeError, RuntimeError, ValueError):
        return None


@contextmanager
def _seeded(model: PreTrainedModel, seed: int | None) -> Iterator[None]:
    """Within the block torch draws from a seed, and after it goes on where it was."""
    if seed is None:
        yield
        return
    devices = {p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices)):
        torch.manual_seed(seed)
        yield


def _line(error: BaseException) -> str:
    said = " ".join(str(error).split())
    return said if len(said) <= 300 else f"{said[:299]}…"
