"""Two traces side by side: whether they can be compared, where, and what is followed in both."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from ..flow import FlowGraph, Keep, Painter
from ..lens import Lens, LocalLens, lens_of
from ..model import VisitError
from ..trace import Trace
from ..trace.target import Followed, TargetLike, followed
from ..what_if.actions import Action
from .alignment import Alignment, align

Foci = int | tuple[int, int]
# A node of a position (of routes), what a head takes from a token, both, or neither.
_PLACED = re.compile(r"(?:P(b?)(\d+)(?=\.))?(.*?)(?:(?<=\d)\.([VK])(b?)(\d+))?")


class Pair:
    """Two traces, and the partners among their tokens.

    Args:
        a, b: traces of one model, or of two of the same make with one tokenizer.
        pairs: the partners, where they are known.

    Attributes:
        alignment: the partners.

    Raises:
        VisitError: the two cannot be compared; the message says why.
    """

    def __init__(self, a: Trace, b: Trace, pairs: Sequence[tuple[int, int]] | None = None) -> None:
        _check(a, b)
        self.a, self.b = a, b
        self.alignment = align(a.input_ids.tolist(), b.input_ids.tolist(), pairs)

    def foci(self, position: Foci = -1) -> tuple[int, int]:
        """The two positions whose predictions are compared.

        Args:
            position: of a, and in b that of its partner; both last ones by default; or one of each.

        Raises:
            VisitError: the position has no partner.
        """
        if not isinstance(position, int):
            try:
                here, there = position
            except (TypeError, ValueError):
                raise VisitError(
                    f"position={position!r} is no place in two prompts: give a position of the "
                    "first, or one of each, such as (3, 4)."
                ) from None
            return self.a.position(here), self.b.position(there)
        at = self.a.position(position)
        if at == len(self.a) - 1:
            return at, len(self.b) - 1
        if at not in self.alignment.b_of:
            raise VisitError(
                f"Position {at} ({self.a.tokens[at]}) has no partner in the other prompt: give one "
                f"of each, such as position=({at}, {len(self.b) - 1})."
            )
        return at, self.alignment.b_of[at]

    def answers(self, foci: tuple[int, int]) -> tuple[int, int]:
        """The first choice after each prompt."""
        first, second = (
            int(trace.logits(at).argmax()) for trace, at in zip((self.a, self.b), foci, strict=True)
        )
        return first, second

    def followed(
        self,
        foci: tuple[int, int],
        target: TargetLike | Followed | None,
        foil: TargetLike | Followed | None,
    ) -> tuple[Followed, Followed | None]:
        """What is followed in both, and what it is compared against: by default a's first choice
        against b's, where they differ.
        """
        first, second = self.answers(foci) if target is None else (0, 0)
        if target is None and foil is None and first != second:
            foil = second
        target = first if target is None else target
        return followed(self.a, target), None if foil is None else followed(self.a, foil)

    @cached_property
    def patch(self) -> Action:
        """To take a part from b: what `rerun` and `effects` of a are given as an action."""
        return Action("patch", source=self.b, partners=self.alignment.b_of)

    def in_a(self, node_id: str) -> str:
        """The id of a node of b's graph in the graph of both: what a head takes from a token, and
        what stands at a position, is named by the token's partner in a; ``L3.H7.Vb2`` and
        ``Pb2.L5.post`` are of token 2 of b, which has none.
        """
        return in_both(node_id, self.alignment)

    @staticmethod
    def of_b(node_id: str) -> bool:
        """Whether a node is of a token that b alone has."""
        at, _, _, _, source, _ = _split(node_id)
        return bool(at or source)

    def in_b(self, node_id: str) -> str | None:
        """The id in b's own graph of a node in the graph of both; None where b has none."""

        def there(own: str, number: str) -> str | None:
            partner = int(number) if own else self.alignment.b_of.get(int(number))
            return None if partner is None else str(partner)

        return _placed(node_id, there)


def in_both(node_id: str, alignment: Alignment) -> str:
    """The id in the graph of both of a node of b's."""

    def here(_own: str, number: str) -> str:
        partner = alignment.a_of.get(int(number))
        return f"b{number}" if partner is None else str(partner)

    return _placed(node_id, here) or node_id


