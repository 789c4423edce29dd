"""How a trace is copied, pickled and saved."""

from __future__ import annotations

import copy
import io
import os
import pickle
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..model import VisitError

if TYPE_CHECKING:
    from .trace import Trace

# Derived on the way, and derived again.
_PASSING = ("_attention_row", "_mlp_row")


class Copied:
    """What `Trace` takes its copies from.

    A copy, deep or not, has the model and the tokenizer in common with the trace; a deep one has
    tensors of its own. A pickle takes the model along, where that can be pickled; a file that
    `save` writes does not.
    """

    model: Any
    tokenizer: Any
    anatomy: Any

    def save(self: Trace, path: str | os.PathLike[str]) -> Path:  # type: ignore[misc]
        """Write the trace to a file (safetensors, no code in it), without its model;
        `visit_widget.load_trace` gives it back.

        Args:
            path: the file, such as "japan.safetensors".

        Returns:
            The path written.

        Raises:
            VisitError: it cannot be written there.
        """
        from .storage import save_trace

        if self.edits is not None:
            raise VisitError(
                "A rerun with interventions is not saved: save the trace that it was made of, and "
                "run that again."
            )
        return save_trace(self, path)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in _PASSING}
        return {**state, "_norms": {}}

    def __copy__(self) -> Any:
        made = type(self).__new__(type(self))
        vars(made).update(self.__getstate__())
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        own = memo
        if self.model is not None and id(self.model) not in memo:
            # The model is no part of the trace. What else is copied along has to do without this.
            own = dict(memo)
            own.update({id(thing): thing for thing in (self.model, self.tokenizer, self.anatomy)})
            for module in self.model.modules():
                own[id(module)] = module
                tensors = (*module._parameters.values(), *module._buffers.values())
                own.update({id(tensor): tensor for tensor in tensors if tensor is not None})
        vars(made).update(copy.deepcopy(self.__getstate__(), own))
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.model is None:
            return super().__reduce_ex__(protocol)
        why = _why_not((self.model, self.anatomy, vars(self)["record"]))
        if why is not None:
            from .storage import pack, unpack

            warnings.warn(
                f"The model of this trace cannot be pickled ({why}), so the trace is pickled "
                "without it: what needs the model will say so.",
                stacklevel=2,
            )
            return unpack, (pack(self), None, _picklable(self.tokenizer), None)  # type: ignore[arg-type]
        if self.tokenizer is not None and _picklable(self.tokenizer) is None:
            told = self.__copy__()
            told._text, vars(told)["tokens"], told.tokenizer = told.prompt, told.tokens, None
            return told.__reduce_ex__(protocol)
        return super().__reduce_ex__(protocol)


def _picklable(value: Any) -> Any:
    """The value, or None where it cannot be pickled."""
    return value if _why_not(value) is None else None


def _why_not(value: Any) -> str | None:
    """Why a value cannot be pickled; None where it can. No weights are written for that."""
    try:
        _Trial(io.BytesIO()).dump(value)
    except (
        pickle.PicklingError, AttributeError, TypeError, ValueError, RuntimeError, ImportError,
        NotImplementedError,
    ) as error:  # fmt: skip
        return " ".join(str(error).split())[:120]
    return None


class _Trial(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if type(value) in (Tensor, nn.Parameter):
            return int, ()
        return NotImplemented
