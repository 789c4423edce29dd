"""One pass of a whole model, whichever way its `forward` wants to be called and answers.

Most models of transformers take `input_ids` and `use_cache` and give an output with `logits`. Code
of one's own may know neither, give a plain tensor or a tuple, or ask for a mask or positions first.
"""

from __future__ import annotations

import inspect
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .errors import UnsupportedModelError, VisitError

# What a model is given besides the ids if it does not run without, each in addition to the last.
_MORE = ("attention_mask", "position_ids", "token_type_ids", "cache_position")
_KEEP_LAST = ("logits_to_keep", "num_logits_to_keep")
_LOGITS = ("logits", "lm_logits", "prediction_logits", "prediction_scores")
_FAILURES = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError,
    RuntimeError, TypeError, ValueError,
)  # fmt: skip
_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


@dataclass
class _Manner:
    """How a `forward` wants to be called.

    Attributes:
        code: the function, to see when it is another.
        ids: the keyword of the token ids; None where they go first.
        keep_last: the keyword by which only the last position's logits are made.
        named: the keywords that it names.
        open: whether it takes others.
        refused: keywords that it turned out not to know.
        more: what else it is given.
    """

    code: Any
    ids: str | None
    keep_last: str | None
    named: frozenset[str]
    open: bool
    refused: set[str] = field(default_factory=set)
    more: tuple[str, ...] = ()

    def knows(self, keyword: str) -> bool:
        """Whether a keyword can be passed."""
        return (keyword in self.named or self.open) and keyword not in self.refused


_manners: weakref.WeakKeyDictionary[nn.Module, _Manner] = weakref.WeakKeyDictionary()


def logits_of(
    model: PreTrainedModel,
    input_ids: Tensor,
    last: int | Sequence[int] | None = None,
    afresh: Callable[[], Any] = lambda: None,
    given: Mapping[str, Any] | None = None,
) -> Tensor:
    """Run the model and give its logits as it gives them: (1, T, n_vocab).

    Args:
        model: in the state in which it is to run.
        input_ids: (1, T), where the model wants them; or a batch.
        last: only so many of the last positions' are needed, or those at some positions; where the
            model can leave out the others, (1, as many, n_vocab). All by default.
        afresh: called before the model is run again in another way, when the first did not work:
            hooks may have noted something on the way.
        given: what else it is to be given, where it knows it: the mask of a batch, say.

    Raises:
        UnsupportedModelError: it does not run on token ids alone, or gives no logits.
        VisitError: there is not enough memory.
    """
    manner = _manner_of(model)
    failed: Exception | None = None
    for more in _ways(manner):
        try:
            output = _call(model, manner, input_ids, more, last, afresh, given or {})
        except VisitError:
            raise
        except torch.OutOfMemoryError as error:
            raise VisitError(
                f"There is not enough memory on {input_ids.device} for a pass of "
                f"{input_ids.shape[1]} tokens: shorten the prompt, or load the model in a smaller "
                "dtype or on another device."
            ) from error
        except _FAILURES as error:
            failed = failed or error
            afresh()
            continue
        manner.more = more
        n_said = last if last is None or isinstance(last, int) else len(last)
        return logits_in(output, model, input_ids.shape[1], n_said)
    if isinstance(failed, (IndexError, RuntimeError)) and not isinstance(
        failed, NotImplementedError
    ):
        # It was called rightly, and something went wrong on the way: memory, an index, the user's
        # own code.
        raise failed
    raise UnsupportedModelError(
        f"{type(model).__name__} could not be run on these {input_ids.shape[1]} token ids alone "
        f"({type(failed).__name__}: {_shortened(failed)}). A trace calls it as model(input_ids=…): "
        "see that this works, or load a causal language model with AutoModelForCausalLM."
    ) from failed


def logits_in(
    output: Any, model: PreTrainedModel, n_tokens: int, last: int | None = None
) -> Tensor:
    """The logits in what a model gave: (1, T or fewer, n_vocab).

    By name where they have one, else by shape: a loss may come first, hidden states and caches
    with them.

    Raises:
        UnsupportedModelError: there are none.
    """
    found = _by_name(output)
    if found is not None and found.ndim >= 2:
        return _batched(found)
    every = [t for t in _tensors(output) if _may_be_logits(t, (n_tokens, 1, last))]
    sizes = _vocabulary_sizes(model)
    fitting = [t for t in every if t.shape[-1] in sizes] or every[:1]
    if not fitting:
        raise UnsupportedModelError(
            f"{type(model).__name__} gives no logits for {n_tokens} tokens but "
            f"{type(output).__name__}: load a model with a language-model head, with "
            "AutoModelForCausalLM."
        )
    return _batched(fitting[0])


