"""The labels of the nodes of sheets.

Projecting to the vocabulary is what costs: the vectors of all sheets go through the lens at once,
each vector one time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ..lens import Lens, Projection, Site
from .elements import Edge, Node
from .sites import STREAMS
from .target import standings_of

if TYPE_CHECKING:
    from .sheet import Sheet

N_TOP, N_BOTTOM = 5, 3

Drawn = tuple[list[Node], list[Edge]]


def finish(sheets: Sequence[Sheet], labelled: Sequence[str] | None = None) -> list[Drawn]:
    """The nodes and edges of sheets of one painter, with their numbers and labels.

    What rounding added says nothing, and gets no label.

    Args:
        sheets: at least one.
        labelled: the ids of the nodes that get labels; all by default.

    Raises:
        UnsupportedModelError: the parts of a whole do not sum to it.
    """
    numbers = [sheet.reckon() for sheet in sheets]
    chosen = None if labelled is None else frozenset(labelled)
    asked = [
        [
            node_id
            for node_id in sheet.vectors
            if sheet.nodes[node_id].kind != "rounding" and (chosen is None or node_id in chosen)
        ]
        for sheet in sheets
    ]
    projection = project(list(zip(sheets, asked, strict=True)), N_TOP, N_BOTTOM, everything=False)
    first = sheets[0]
    tops, bottoms = first.tokens(projection)
    standings = standings_of(projection, first.target, first.foil)[0]
    said = zip(tops, bottoms, standings, strict=True)
    for sheet, ids, more in zip(sheets, asked, numbers, strict=True):
        for node_id in ids:
            top, bottom, standing = next(said)
            more[node_id] |= {
                "label": top[0]["text"],
                "unit": sheet.lens.unit_at(sheet.site(node_id)),
                "top": top,
                "bottom": bottom,
                "target_probability": None if standing is None else standing["probability"],
                "target_rank": None if standing is None else standing["rank"],
            }
        sheet.tell(more)
    return [(list(sheet.nodes.values()), sheet.edges) for sheet in sheets]


def project(
    asked: Sequence[tuple[Sheet, Sequence[str]]],
    k: int,
    bottom: int,
    everything: bool = True,
    lens: Lens | None = None,
) -> Projection:
    """The lens's reading of nodes; vectors that are the same tensor are projected once.

    Args:
        asked: sheets of one painter, at least one, and which of their nodes.
        k: how many of the tokens that they write most.
        bottom: how many of those that they write least.
        everything: whether probabilities are wanted of all, not of the streams alone.
        lens: another than the sheets' own.

    Returns:
        Of the nodes in their order.
    """
    first = asked[0][0]
    lens = lens or first.lens
    place: dict[tuple[int, str], int] = {}
    vectors: list[torch.Tensor] = []
    where: list[Site] = []
    rows: list[int] = []
    for sheet, node_ids in asked:
        for node_id in node_ids:
            vector, site = sheet.vectors[node_id], sheet.site(node_id)
            # The stream after a block and before the next one is one vector.
            key = id(vector), "stream" if site.kind in STREAMS else site.kind
            if key not in place:
                place[key] = len(vectors)
                vectors.append(vector)
                where.append(site)
            rows.append(place[key])
    wanted = [everything or site.kind in STREAMS for site in where]
    found = lens.project(
        torch.stack(vectors) if vectors else first.read.direction.new_zeros(0, first.trace.d_model),
        k,
        bottom,
        [*first.target.ids, *(() if first.foil is None else first.foil.ids)],
        layer=[site.layer for site in where],
        site=[site.kind for site in where],
        probabilities=torch.tensor(wanted, dtype=torch.bool, device="cpu"),
    )
    return found.rows(torch.tensor(rows, dtype=torch.long, device=lens.device))
