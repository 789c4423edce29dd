"""A layer's queries, keys and values, made again of the normed stream by the model's own
projection.

The attention module is run on a few rows, up to where it attends, with the scales of norms on
queries and keys, and what clamps cut off, as they were: queries, keys and values are then affine in
what they are made of, and derivatives can be taken.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..model import VisitError
from ..model.attention import listening
from ..model.attention_call import AttentionCall
from ..model.exclusive import exclusive
from ..model.norms import Norm
from .record import HIDDEN, MaskOf

if TYPE_CHECKING:
    from .trace import Trace


# A run of the attention module on the normed inputs of some rows, or of all.
Run = Callable[[Tensor, list[int] | None], tuple[Tensor, ...]]


class _HeardError(Exception):
    pass


class Projection:
    """The map from a few positions' normed inputs to their queries and keys, in one layer.

    Args:
        trace: the traced pass.
        layer: from 0.
        rows: the positions.
        checked: whether to see at once that a run of these rows alone gives the queries and keys
            that the pass left; else whoever runs them asks `agrees`.

    Attributes:
        input: (R, d_model) the normed inputs at `rows`.
        everywhere: (T, d_model) those of all positions.
    """

    def __init__(self, trace: Trace, layer: int, rows: Sequence[int], checked: bool = True) -> None:
        self.trace, self.layer, self.rows = trace, layer, list(rows)
        self.part = trace.anatomy.blocks[layer]
        self.kept = trace.attention_record(layer)
        # By module and call: one norm may serve queries and keys.
        self._scales: dict[tuple[nn.Module, int], Tensor] = {}
        self._calls: Counter[nn.Module] = Counter()
        self._norms: dict[nn.Module, Norm] = {}
        self._clamps: list[Tensor] = []
        self._start: tuple[Tensor, Tensor, Tensor] | None = None
        everywhere = attention_input(trace, layer)
        self.input = everywhere[self.rows].detach()
        self.everywhere = everywhere.detach()
        # Where the arguments cannot be cut to these rows, all positions are run and cut afterwards.
        known = trace.cut_at.get((layer, tuple(self.rows)))
        if known is not None or not checked:
            self._sliced = True if known is None else known
            return
        for self._sliced in (True, False):
            self._scales.clear()
            self._clamps.clear()
            self._start = None
            if self._comes_out_the_same():
                if not self._scales and not self._clamps:
                    trace.cut_at[layer, tuple(self.rows)] = self._sliced
                return
        raise VisitError(
            f"The queries and keys of layer {layer} could not be computed again from the "
            "stream, so what they look for is not shown."
        )

    def _comes_out_the_same(self) -> bool:
        """Whether a run gives the queries and keys that the pass left."""
        try:
            _, query, key = self.start()
        except (TypeError, AttributeError, RuntimeError, IndexError, ValueError):
            if not self._sliced:
                raise
            return False
        return self.agrees(query, key, self.rows)

    def agrees(self, query: Tensor, key: Tensor, places: Sequence[int]) -> bool:
        """Whether queries and keys, (heads, R, d_head) each, are those of the pass at R places."""
        near, at = _the_same if self._sliced else _near, list(places)
        theirs = self.kept.query[:, at], self.kept.key[:, at]
        return near(query.detach(), theirs[0]) and near(key.detach(), theirs[1])

    @property
    def cut(self) -> list[int] | None:
        """The rows that the module can be run on alone; None where it needs all positions."""
        return self.rows if self._sliced else None

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(R, d_model) → queries (n_heads, R, d_head) and keys (n_kv_heads, R, d_head),
        differentiable in x.
        """
        query, key = self._at_rows(x, self._queries_and_keys)
        return query, key

    def start(self) -> tuple[Tensor, Tensor, Tensor]:
        """A copy of `input`, and its queries and keys, differentiable in it: run once."""
        if self._start is None:
            with torch.inference_mode(False), torch.enable_grad():
                x = self.input.clone().requires_grad_()
                self._start = x, *self(x)
        return self._start

    def values(self, x: Tensor) -> Tensor:
        """(R, d_model) → values (n_kv_heads, R, d_value), differentiable in x."""
        try:
            (value,) = self._at_rows(x, self._values)
        except (TypeError, AttributeError, RuntimeError, IndexError, ValueError):
            # What is added to the scores comes after queries and keys, and may be cut wrongly: a
            # prompt of as many tokens as there are heads looks like them.
            if not self._sliced:
                raise
            self._sliced, self._start = False, None
            self._scales.clear()
            self._clamps.clear()
            (value,) = self._at_rows(x, self._values)
        return value

    def _at_rows(self, x: Tensor, run: Run) -> tuple[Tensor, ...]:
        """What a run gives at the rows: (heads, R, …) each."""
        if self._sliced:
            return run(x, self.rows)
        if len(set(self.rows)) == len(self.rows):
            return tuple(t[:, self.rows] for t in run(self._with(x, self.rows), None))
        # A row asked for several times is run as often, in its place among the others.
        runs = [run(self._with(x[n, None], [r]), None) for n, r in enumerate(self.rows)]
        picked = [[t[:, r] for t in made] for made, r in zip(runs, self.rows, strict=True)]
        return tuple(torch.stack(column, 1) for column in zip(*picked, strict=True))

    def _with(self, x: Tensor, rows: list[int]) -> Tensor:
        """All positions' inputs, with x at the rows."""
        return self.everywhere.index_put((torch.tensor(rows, device=x.device),), x)

    def _queries_and_keys(self, x: Tensor, rows: list[int] | None) -> tuple[Tensor, ...]:
        found: list[tuple[Tensor, ...]] = []

        def stop(_module: nn.Module, query: Tensor, key: Tensor) -> None:
            found.append((query[0], key[0]))
            raise _HeardError

        return self._run(x, rows, found, before=stop)

    def _values(self, x: Tensor, rows: list[int] | None) -> tuple[Tensor, ...]:
        found: list[tuple[Tensor, ...]] = []

        def stop(call: AttentionCall) -> None:
            found.append((call.value[0],))
            raise _HeardError

        return self._run(x, rows, found, listener=stop)

    def _run(
        self, x: Tensor, rows: list[int] | None, found: list[tuple[Tensor, ...]], **listen: Any
    ) -> tuple[Tensor, ...]:
        self._calls.clear()
        with exclusive(self.trace.model), ExitStack() as stack:
            stack.enter_context(_FrozenClamps(self._clamps))
            for norm in self.part.inner_norms:
                handle = norm.register_forward_hook(self._freeze)
                stack.callback(handle.remove)
            try:
                self.attend(x, rows, **listen)
            except _HeardError:
                return found[0]
        raise VisitError(f"The attention of layer {self.layer} could not be run again on its own.")

    def attend(self, x: Tensor, rows: list[int] | None, **listen: Any) -> Any:
        """What the attention module gives for the normed inputs of these rows (of all, if
        None).
        """
        attention = self.part.attention
        assert attention is not None
        args, kwargs = self.kept.arguments
        n_tokens = self.everywhere.shape[0]

        def put(value: Any) -> Any:
            if value is HIDDEN:
                return x[None]
            if isinstance(value, MaskOf):
                return None if rows is not None else value.causal(n_tokens, x.device)
            if isinstance(value, MutableMapping):
                # Some layers leave keys for later ones in it.
                return copy.copy(value)
            return value if rows is None else _cut(value, rows, n_tokens)

        args, kwargs = tuple(put(a) for a in args), {k: put(v) for k, v in kwargs.items()}
        listen.setdefault("listener", lambda _: None)
        with listening(self.trace.model, within=attention, **listen):
            return attention(*args, **kwargs)

    def _freeze(self, module: nn.Module, args: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        """A norm of queries or keys: its scale is the one at the first call."""
        x = args[0].to(self.trace.dtype)
        norm = self._norms.get(module)
        if norm is None:
            norm = self._norms[module] = Norm(
                module, x.shape[-1], x.dtype, x.device, "a norm of queries or keys"
            )
        call = module, self._calls[module]
        self._calls[module] += 1
        if call not in self._scales:
            self._scales[call] = norm.scale(x.detach())
        return norm.forward_frozen(x, self._scales[call]).to(args[0].dtype)


def attention_input(trace: Trace, layer: int, position: int | None = None) -> Tensor:
    """What queries, keys and values are made of, as the model makes it: (T, d_model), or (1,
    d_model) at one position.
    """
    part, stream = trace.anatomy.blocks[layer], trace.record.layers[layer].pre
    norm = part.attention_norm
    rows = slice(None) if position is None else slice(position, position + 1)
    stream = trace.into(norm or part.attention, stream[rows])
    with torch.no_grad(), exclusive(trace.model):
        normed = stream if norm is None else norm(stream[None])[0]
        return trace.into(part.attention, normed) * part.attention_input_scale


class _FrozenClamps(TorchFunctionMode):
    """Clamps of queries and keys, frozen: what was within the bounds the first time passes as it
    is, what was not is a constant.

    Args:
        kept: of each clamp, in order: what it gave where it cut off, NaN where it passed; filled
            the first time.
    """

    def __init__(self, kept: list[Tensor]) -> None:
        super().__init__()
        self.kept, self.first, self.count = kept, not kept, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _CLAMPS or not args[0].is_floating_point():
            return func(*args, **kwargs)
        x = args[0]
        if self.first:
            with torch.no_grad():
                cut = torch.clamp(x, *args[1:], **kwargs)
                self.kept.append(torch.where(cut == x, torch.nan, cut))
        constant = self.kept[self.count]
        self.count += 1
        frozen = torch.where(constant.isnan(), x, constant)
        if func in (Tensor.clamp_, Tensor.clip_, torch.clamp_):
            return x.copy_(frozen)
        return frozen


_CLAMPS = (
    torch.clamp, Tensor.clamp, torch.clamp_, Tensor.clamp_, torch.clip, Tensor.clip, Tensor.clip_,
)  # fmt: skip


@torch.inference_mode(False)
def heads_gate(trace: Trace, layer: int, positions: Sequence[int], mixed: Tensor) -> Tensor:
    """What the flattened heads are multiplied with before the output projection: (n, n_heads,
    d_value), the shape of `mixed`.

    The attention module is run on these rows with ones in the place of what the heads mixed, so
    that what reaches the projection is the gate itself.
    """
    projection = Projection(trace, layer, positions)
    reached: list[Tensor] = []

    def catch(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        reached.append(args[0])
        raise _HeardError

    output = projection.part.output_projection
    assert output is not None
    with torch.no_grad(), exclusive(trace.model), ExitStack() as stack:
        stack.callback(output.register_forward_pre_hook(catch).remove)
        try:
            x = projection.input if projection.cut else projection.everywhere
            projection.attend(x, projection.cut, listener=lambda c: torch.ones_like(c.output))
        except _HeardError:
            rows = reached[0].reshape(-1, *mixed.shape[1:])
            return rows if projection.cut is not None else rows[list(positions)]
    raise VisitError(f"The attention of layer {layer} could not be run again on its own.")


def gradients_of(values: Tensor, x: Tensor) -> Tensor:
    """∂value/∂x of each of (n,) values: (n, *x.shape); zeros where the values do not come from x at
    all (keys shared with an earlier layer).
    """
    nothing = x.new_zeros(len(values), *x.shape)
    if not values.requires_grad:
        return nothing
    each = torch.eye(len(values), dtype=values.dtype, device=values.device)
    if len(values) > 1:
        try:
            (found,) = torch.autograd.grad(
                values, x, each, retain_graph=True, allow_unused=True, is_grads_batched=True
            )
        except RuntimeError:
            # Not every operation's derivative can be taken for several values at once.
            pass
        else:
            return nothing if found is None else found
    rows = [
        torch.autograd.grad(values, x, row, retain_graph=True, allow_unused=True)[0] for row in each
    ]
    return nothing if rows[0] is None else torch.stack(rows)


def _cut(value: Any, rows: list[int], n_tokens: int) -> Any:
    """The value with its token dimension, if it has one, cut to the rows."""
    if isinstance(value, tuple):
        return tuple(_cut(v, rows, n_tokens) for v in value)
    if isinstance(value, Tensor) and value.ndim >= 2 and n_tokens in value.shape[:-1]:
        dim = value.shape[:-1].index(n_tokens)
        return value.index_select(dim, torch.tensor(rows, device=value.device))
    if isinstance(value, Tensor) and value.ndim == 2 and value.shape[-1] == n_tokens:
        return value[:, rows]
    return value


def _near(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    # A wrong cut is off by much; norms and rotary tables of transformers round to float32 whatever
    # the dtype.
    tolerance = max(1e-4, 8 * torch.finfo(a.dtype).eps)
    b = b.to(a.device)
    return bool((a - b).norm() <= tolerance * b.norm().clamp_min(1e-30))


def _the_same(a: Tensor, b: Tensor) -> bool:
    """Whether each row, (heads, R, d_head), is what it was but for one rounding.

    A module that counts positions by itself (Llama 4 scales queries so) gets them wrong when it is
    run on some rows, by little: as much as a dtype's rounding in all, but all one way. Whoever is
    turned away without need is run on all rows.
    """
    if a.shape != b.shape:
        return False
    eps = max(1e-5, torch.finfo(a.dtype).eps)
    a, b = (t.transpose(0, 1).flatten(1).to(b.device, torch.float32) for t in (a, b))
    size = b.square().sum(1).clamp_min(1e-30)
    longer = ((a - b) * b).sum(1).abs() / size
    off = (a - b).square().sum(1) / size
    return bool((off <= eps**2).all() and (longer <= eps / 4).all())
