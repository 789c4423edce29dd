"""Where a vector stands in a model, as far as a lens has to know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..model import Anatomy, VisitError
from ..trace.tape import At, Place

# The stream itself; what is written to it, and where; what is looked for in it, and where.
STREAMS: dict[str, At] = {"pre": "pre", "mid": "mid", "post": "post"}
WRITES: dict[str, At] = {
    "attention": "mid", "head": "mid", "value": "mid", "row": "mid", "mixer": "mid",
    "mlp": "post", "neuron": "post",
}  # fmt: skip
READS: dict[str, At] = {"query": "pre", "key": "pre", "neuron_key": "mid"}
KINDS: dict[str, At] = {**STREAMS, **WRITES, **READS}


@dataclass(frozen=True)
class Site:
    """Where a vector stands.

    Attributes:
        layer: from 0.
        kind: "pre", "mid" or "post" for the stream; "attention", "head", "value" (one head's part
            from one source), "row" (of W_O), "mixer", "mlp" or "neuron" for what is written to it;
            "query", "key" or "neuron_key" for what is looked for in it.
    """

    layer: int
    kind: str

    @property
    def writes(self) -> bool:
        """Whether the vector is a summand of the stream."""
        return self.kind in WRITES

    @property
    def reads(self) -> bool:
        """Whether it is a direction that something looks for."""
        return self.kind in READS

    def at(self, anatomy: Anatomy) -> At:
        """Which of a layer's streams the vector is in, is a summand of, or is looked for in."""
        at, part = KINDS[self.kind], anatomy.blocks[self.layer]
        if self.kind == "mixer" and part.mixer_late:
            return "post"
        if at != "mid" or (part.mlp is not None and not part.parallel):
            return at
        # There is no stream between the sublayers.
        return "pre" if self.reads else "post"


def sites(
    n: int, layer: int | Sequence[int] | None, site: str | Sequence[str], anatomy: Anatomy
) -> list[Site]:
    """The sites of n vectors.

    Args:
        n: how many.
        layer: theirs, or one for each; the last by default.
        site: their kind (`Site`), or one for each.
        anatomy: of the model.

    Raises:
        VisitError: there are no such sites; the message says which there are.
    """
    last = len(anatomy.blocks) - 1
    layers = [last if layer is None else layer] * n if not isinstance(layer, Sequence) else layer
    kinds = [site] * n if isinstance(site, str) else site
    if len(layers) != n or len(kinds) != n:
        raise VisitError(
            f"There are {n} vectors, {len(layers)} layers and {len(kinds)} sites: give one of "
            "each, or as many as there are vectors."
        )
    found = [Site(int(one), kind) for one, kind in zip(layers, kinds, strict=True)]
    for one in dict.fromkeys(found):
        if one.kind not in KINDS:
            raise VisitError(
                f"site={one.kind!r} is none a lens knows: use {', '.join(map(repr, KINDS))}."
            )
        if not 0 <= one.layer <= last:
            raise VisitError(f"Layer {one.layer} does not exist: the model has layers 0 to {last}.")
    return found


def by_place(where: Sequence[Site], anatomy: Anatomy) -> dict[Place, list[int]]:
    """The numbers of the vectors that belong to each stream."""
    found: dict[Place, list[int]] = {}
    for n, site in enumerate(where):
        found.setdefault((site.layer, site.at(anatomy)), []).append(n)
    return found


def later(place: Place, n_layers: int) -> list[Place]:
    """A stream and all that come after it, in order; the last is left out."""
    order: list[Place] = [(0, "pre")]
    for layer in range(n_layers):
        order += [(layer, "mid"), (layer, "post")]
    layer, at = place
    start = place if at != "pre" or layer == 0 else (layer - 1, "post")
    return order[order.index(start) : -1]


def own_streams(anatomy: Anatomy) -> list[Place]:
    """The streams of a model, each once and in order; the last is left out."""
    found: list[Place] = [(0, "pre")]
    for layer, part in enumerate(anatomy.blocks):
        if part.mlp is not None and not part.parallel:
            found.append((layer, "mid"))
        found.append((layer, "post"))
    return found[:-1]
