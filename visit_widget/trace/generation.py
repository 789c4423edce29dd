"""A text that the model went on with, and the pass that said each of its tokens.

    said = vw.generate(model, tokenizer, "The capital of Japan is", max_new_tokens=12)
    said.text                   # what the model's own generate gives under the same options
    said.traces[3].flow()       # the pass that said the fourth new token, which is followed
    said.steps[3]               # its probability and rank, and what the first choice was
    said.branch(3, " Kyoto")    # what if it had said …

The new token i was said by the pass over the prompt and the i tokens before it. All of these passes
are views of one (`prefixes.py`), which costs no more than the generation itself (`passes.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, overload
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError, anatomy_of
from ..model.encoding import decode, encode
from ..model.exclusive import exclusive
from ..model.given import check_language_model, check_text_only, tokenizer_of
from ..model.loaded import check_traceable, unwrapped
from ..model.tokens import SPACE
from .generating import Generated, generated
from .inputs import Prepared, Prompt, prepare
from .options import check_options, option
from .prefixes import Prefixes
from .steps import Step, step_of
from .trace import Trace
from .tracing import trace_prepared
from .turns import going_on


@dataclass(frozen=True)
class _Said:
    """Where a new token comes from.

    Attributes:
        token: its id.
        passes: those among which is the one that said it, at `place`; None where it is taken anew.
        logits: (n_vocab,) what the model said there; None where that is read off the pass.
        put: whether it was put there.
    """

    token: int
    passes: Prefixes | None = None
    place: int = 0
    logits: Tensor | None = None
    put: bool = False


class Generation:
    """A prompt and what the model went on with. Made by `generate`.

    Attributes:
        model, tokenizer, anatomy: as of a trace.
        input_ids: (T,) the prompt, on the CPU.
        token_ids: the new tokens.
        traces: the pass that said each of them.
        interrupted: whether it was broken off by hand, so that more would have come.
        options: of `generate` as they were passed.
        notes: sentences on the prompt and the model, for the user.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        prompt: Prepared,
        anatomy: Anatomy,
        said: Sequence[_Said],
        options: dict[str, Any],
        asked: _Asked,
        found: Generated,
    ) -> None:
        self.model, self.tokenizer, self.anatomy = model, tokenizer, anatomy
        self.input_ids, self.options, self.interrupted = prompt.ids, options, found.interrupted
        self.token_ids = [one.token for one in said]
        self.traces = Traces(self)
        self.notes = (*prompt.notes, *anatomy.notes)
        if found.note is not None:
            self.notes = (*self.notes, found.note)
        if found.interrupted:
            self.notes = (*self.notes, f"The generation was broken off after {len(said)} tokens.")
        self._prompt, self._said, self._asked = prompt, list(said), asked
        self._steps: list[Step] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "traces"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.traces = Traces(self)

    def __len__(self) -> int:
        return len(self.token_ids)

    def __repr__(self) -> str:
        return f"Generation({type(self.model).__name__}, {len(self)} new tokens, {self.text!r})"

    @property
    def prompt(self) -> str:
        """The prompt as text."""
        return self.traces[0].prompt

    @property
    def text(self) -> str:
        """The new tokens as text, without the special ones; "" without a tokenizer."""
        if self.tokenizer is None:
            return ""
        before = self.input_ids.tolist()
        special = set(getattr(self.tokenizer, "all_special_ids", None) or ())
        shown = [token for token in self.token_ids if token not in special]
        head, whole = (decode(self.tokenizer, ids) for ids in (before, [*before, *shown]))
        # Alone, some tokenizers leave out the first token's space.
        return whole[len(head) :] if whole.startswith(head) else decode(self.tokenizer, shown)

    @property
    def tokens(self) -> list[str]:
        """The new tokens as a person reads them."""
        return self.traces[0].texts(self.token_ids)

    @property
    def steps(self) -> list[Step]:
        """The new tokens with the model's own probabilities, one a step."""
        if self._steps is None:
            last, trace = self.input_ids.numel() - 1, self.traces[0]
            self._steps = [
                step_of(trace, last + n, said.token, self._logits(n), said.put)
                for n, said in enumerate(self._said)
            ]
        return self._steps

    def to_pandas(self) -> Any:
        """A table with a row for each step; columns as of `Step`.

        Raises:
            VisitError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise VisitError("A table needs pandas: pip install pandas.") from error
        names = list(Step.__dataclass_fields__)
        table = pd.DataFrame([asdict(step) for step in self.steps], columns=names)
        return table.rename_axis("step")

    def branch(
        self,
        at: int,
        token: int | str | Sequence[int] | None,
        max_new_tokens: int | None = None,
        *,
        seed: int | None = None,
        **options: Any,
    ) -> Generation:
        """What if it had said something else: the tokens before new token `at`, then this, then
        what the model goes on with.

        It is what a fresh generation of prompt, tokens before and choice would give, but the keys
        and values of what the two have in common are not computed again.

        Args:
            at: which new token, from 0; negative ones count from the end. With the number of new
                tokens, what is put stands after all of them.
            token: what stands there instead: a token id, a text (of one token or several), several
                ids; None to let the model choose again.
            max_new_tokens: how many the model may say after it; as many as were left by default.
            seed: as `generate`.
            **options: of `generate` that are to be other than they were. A streamer is not passed
                on.

        Raises:
            VisitError: there is no such place or token, or `generate` does not take the options.
        """
        if not -len(self) <= at <= len(self):
            raise VisitError(
                f"There is no new token {at}: this generation has {len(self)}, from 0 to "
                f"{len(self) - 1}."
            )
        at = at + len(self) if at < 0 else at
        put = [] if token is None else self._put(token)
        if max_new_tokens is None:
            limit = self._asked.max_new_tokens or len(self)
            # What goes on after the end has as many again.
            max_new_tokens = limit if at == len(self) else max(1, limit - at - len(put))
        return self._gone_on(at, put, max_new_tokens, seed, {**self.options, **options})

    def go_on(
        self, max_new_tokens: int | None = None, *, seed: int | None = None, **options: Any
    ) -> Generation:
        """The same, gone on with; arguments as `branch`. As many tokens again by default."""
        return self.branch(len(self), None, max_new_tokens, seed=seed, **options)

    def _gone_on(
        self, at: int, put: list[int], n_new: int, seed: int | None, options: dict[str, Any]
    ) -> Generation:
        model, asked = self.model, replace(self._asked, max_new_tokens=at + len(put) + n_new)
        check_options(model, options)
        check_traceable(model)
        before = [*self.token_ids[:at], *put]
        ids = torch.cat([self.input_ids, torch.tensor(before, dtype=torch.long, device="cpu")])
        # The passes that are known: those that said the tokens before, and the choice.
        known = min(at + 1, len(self)) if put else at
        last = self._said[known - 1] if known else None
        begun = None if last is None or last.passes is None else last.passes.record(last.place)
        found = generated(
            model, self.anatomy, ids, {**options, "max_new_tokens": n_new}, seed,
            asked.keep_on, self.input_ids.numel() + known, begun,
        )  # fmt: skip
        own = _said_in(found, [*before[known:], *found.tokens], len(before) - known)
        if put:
            own[: len(before) - known] = [replace(s, put=True) for s in own[: len(before) - known]]
        kept = [
            replace(s, token=t, put=s.put or n >= at)
            for n, (s, t) in enumerate(zip(self._said[:known], before, strict=False))
        ]
        options.pop("streamer", None)
        return Generation(
            model, self.tokenizer, self._prompt, self.anatomy, [*kept, *own], options, asked,
            found,
        )  # fmt: skip

    def _put(self, token: int | str | Sequence[int]) -> list[int]:
        """The ids of what is put in the place of a token."""
        trace = self.traces[0]
        if not isinstance(token, (int, str)):
            ids = [trace.token(int(one)) for one in token]
        else:
            try:
                ids = [trace.token(token)]
            except VisitError:
                if not isinstance(token, str) or self.tokenizer is None:
                    raise
                ids = encode(self.tokenizer, token.replace(SPACE, " "), special=False)
        if not ids:
            raise VisitError("Nothing was put there: pass a token or a text, or None.")
        return ids

    def _logits(self, place: int) -> Tensor:
        """(n_vocab,) what the model said before a new token."""
        logits = self._said[place].logits
        return self.traces[place].record.logits if logits is None else logits

    def _trace(self, place: int) -> Trace:
        """The pass that said a new token."""
        said, asked = self._said[place], self._asked
        n_prompt = self.input_ids.numel()
        before = torch.tensor(self.token_ids[:place], dtype=torch.long, device="cpu")
        ids = torch.cat([self.input_ids, before])
        prompt = self._prompt if not place else Prepared(ids, notes=self._prompt.notes)
        prompt = replace(prompt, turns=going_on(self._prompt.turns, n_prompt, len(ids)))
        if said.passes is None:
            given = self.anatomy if asked.anatomy_given else None
            made = trace_prepared(self.model, self.tokenizer, prompt, given, asked.keep_on)
        else:
            record = said.passes.record(said.place)
            made = Trace(self.model, self.tokenizer, ids, self.anatomy, record, prompt.text)
            made.anatomy_given, made.keep_on = asked.anatomy_given, asked.keep_on
            made.special, made.turns = prompt.special, prompt.turns
            made.notes = (*prompt.notes, *self.anatomy.notes)
            made.in_steps = said.passes.in_steps
        made.next_token = said.token
        return made


class Traces(Sequence[Trace]):
    """The passes that said the new tokens of a generation, each made when it is asked for."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._made: WeakValueDictionary[int, Trace] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._generation)

    @overload
    def __getitem__(self, place: int) -> Trace: ...
    @overload
    def __getitem__(self, place: slice) -> list[Trace]: ...
    def __getitem__(self, place: int | slice) -> Trace | list[Trace]:
        if isinstance(place, slice):
            return [self[n] for n in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(f"There are {len(self)} new tokens: no trace {place}.")
        place %= len(self)
        made = self._made.get(place)
        if made is None:
            made = self._made[place] = self._generation._trace(place)
        return made


@dataclass(frozen=True)
class _Asked:
    """What was asked for besides the options of `generate`."""

    max_new_tokens: int | None
    anatomy_given: bool
    keep_on: torch.device | str | None


def generate(
    model: PreTrainedModel,
    tokenizer: Any,
    prompt: Prompt,
    max_new_tokens: int | None = None,
    *,
    seed: int | None = None,
    anatomy: Anatomy | None = None,
    keep_on: torch.device | str | None = None,
    attention_mask: Any = None,
    add_special_tokens: bool | None = None,
    **options: Any,
) -> Generation:
    """Let a model go on with a prompt, and trace the pass that said each new token.

    The tokens are those that the model's own `generate` gives under the same options, samples
    included, and so is about what it costs. Interrupted by hand, it gives what there is so far.

    Args:
        model: a decoder of `transformers`, as `trace` takes it; left exactly as it is found.
        tokenizer: its tokenizer, or the processor that has it; None when the prompt is token ids.
        prompt: as `trace`.
        max_new_tokens: how many tokens at most; as the model's generation config says by default.
        seed: of what is drawn, as after `torch.manual_seed`; torch's own state stays as it was. By
            default the next random numbers are drawn.
        anatomy: as `trace`.
        keep_on: as `trace`.
        attention_mask: as `trace`.
        add_special_tokens: as `trace`.
        **options: of `generate`: do_sample, temperature, top_p, repetition_penalty, eos_token_id,
            stop_strings, streamer, … Those that make several texts (beams) are refused.

    Raises:
        VisitError: the prompt or an option cannot be used; the message says why.
        UnsupportedModelError: the model's anatomy was not understood.
    """
    model = unwrapped(model)
    check_language_model(model)
    check_traceable(model)
    tokenizer = tokenizer_of(tokenizer)
    if max_new_tokens is not None:
        if max_new_tokens < 1:
            raise VisitError(
                f"max_new_tokens={max_new_tokens} leaves nothing to say: pass at least 1, or trace "
                "the prompt with vw.trace."
            )
        options["max_new_tokens"] = max_new_tokens
    check_options(model, options)
    if options.get("stop_strings") is not None and tokenizer is not None:
        options.setdefault("tokenizer", tokenizer)
    made = prepare(model, tokenizer, prompt, attention_mask, add_special_tokens)
    check_text_only(model, made.ids)
    with exclusive(model):
        found = anatomy or anatomy_of(model)
        new = generated(model, found, made.ids, options, seed, keep_on)
    limit = option(model, options, "max_new_tokens")
    asked = _Asked(limit, anatomy is not None, keep_on)
    for name in ("max_new_tokens", "streamer"):
        options.pop(name, None)
    said = _said_in(new, new.tokens, 0)
    return Generation(model, tokenizer, made, found, said, options, asked, new)


def _said_in(found: Generated, tokens: Sequence[int], n_put: int) -> list[_Said]:
    """Where tokens come from: the first n_put were put there, the model said the others."""
    logits = found.logits
    # What was said of those that were put is known of passes alone.
    late = 0 if logits is None else len(tokens) - len(logits)
    return [
        _Said(
            token, found.passes, n,
            None if logits is None or n < late else logits[n - late], n < n_put,
        )
        for n, token in enumerate(tokens)
    ]  # fmt: skip
