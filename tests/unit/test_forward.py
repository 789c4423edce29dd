"""Models are run whichever way their `forward` wants to be called, and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, LlamaForCausalLM

import visit_widget as vw
from tests.tiny import PROMPT_IDS, make_model
from visit_widget.model.errors import UnsupportedModelError
from visit_widget.model.forward import logits_in, logits_of

IDS = torch.tensor([PROMPT_IDS])


class Own(LlamaForCausalLM):
    """Somebody's own head on the inner model of Llama."""

    def said(self, ids: Tensor, **more: Any) -> Tensor:
        return self.lm_head(self.model(input_ids=ids, **more).last_hidden_state)


class PlainTensor(Own):
    def forward(self, input_ids: Tensor) -> Tensor:
        return self.said(input_ids)


class OddName(Own):
    def forward(self, tokens: Tensor) -> tuple[Tensor]:
        return (self.said(tokens),)


class PositionalOnly(Own):
    def forward(self, tokens: Tensor, mask: Tensor | None = None, /) -> Tensor:
        return self.said(tokens, attention_mask=mask)


class KeywordOnly(Own):
    def forward(self, *, idx: Tensor) -> Tensor:
        return self.said(idx)


class LossFirst(Own):
    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
        said = self.said(input_ids)
        return said.float().logsumexp(-1).mean(), said


class HiddenFirst(Own):
    def forward(self, input_ids: Tensor, **more: Any) -> dict[str, Tensor]:
        hidden = self.model(input_ids=input_ids, **more).last_hidden_state
        return {"hidden": hidden, "scores": self.lm_head(hidden)}


class AlwaysCaches(Own):
    def forward(self, input_ids: Tensor, use_cache: bool = True) -> tuple[Tensor, Any]:
        inner = self.model(input_ids=input_ids, use_cache=True, past_key_values=DynamicCache())
        return self.lm_head(inner.last_hidden_state), inner.past_key_values


class HandsOn(Own):
    def forward(self, *args: Any, **more: Any) -> Any:
        return super().forward(*args, **more)


class NoUseCache(Own):
    def forward(self, input_ids: Tensor, **more: Any) -> Tensor:
        return self.strict(input_ids, **more)

    def strict(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.said(input_ids, attention_mask=attention_mask)


class NeedsMaskAndPositions(Own):
    def forward(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor) -> Tensor:
        assert position_ids.tolist() == [list(range(input_ids.shape[1]))]
        return self.said(input_ids, attention_mask=attention_mask, position_ids=position_ids)


class ReliesOnAMask(Own):
    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.said(input_ids, position_ids=attention_mask.cumsum(-1) - 1)  # type: ignore[union-attr]


@dataclass
class Answer:
    loss: Tensor | None
    states: Tensor
    lm_logits: Tensor


class OwnDataclass(Own):
    def forward(self, input_ids: Tensor) -> Answer:
        hidden = self.model(input_ids=input_ids).last_hidden_state
        return Answer(hidden.mean(), hidden, self.lm_head(hidden))


class WithoutBatch(Own):
    def forward(self, input_ids: Tensor) -> Tensor:
        return self.said(input_ids)[0]


OWN = [
    PlainTensor, OddName, PositionalOnly, KeywordOnly, LossFirst, HiddenFirst, AlwaysCaches,
    HandsOn, NoUseCache, NeedsMaskAndPositions, ReliesOnAMask, OwnDataclass, WithoutBatch,
]  # fmt: skip


def dressed(cls: type[Own]) -> tuple[Own, Tensor]:
    """A random model with another forward, and what it says at the last position."""
    usual = make_model("llama", torch.float32, "sdpa")
    with torch.no_grad():
        says = usual(IDS).logits[0, -1]
    model = cls(usual.config).eval()
    model.load_state_dict(usual.state_dict())
    return model, says


@pytest.mark.parametrize("cls", OWN, ids=lambda c: c.__name__)
def test_an_own_forward_is_traced_exactly(cls: type[Own]) -> None:
    model, says = dressed(cls)
    trace = vw.trace(model, None, PROMPT_IDS)
    assert trace.audit().exact
    assert torch.allclose(trace.record.logits, says, atol=1e-5)
    parts = trace.logit_parts(int(says.argmax()), by="head")
    assert sum(parts.values()) == pytest.approx(float(says.max()), abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_config_that_asks_for_tuples(family: str) -> None:
    model = make_model(family, torch.float32, "sdpa")
    with torch.no_grad():
        says = model(IDS).logits[0, -1]
    model.config.return_dict = False
    trace = vw.trace(model, None, PROMPT_IDS)
    assert torch.allclose(trace.record.logits, says, atol=1e-5)
    assert trace.audit().exact
    assert model.config.return_dict is False


def test_a_forward_that_is_changed_is_called_as_it_is_now() -> None:
    model, says = dressed(PlainTensor)
    assert torch.allclose(logits_of(model, IDS)[0, -1], says, atol=1e-5)
    model.forward = lambda words: (model.said(words) * 2,)
    assert torch.allclose(logits_of(model, IDS)[0, -1], says * 2, atol=1e-5)


def test_a_forward_that_cannot_run_on_ids_alone_is_refused_in_a_sentence() -> None:
    class Picky(Own):
        def forward(self, input_ids: Tensor, pictures: Tensor) -> Tensor:
            return self.said(input_ids)

    model, _ = dressed(Picky)
    with pytest.raises(UnsupportedModelError, match=r"token ids alone.*pictures.*AutoModelFor"):
        vw.trace(model, None, PROMPT_IDS)


def test_an_output_without_logits_is_refused_in_a_sentence() -> None:
    model = make_model("llama", torch.float32, "sdpa")
    with pytest.raises(UnsupportedModelError, match="no logits"):
        logits_in((torch.zeros(()), torch.zeros(1, 5)), model, 7)


def test_a_forward_that_fails_once_leaves_nothing_of_it_in_what_is_watched() -> None:
    model, _ = dressed(ReliesOnAMask)
    fails = [1]

    class AfterTheFirstBlock(ReliesOnAMask):
        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
            if attention_mask is None:
                self.model(input_ids=input_ids)
                fails.append(1)
            return super().forward(input_ids, attention_mask)

    model.__class__ = AfterTheFirstBlock
    assert vw.trace(model, None, PROMPT_IDS).audit().exact
    assert len(fails) == 2
