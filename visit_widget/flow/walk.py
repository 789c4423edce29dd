"""The walk from a prediction back to the tokens, through every position and layer, along the parts
that carry most of it.

An edge's influence is what it carries of the prediction:

    influence(part → whole) = f(part, whole) · influence(whole)         Σ f over the parts = 1

where f is the share (or the part of the sum of lengths, or of proximities). What flows into a node
in several ways, its influence included, is summed, signs and all; parts are ranked by |influence|.
The MLP hands what it carries on to the stream that it reads, as Ferrando & Voita's routes do.

Measured in logits, the parts of a stream are read by a direction d as well, at the prediction the
one that reads the logit, and earlier what all kept ways through attention and the stream make of
it, attention weights and norm scales held at what they were (Elhage et al. 2021):

    influence(part) = ⟨d, part⟩ + share(part) · (what the stream carries through MLPs above)

so the first term is exact: it is what doubling the part adds to the logit if nothing else reacts.

By the linear reading MLPs are linear maps of the stream that they read as well, their activations'
secants, gates and routers held (`trace.linear_reading`): d comes through them too, and

    influence(part) = ⟨d, part⟩

is all there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..model import UnsupportedModelError
from ..trace import Trace
from ..trace.attention import AttentionRows, attention_rows
from ..trace.audit import tolerance_of
from ..trace.effect import Everywhere
from ..trace.linear_reading import LinearMlp
from ..trace.logit import LogitDirection
from ..trace.mlp import mlp_rows
from ..trace.rounding import rounds
from ..trace.stream import carry_rows, mixer_output
from ..trace.tape import At
from ..trace.values import values_of
from .keep import Keep, Limit
from .measures import fractions
from .sheet import NOT_ROUNDING
from .stage import Credit, Memories, Single, Stage

# Attention weights looked at together, and numbers of parts made together: so many at most.
WEIGHTS_AT_ONCE = 2**22
NUMBERS_AT_ONCE = 2**23


class Walk:
    """A walk from one prediction; iterate over it once.

    Args:
        trace: the traced pass.
        read: how the followed logit reads the stream at the focus.
        position: the focus, from 0.
        keep: what is followed.
        measure: how parts are measured.
        everywhere: how the followed logit hangs on every stream, to measure effects.

    Attributes:
        total: the prediction's influence: its logit, or 1.
        embeddings: {position: (credit of one row, influence)} of the tokens reached; filled by the
            walk.
        below: for streams, at which positions the stream before is kept whatever it carries.
        opaque: influence that ends where it cannot be followed.
        max_error: the largest relative error between a whole and the sum of its parts.
    """

    def __init__(
        self, trace: Trace, read: LogitDirection, position: int, keep: Keep, measure: str,
        everywhere: Everywhere | None = None,
    ) -> None:  # fmt: skip
        self.trace, self.read, self.focus = trace, read, position
        self.keep, self.measure, self.everywhere = keep, measure, everywhere
        self.linear = measure == "linear"
        self.in_logits = measure in ("logit", "effect", "linear")
        self.below: dict[tuple[int, At], Tensor] = {}
        self.final = trace.residual(trace.n_layers - 1)[position]
        self.total = 1.0
        if self.in_logits:
            self.total = float(self.final @ read.direction) + read.constant
        self.scale = max(abs(self.total), 1.0)
        self.embeddings: dict[int, tuple[Credit, float]] = {}
        self.opaque = self.max_error = 0.0

    def __iter__(self) -> Iterator[Stage]:
        trace = self.trace
        shape = len(trace), trace.d_model
        credit = Credit(self.final.new_zeros(shape), self.final.new_zeros(shape[0], 2))
        credit.direction[self.focus] = self.read.direction
        credit.carried[self.focus, 0] = 0.0 if self.in_logits else 1.0
        live = [self.focus]
        for layer in reversed(range(trace.n_layers)):
            part = trace.anatomy.blocks[layer]
            two_steps = part.mlp is not None and not part.parallel
            names: list[At] = ["mid", "post"] if two_steps else ["post"]
            for name in reversed(names):
                earlier = Credit(torch.zeros_like(credit.direction), credit.carried.clone().zero_())
                reached: set[int] = set()
                for positions in self._chunks(layer, live):
                    stage = self._stage(layer, name, names, positions, credit, earlier)
                    reached |= _reached(stage)
                    yield stage
                credit, live = earlier, sorted(reached)
        wholes = trace.residual(0, "pre")
        for position in live:
            own = credit.rows(torch.tensor([position], device=wholes.device))
            by = self._measuring(0, "pre", [position], own)
            influence = self._influence(by, wholes[position : position + 1])
            self.embeddings[position] = own, float(influence)

    def direct(self, position: int) -> float:
        """What a token's embedding adds along ways without an MLP."""
        if position not in self.embeddings:
            return 0.0
        own, _ = self.embeddings[position]
        read = self.trace.residual(0, "pre")[position] @ own.direction[0]
        return float(own.carried[0, 0]) + (float(read) if self.in_logits else 0.0)

    def effects(self, layer: int, at: At, positions: list[int]) -> Tensor | None:
        """(n, d_model) how the followed logit hangs on streams, everything later reacting; None
        where parts are not measured by it.
        """
        return None if self.everywhere is None else self.everywhere.at(layer, at, positions)

    def told(self, attribution: dict[str, Any]) -> dict[str, Any]:
        """The attribution by token, made of what the walk has passed."""
        return attribution

    def _measuring(self, layer: int, at: At, positions: list[int], credit: Credit) -> Credit:
        """What the parts of some streams are measured by."""
        effects = self.effects(layer, at, positions)
        return credit if effects is None else Credit(effects, torch.zeros_like(credit.carried))

    def _chunks(self, layer: int, live: list[int]) -> Iterator[list[int]]:
        kept = self.trace.record.layers[layer].attention
        n_heads = 1 if kept is None else kept.query.shape[0]
        size = max(1, WEIGHTS_AT_ONCE // (n_heads * len(self.trace)))
        for begin in range(0, len(live), size):
            yield live[begin : begin + size]

    def _influence(self, credit: Credit, wholes: Tensor) -> Tensor:
        carried = credit.carried.sum(-1)
        return carried + (credit.direction * wholes).sum(-1) if self.in_logits else carried

    def _stage(
        self, layer: int, name: At, names: list[At], positions: list[int], every: Credit,
        earlier: Credit,
    ) -> Stage:  # fmt: skip
        """Measure, choose and follow the parts of some streams of one layer."""
        trace, part = self.trace, self.trace.anatomy.blocks[layer]
        index = torch.tensor(positions, device=trace.device)
        credit = every.rows(index)
        by = self._measuring(layer, name, positions, credit)
        attends = part.attention is not None and name == names[0]
        rows = attention_rows(trace, layer, positions) if attends else None
        mid = trace.record.layers[layer].mid
        if name == "mid" and mid is not None:
            wholes = trace.work(mid[positions])
        else:
            wholes = trace.residual(layer, "post")[index]
        parts = self._singles(layer, name, names, positions, rows)
        left = self._check(layer, name, wholes, parts, rows)
        if left is not None:
            parts.append(Single(f"{name}.rounding", left))

        measured = self._fractions(wholes, [s.vectors for s in parts], rows)
        through = by.carried.sum(-1, keepdim=True) * measured
        influence = through
        if self.in_logits:
            read = [(s.vectors * by.direction).sum(-1, keepdim=True) for s in parts]
            if rows is not None:
                read.append(rows.along(rows.reading(by.direction)).flatten(1))
            influence = through + torch.cat(read, -1)
        exists = torch.ones_like(influence, dtype=torch.bool)
        if rows is not None:
            exists[:, len(parts) :] = rows.weights.flatten(1) != 0
        own = influence / self.scale
        kept = self._choose(own, measured if by is credit else own, exists, len(parts), rows)
        if (layer, name) in self.below:
            kept[:, 0] |= self.below[layer, name][index]

        before = "mid" if name == "post" and len(names) == 2 else "pre"
        for n, single in enumerate(parts):
            single = replace(single, influence=influence[:, n], kept=kept[:, n])
            parts[n] = self._follow(single, credit, measured[:, n], index, earlier)
        memories = None
        if rows is not None:
            chosen = kept[:, len(parts) :].view_as(rows.weights)
            memories = self._follow_memories(
                layer, rows, credit, by, chosen, influence[:, len(parts) :].view_as(rows.weights),
                measured[:, len(parts) :].view_as(rows.weights), earlier,
            )  # fmt: skip
        dropped = exists & ~kept
        return Stage(
            layer, name, before, positions, wholes, credit, self._influence(by, wholes), parts,
            memories, dropped.sum(-1), (influence * dropped).sum(-1),
            None if by is credit else by.direction,
        )  # fmt: skip

    def _fractions(self, wholes: Tensor, parts: list[Tensor], rows: AttentionRows | None) -> Tensor:
        """(n, parts) what each part is of its whole, where anything is handed on or kept by it."""
        if self.linear and self.keep.routes_by == "influence":
            more = 0 if rows is None else rows.weights[0].numel()
            return wholes.new_zeros(len(wholes), len(parts) + more)
        return fractions(self.measure, wholes, parts, rows)

    def _singles(
        self, layer: int, name: At, names: list[At], positions: list[int],
        rows: AttentionRows | None,
    ) -> list[Single]:  # fmt: skip
        trace, part = self.trace, self.trace.anatomy.blocks[layer]
        kept = trace.record.layers[layer]
        found: list[Single] = []
        outlet = added = inner = None
        if part.mlp is not None and name == "post" and self.linear:
            inner = LinearMlp(trace, layer, positions)
            outlet, added = inner.outlet, inner.added
        elif part.mlp is not None and name == "post":
            outlet, added = mlp_rows(trace, layer, positions)
        if name == names[0]:
            passage = carry_rows(trace, layer, positions, None if rows is None else rows.outlet)
            before = trace.work(kept.pre[positions])
        else:
            assert outlet is not None
            assert kept.mid is not None
            passage, before = outlet.carry, trace.work(kept.mid[positions])
        found.append(Single("residual", passage.forward(before), passage))
        if rows is not None and rows.outlet.bias is not None:
            bias = rows.outlet.bias.expand_as(before)
            found.append(Single("attn.bias", bias))
        if part.mixer is not None and name == (names[-1] if part.mixer_late else names[0]):
            mixed = mixer_output(trace, layer, positions)
            assert mixed is not None
            found.append(Single("mix", mixed))
        if added is not None:
            found.append(Single("mlp", added, inner=inner))
        return found

    def _check(
        self, layer: int, name: str, wholes: Tensor, parts: list[Single], rows: AttentionRows | None
    ) -> Tensor | None:
        """Whether the parts sum to the wholes; returns what rounding left between them, (n,
        d_model), in half precision.
        """
        total = sum(s.vectors for s in parts if s.name != "attn.bias")
        total = total if rows is None else total + rows.total
        off = ((total - wholes).norm(dim=-1) / wholes.norm(dim=-1).clamp_min(1e-30)).max()
        self.max_error = max(self.max_error, float(off))
        if off > NOT_ROUNDING * tolerance_of(self.trace):
            raise UnsupportedModelError(
                f"What flows into L{layer}.{name} does not sum to it (off by {float(off):.1e}), so "
                "no routes are drawn: the model does something in this layer that was not "
                "understood. trace.audit() says more; an Anatomy can be passed by hand."
            )
        return wholes - total if rounds(self.trace) else None

    def _choose(
        self, influence: Tensor, measured: Tensor, exists: Tensor, n_singles: int,
        rows: AttentionRows | None,
    ) -> Tensor:  # fmt: skip
        """(n, parts) which are kept."""
        limit: Limit = self.keep.routes
        if self.keep.routes_by == "influence" or rows is None:
            values = influence if self.keep.routes_by == "influence" else measured
            return limit.among(values) & exists
        # What a token hands on to another is one edge, whichever heads carry it.
        heads = (measured * exists)[:, n_singles:].view_as(rows.weights)
        kept = limit.among(torch.cat([measured[:, :n_singles], heads.sum(1)], -1))
        by_head = kept[:, None, n_singles:] & (heads != 0)
        return torch.cat([kept[:, :n_singles], by_head.flatten(1)], -1)

    def _follow(
        self, single: Single, credit: Credit, measured: Tensor, index: Tensor, earlier: Credit
    ) -> Single:
        """Hand on what a kept part carries to the stream that it is made of; returns the part, and
        how much went on.
        """
        on = single.kept[:, None]
        if single.name == "residual":
            earlier.direction[index] += on * single.passage.pull_back(credit.direction)
            earlier.carried[index] += on * measured[:, None] * credit.carried
        elif single.inner is not None:
            back = single.inner.pull_back(on * credit.direction)
            if back is None:
                self.opaque += float((single.kept * single.influence).sum())
                return single
            earlier.direction[index] += back
            return replace(single, from_stream=(back * single.inner.before).sum(-1))
        elif single.name == "mlp":
            earlier.carried[index, 1] += single.kept * single.influence
        elif single.name == "mix":
            self.opaque += float((single.kept * single.influence).sum())
        return single

    def _follow_memories(
        self, layer: int, rows: AttentionRows, credit: Credit, by: Credit, chosen: Tensor,
        influence: Tensor, measured: Tensor, earlier: Credit,
    ) -> Memories:  # fmt: skip
        """Hand on what the kept heads carry to the streams of their sources."""
        at, heads, sources = chosen.nonzero(as_tuple=True)
        linear, fixed = influence[chosen], None
        live = sources.unique().tolist()
        values = values_of(self.trace, layer, live) if live else None
        if values is None:
            self.opaque += float(linear.sum())
        else:
            carried = credit.carried[at] * measured[chosen][:, None]
            reading = rows.reading(credit.direction)
            if bool(values.constants.any()):
                fixed = torch.zeros_like(rows.values)
                fixed[:, live] = values.constants
                if not self.linear:
                    made = self._made_of_stream(rows, at, heads, sources, fixed)
                    carried = carried * made[:, None]
                linear = carried.sum(-1) if by is credit else torch.zeros_like(linear)
                if self.in_logits:
                    own = reading if by is credit else rows.reading(by.direction)
                    read = rows.along(own) - rows.along(own, fixed)
                    linear = linear + read[chosen]
            earlier.carried.index_add_(0, sources, carried)
            gathered = torch.einsum("nht,nhv->htv", rows.weights * chosen, reading)
            gathered = gathered.unflatten(0, (-1, rows.shared)).sum(1)
            earlier.direction[live] += values.pull_back(gathered[:, live])
        return Memories(
            at, heads, sources, rows.weights[chosen], influence[chosen], linear, values is not None,
            rows, fixed,
        )  # fmt: skip

    def _made_of_stream(
        self, rows: AttentionRows, at: Tensor, heads: Tensor, sources: Tensor, fixed: Tensor
    ) -> Tensor:
        """(K,) what of each part comes from the stream, not from constants."""
        found = []
        for chunk in torch.arange(len(at)).split(max(1, NUMBERS_AT_ONCE // self.trace.d_model)):
            places = at[chunk], heads[chunk], sources[chunk]
            vectors, constants = rows.parts(*places), rows.parts(*places, values=fixed)
            parts = [vectors - constants, constants]
            found.append(fractions(self.measure, vectors, parts, None)[:, 0])
        return torch.cat(found)


def _reached(stage: Stage) -> set[int]:
    """The positions whose earlier stream something kept is made of."""
    found: set[int] = set()
    for single in stage.singles:
        if single.leads_on:
            found |= {p for p, on in zip(stage.positions, single.kept.tolist(), strict=True) if on}
    if stage.memories is not None and stage.memories.readable:
        found |= set(stage.memories.sources.unique().tolist())
    return found