def _placed(node_id: str, place: Callable[[str, str], str | None]) -> str | None:
    """The id with its position and its source told otherwise; None where one of them is none."""
    own, at, within, kind, theirs, source = _split(node_id)
    position = None if at is None else place(own, at)
    token = None if source is None else place(theirs, source)
    if (at is not None and position is None) or (source is not None and token is None):
        return None
    start = "" if at is None else f"P{position}"
    end = "" if source is None else f".{kind}{token}"
    return f"{start}{within}{end}"


def _split(node_id: str) -> tuple[Any, ...]:
    """(b or "", position, what stands there, K or V, b or "", source); None for what it has not."""
    found = _PLACED.fullmatch(node_id)
    assert found is not None
    return found.groups()


class PairPainter:
    """Draws the graphs of both traces, with the same parts in each: all that pruning keeps in
    either.

    Args:
        pair: the traces.
        a: draws the first.
        b: draws the other, as the first is drawn.
    """

    def __init__(self, pair: Pair, a: Painter, b: Painter) -> None:
        self.pair, self.a, self.b = pair, a, b

    @classmethod
    def of(
        cls,
        pair: Pair,
        foci: tuple[int, int],
        told: tuple[Followed, Followed | None],
        keep: Keep | dict[str, Any] | None = None,
        measure: str = "logit",
        lens: Lens | str | None = None,
    ) -> PairPainter:
        """What draws both.

        Args:
            pair: the traces.
            foci: the position in each.
            told: what is followed in both, and what it is compared against.
            keep: as `flow_graph`.
            measure: likewise.
            lens: likewise.
        """
        mine, theirs = (lens_of(lens, trace) for trace in (pair.a, pair.b))
        if lens is None and mine.name != theirs.name:
            # What one model has at hand by default the other may not; both are to be read alike.
            mine, theirs = (_local(trace) for trace in (pair.a, pair.b))
        return cls(
            pair,
            Painter(pair.a, foci[0], *told, keep, measure, mine),
            Painter(pair.b, foci[1], *told, keep, measure, theirs),
        )

    def agree(self, layer: int) -> None:
        """See that the same parts of a layer are drawn in both."""
        pair, more = self.pair, (frozenset[str](), frozenset[str]())
        # A head that only the other keeps brings its own memories along, the second time.
        for _ in range(2):
            mine, theirs = self.a.chosen(layer, more[0]), self.b.chosen(layer, more[1])
            wanted = {name for i in mine if (name := pair.in_b(i)) is not None}
            more = frozenset({pair.in_a(i) for i in theirs} - mine), frozenset(wanted - theirs)
            if not any(more):
                break
        self.a.also(layer, more[0] | mine)
        self.b.also(layer, more[1] | theirs)

    def graphs(self, layers: Sequence[int] = ()) -> tuple[FlowGraph, FlowGraph]:
        """The overview of each, with these layers open."""
        for layer in {self.pair.a.layer(layer) for layer in layers}:
            self.agree(layer)
        return self.a.graph(layers), self.b.graph(layers)


def _local(trace: Trace) -> Lens:
    found = lens_of("local", trace)
    return found.forgiven if isinstance(found, LocalLens) else found


def _check(a: Trace, b: Trace) -> None:
    for trace in (a, b):
        if not isinstance(trace, Trace):
            raise VisitError(
                f"Two traces are compared, as vw.trace makes them, not {type(trace).__name__}."
            )
        trace.needs_model("A comparison")
    if a.model is b.model:
        return
    if _make(a) != _make(b):
        raise VisitError(
            "These traces are of models of another make (layers, heads or sizes differ), so that "
            "no part of the one stands for a part of the other: compare prompts of one model, or a "
            "model with one that was trained from it."
        )
    if a.tokenizer is None or b.tokenizer is None:
        return
    ids = sorted({*a.input_ids.tolist(), *b.input_ids.tolist()})
    ids = [i for i in ids if i < min(a.n_vocab, b.n_vocab)]
    if a.texts(ids) != b.texts(ids):
        raise VisitError(
            "The tokenizers of these two traces read the same token ids as other texts: trace both "
            "prompts with one tokenizer."
        )


def _make(trace: Trace) -> Any:
    layers = []
    for layer, part in enumerate(trace.anatomy.blocks):
        kept = trace.record.layers[layer].attention
        heads = None if kept is None else (kept.query.shape[0], kept.value.shape[-1])
        halves = part.mlp is None, part.mixer is None, part.mixer_late, part.parallel
        layers.append((heads, halves, part.d_mlp))
    return trace.d_model, layers
