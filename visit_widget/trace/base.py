"""What a Trace is made of: the pass, its sizes, and its checks of what is asked for."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from operator import index
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError
from ..model.encoding import decode, encode
from ..model.loaded import coarsest_dtype
from ..model.norms import Norm
from ..model.tokens import SPACE, token_shown, token_texts
from ..model.watch import device_of
from .edits import Edits
from .record import AttentionRecord, Record
from .turns import Turn

# A token by its number, as tokens without a text are shown.
_NUMBERED = re.compile(r"#\d+")


class TracedPass:
    """One recorded pass; `Trace` derives from it what users ask for.

    Args:
        model: the traced model.
        tokenizer: its tokenizer, or None.
        input_ids: (T,) on the CPU.
        anatomy: where the model keeps its parts.
        kept: what the pass left behind.
        text: the prompt, where it was given as text.

    Attributes:
        anatomy_given: whether the anatomy was passed by hand.
        keep_on: the device that was asked for to keep tensors on.
        edits: what was done to parts while the pass ran; None for a pass as it is.
        next_token: the token that came after the prompt, where the pass is a step of a generation:
            what graphs follow by default. None elsewhere.
        in_steps: whether the prompt was run in steps, with a cache: what that rounds differs from
            what a pass in one go rounds.
        turns: whose words the prompt is made of, where it is a chat.
    """

    edits: Edits | None = None
    next_token: int | None = None
    in_steps: bool = False
    turns: tuple[Turn, ...] | None = None
    anatomy_given: bool = False
    keep_on: torch.device | str | None = None

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        input_ids: Tensor,
        anatomy: Anatomy,
        kept: Record,
        text: str | None,
    ) -> None:
        self.model, self.tokenizer, self.input_ids = model, tokenizer, input_ids
        self.anatomy, self.record, self._text = anatomy, kept, text
        self.n_layers = len(anatomy.blocks)
        self.n_heads = max(
            (layer.attention.query.shape[0] for layer in kept.layers if layer.attention), default=0
        )
        self.d_model, self.d_mlp = anatomy.d_model, anatomy.d_mlp
        self.n_vocab = anatomy.n_vocab
        self.dtype = torch.promote_types(kept.final.dtype, torch.float32)
        self.device = kept.device
        self._norms: dict[nn.Module, Norm] = {}
        # How the prompt's text was read, and what there is to say of the prompt and the model.
        self.special: bool | None = None if text is not None else False
        self.notes: tuple[str, ...] = ()
        # Positions that are known to come out the same when they are run alone.
        self.alone_at: set[int] = set()
        self.endings_at: set[tuple[int, int]] = set()
        # By layer and positions: whether queries and keys can be made of these alone.
        self.cut_at: dict[tuple[int, tuple[int, ...]], bool] = {}
        # By position, target and foil: how the logit hangs on the streams there; the latest few.
        self.hangs_on: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def __repr__(self) -> str:
        return f"Trace({type(self.model).__name__}, {len(self)} tokens, {self.n_layers} layers)"

    def __len__(self) -> int:
        return int(self.input_ids.numel())

    @property
    def prompt(self) -> str:
        """The prompt as text; what its ids decode to where it was given as ids; "" without a
        tokenizer.
        """
        if self._text is not None:
            return self._text
        return "" if self.tokenizer is None else decode(self.tokenizer, self.input_ids.tolist())

    @cached_property
    def tokens(self) -> list[str]:
        """The prompt's tokens as a person reads them."""
        return self.texts(self.input_ids.tolist())

    def texts(self, ids: Sequence[int]) -> list[str]:
        """Tokens as a person reads them: each with a text of its own, which `token` takes back."""
        return token_texts(self.tokenizer, ids, self.n_vocab)

    @cached_property
    def coarsest_dtype(self) -> torch.dtype:
        """The coarsest dtype that the model computes in."""
        return coarsest_dtype(self.model, self.record.final.dtype)

    @property
    def final_norm(self) -> Norm | None:
        """The final norm, ready for frozen arithmetic."""
        return self.norm(self.anatomy.final_norm, "the final norm")

    def norm(
        self, module: nn.Module | None, name: str | None = None, width: int | None = None
    ) -> Norm | None:
        """A norm module ready for frozen arithmetic, made once."""
        if module is None:
            return None
        self.needs_model("What a norm does")
        if module not in self._norms:
            name = name or f"a norm ({type(module).__name__})"
            width = width or self.d_model
            # Derivatives are taken through it, wherever the caller stands.
            with torch.inference_mode(False):
                self._norms[module] = Norm(module, width, self.dtype, self.device, name)
        return self._norms[module]

    def needs_model(self, what: str) -> None:
        """Say so where this trace has no model to derive something with.

        Args:
            what: the beginning of the sentence.

        Raises:
            VisitError: it was loaded without its model.
        """

    def attends(self, layer: int) -> bool:
        """Whether the layer has attention; a layer of a hybrid model may have none."""
        return self.record.layers[self.layer(layer)].attention is not None

    def attention_record(self, layer: int) -> AttentionRecord:
        """What the layer's attention call left behind."""
        kept = self.record.layers[self.layer(layer)].attention
        if kept is None:
            raise VisitError(
                f"Layer {layer} has no attention: it mixes tokens in another way, which "
                "mixer_output shows as one part."
            )
        return kept

    def work(self, tensor: Tensor) -> Tensor:
        """The tensor in the dtype and on the device of the trace's arithmetic."""
        return tensor.detach().to(device=self.device, dtype=self.dtype)

    def into(self, module: nn.Module | None, tensor: Tensor) -> Tensor:
        """The tensor as it was recorded, on the device where the module wants it."""
        device = None if module is None else device_of(module)
        return tensor.detach().to(device or self.device)

    def position(self, position: int) -> int:
        """A position from 0, checked."""
        if not -len(self) <= position < len(self):
            raise VisitError(
                f"Position {position} is outside the prompt, which has {len(self)} tokens."
            )
        return position % len(self)

    def layer(self, layer: int) -> int:
        """A layer from 0, checked."""
        try:
            layer = index(layer)
        except TypeError:
            raise VisitError(
                f"A layer is a whole number, 0 to {self.n_layers - 1}, not {layer!r}."
            ) from None
        if not 0 <= layer < self.n_layers:
            raise VisitError(
                f"Layer {layer} does not exist: the model has layers 0 to {self.n_layers - 1}."
            )
        return layer

    def head(self, layer: int, head: int) -> int:
        """A head from 0, checked."""
        count = self.attention_record(layer).query.shape[0]
        if not 0 <= head < count:
            raise VisitError(
                f"There is no head {head}: layer {layer} of the model has heads 0 to {count - 1}."
            )
        return head

    def token(self, token: int | str) -> int:
        """A token id, from an id or from a text that is one token: as it is shown on screen
        (``␣Tokyo``, ``#123``), or as it is typed.
        """
        if isinstance(token, str) and self.tokenizer is not None:
            shown = token_shown(self.tokenizer, token, self.n_vocab)
            token = token if shown is None else shown
        if isinstance(token, str) and _NUMBERED.fullmatch(token):
            token = int(token[1:])
        if isinstance(token, str):
            if self.tokenizer is None:
                raise VisitError(
                    f"Without a tokenizer a token is given by its id, not as {token!r}."
                )
            text = token.replace(SPACE, " ")
            ids = self._ids_of(text)
            if len(ids) != 1:
                pieces = " ".join(self.texts(ids)) or "nothing"
                spaced = not text.startswith(" ") and len(self._ids_of(" " + text)) == 1
                hint = f" {' ' + text!r}, with a space before it, is one." if spaced else ""
                raise VisitError(
                    f"{token!r} is not one token of this model but {len(ids)}: {pieces}.{hint}"
                )
            token = int(ids[0])
        if not 0 <= int(token) < self.n_vocab:
            raise VisitError(
                f"Token id {token} is outside the model's vocabulary of {self.n_vocab}."
            )
        return int(token)

    def _or_zeros(self, vector: Tensor | None) -> Tensor:
        if vector is None:
            return torch.zeros(self.d_model, dtype=self.dtype, device=self.device)
        return vector

    def _ids_of(self, text: str) -> list[int]:
        return encode(self.tokenizer, text, special=False)