def _call(
    model: PreTrainedModel,
    manner: _Manner,
    ids: Tensor,
    more: tuple[str, ...],
    last: int | Sequence[int] | None,
    afresh: Callable[[], Any],
    besides: Mapping[str, Any],
) -> Any:
    given: dict[str, Any] = {name: _made(name, ids) for name in more}
    given.update(besides, use_cache=False)
    if last is not None and manner.keep_last is not None:
        some = last if isinstance(last, int) else torch.tensor(list(last), device=ids.device)
        given[manner.keep_last] = some
    given = {name: value for name, value in given.items() if manner.knows(name)}
    first = (ids,) if manner.ids is None else ()
    needed = {} if manner.ids is None else {manner.ids: ids}
    while True:
        try:
            with _named_outputs(model):
                return model(*first, **needed, **given)
        except TypeError as error:
            # Where keywords are handed on, only what gets them says that it does not know one.
            unknown = _UNEXPECTED.search(str(error))
            if unknown is None or unknown[1] not in given:
                raise
            manner.refused.add(unknown[1])
            del given[unknown[1]]
            afresh()


@contextmanager
def _named_outputs(model: PreTrainedModel) -> Iterator[None]:
    """Within the block no config asks for tuples, which newer models of transformers cannot read
    from their own inner model.
    """
    configs = {id(c): c for c in (model.config, model.config.get_text_config())}.values()
    tuples = [c for c in configs if vars(c).get("return_dict") is False]
    try:
        for config in tuples:
            config.return_dict = True
        yield
    finally:
        for config in tuples:
            config.return_dict = False


def _ways(manner: _Manner) -> Iterator[tuple[str, ...]]:
    """What to give besides the ids: what worked before, else more and more."""
    yield manner.more
    some: tuple[str, ...] = ()
    for name in _MORE:
        if name in manner.named:
            some = (*some, name)
            if some != manner.more:
                yield some


def _made(name: str, ids: Tensor) -> Tensor:
    """A plain argument: every token is seen, positions count from 0, all are of one type."""
    if name == "attention_mask":
        return torch.ones_like(ids)
    if name == "token_type_ids":
        return torch.zeros_like(ids)
    positions = torch.arange(ids.shape[1], device=ids.device)
    return positions if name == "cache_position" else positions[None]


def _manner_of(model: PreTrainedModel) -> _Manner:
    code = getattr(model.forward, "__func__", model.forward)
    known = _manners.get(model)
    if known is None or known.code is not code:
        known = _manners[model] = _read(code, model.forward)
    return known


def _read(code: Any, forward: Any) -> _Manner:
    try:
        parameters = list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):  # a callable that does not say
        return _Manner(code, "input_ids", None, frozenset(), True)
    keywords = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    named = frozenset(p.name for p in keywords)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    first = next((p for p in parameters if p.kind is not p.VAR_KEYWORD), None)
    if "input_ids" in named or (
        open_ended and (first is None or first.kind is first.VAR_POSITIONAL)
    ):
        ids: str | None = "input_ids"
    elif first is not None and first.kind is first.KEYWORD_ONLY:
        ids = first.name
    else:
        ids = None
    required = {p.name for p in keywords if p.default is p.empty}
    more = tuple(name for name in _MORE if name in required)
    keep_last = next((name for name in _KEEP_LAST if name in named), None)
    return _Manner(code, ids, keep_last, named, open_ended, more=more)


def _by_name(output: Any) -> Tensor | None:
    for name in _LOGITS:
        value = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return value
    return None


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of an output, those of tuples in it after it."""
    if isinstance(value, Tensor):
        yield value
        return
    if isinstance(value, dict):
        value = list(value.values())
    elif not isinstance(value, (tuple, list)):
        value = list(vars(value).values()) if hasattr(value, "__dict__") else []
    yield from (v for v in value if isinstance(v, Tensor))
    for inner in value:
        if isinstance(inner, (tuple, list, dict)):
            yield from _tensors(inner)


def _may_be_logits(tensor: Tensor, lengths: tuple[int | None, ...]) -> bool:
    if not tensor.is_floating_point():
        return False
    if tensor.ndim == 2:
        return tensor.shape[0] == lengths[0]
    return tensor.ndim == 3 and tensor.shape[0] == 1 and tensor.shape[1] in lengths


def _batched(tensor: Tensor) -> Tensor:
    return tensor if tensor.ndim == 3 else tensor[None]


def _vocabulary_sizes(model: PreTrainedModel) -> set[int]:
    """How many tokens a model may know, by its head, its embedding and its config."""
    sizes: set[Any] = {getattr(model.config.get_text_config(), "vocab_size", None)}
    for module in (model.get_output_embeddings(), model.get_input_embeddings()):
        weight = getattr(module, "weight", None)
        sizes |= {
            getattr(module, "out_features", None),
            len(weight) if isinstance(weight, Tensor) and weight.ndim else None,
        }
    return {n for n in sizes if isinstance(n, int) and n > 1}


def _shortened(error: Exception | None) -> str:
    said = str(error).split("\n", 1)[0]
    return said if len(said) <= 160 else f"{said[:159]}…"
