"""Everything a panel shows of one node."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from ..lens import Lens
from ..model import VisitError
from .build import Painter
from .labels import project
from .sheet import Sheet
from .target import standings_of

N_TOKENS, N_SOURCES = 10, 8
# Of each other lens.
N_BESIDE = 5


def details(
    painter: Painter, node_ids: Sequence[str], lenses: Sequence[Lens] = ()
) -> dict[str, dict[str, Any]]:
    """{node id: detail}; the fields of a detail are in docs/protocol.md.

    Args:
        painter: holds the sheets that the nodes are on; a layer that was not drawn yet is drawn.
        node_ids: nodes of the overview or of any layer.
        lenses: others to read them with.

    Raises:
        VisitError: a node does not exist in this graph.
    """
    found: dict[str, dict[str, Any]] = {}
    on_sheet: dict[int, tuple[Sheet, list[str]]] = {}
    for node_id in node_ids:
        sheet = sheet_of(painter, node_id)
        on_sheet.setdefault(id(sheet), (sheet, []))[1].append(node_id)
    for sheet, ids in on_sheet.values():
        drawn = [i for i in ids if i in sheet.vectors]
        keys = [f"{i}.key" for i in drawn if f"{i}.key" in sheet.vectors]
        seen = dict(
            zip(
                drawn + keys,
                _readings(sheet, drawn + keys),
                strict=True,
            )
        )
        beside = _beside(painter, sheet, drawn, lenses)
        for node_id in ids:
            found[node_id] = _detail(painter, sheet, node_id, seen)
            found[node_id]["readings"] = beside.get(node_id, [])
    return {i: found[i] for i in node_ids}


def sheet_of(painter: Painter, node_id: str) -> Sheet:
    """The sheet a node is on; its layer is drawn if it was not."""
    if "overview" not in painter.sheets:
        painter.overview()
    if node_id in painter.sheets["overview"].nodes:
        return painter.sheets["overview"]
    if re.match(r"P\d+\.", node_id):
        if "routes" not in painter.sheets:
            painter.routes()
        if node_id in painter.sheets["routes"].nodes:
            return painter.sheets["routes"]
    match = re.match(r"L(\d+)\.", node_id)
    if match:
        layer = painter.trace.layer(int(match[1]))
        if layer not in painter.sheets:
            painter.block(layer)
        if node_id in painter.sheets[layer].nodes:
            return painter.sheets[layer]
    raise VisitError(
        f"Node {node_id!r} is not drawn: pruning left it out, or there is none. Keep more with "
        "vw.Keep."
    )


def _readings(sheet: Sheet, node_ids: Sequence[str]) -> list[dict[str, Any]]:
    projection = project([(sheet, node_ids)], N_TOKENS, N_TOKENS)
    tops, bottoms = sheet.tokens(projection)
    for node_id, *rows in zip(node_ids, tops, bottoms, strict=True):
        if sheet.lens.unit_at(sheet.site(node_id)) == "logit":
            for token in (*rows[0], *rows[1]):
                token["logit"] = token["score"]
    targets, foils = standings_of(projection, sheet.target, sheet.foil)
    return [
        {"top": top, "bottom": bottom, "target": target, "foil": foil}
        for top, bottom, target, foil in zip(tops, bottoms, targets, foils, strict=True)
    ]


def _beside(
    painter: Painter, sheet: Sheet, node_ids: list[str], lenses: Sequence[Lens]
) -> dict[str, list[dict[str, Any]]]:
    """What other lenses make of nodes: {node id: [{"lens", "unit", "top", "bottom"}]}."""
    found: dict[str, list[dict[str, Any]]] = {}
    labelled = [i for i in node_ids if sheet.nodes[i].kind != "rounding"]
    for lens in lenses if labelled else ():
        if lens.name == sheet.lens.name:
            continue
        here = lens.at(painter.trace, painter.position) if sheet.at_focus else lens.anywhere
        tops, bottoms = sheet.tokens(
            project([(sheet, labelled)], N_BESIDE, N_BESIDE, everything=False, lens=here)
        )
        for node_id, top, bottom in zip(labelled, tops, bottoms, strict=True):
            unit = here.unit_at(sheet.site(node_id))
            reading = {"lens": lens.name, "unit": unit, "top": top, "bottom": bottom}
            found.setdefault(node_id, []).append(reading)
    return found


def _detail(
    painter: Painter, sheet: Sheet, node_id: str, seen: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    node = sheet.nodes[node_id]
    detail = asdict(node)
    reading = seen.get(node_id)
    share = sheet.share(node_id)
    detail.update(
        share=None, whole=None, target=None, foil=None, attention=None, sources=None, reads=None
    )
    if share is not None:
        detail.update(share=share[0], whole=share[1])
    if reading is not None:
        detail.update(reading)
    key = seen.get(f"{node_id}.key")
    if key is not None:
        detail["reads"] = {"top": key["top"], "bottom": key["bottom"]}
    if node.kind in ("head", "query") and node.head is not None and node.layer is not None:
        row = painter.trace.attention_row(node.layer, painter.position)
        detail["attention"] = row.weights[node.head].tolist()
        logits = row.along(painter.read.layers[node.layer].mid)[node.head]
        strongest = logits.abs().topk(min(N_SOURCES, int((logits != 0).sum()))).indices
        weights = row.weights[node.head]
        detail["sources"] = [
            {"position": int(j), "weight": float(weights[j]), "logit": float(logits[j])}
            for j in torch.as_tensor(strongest)
        ]
        if painter.effect is not None:
            effects = row.along(painter.effect.layers[node.layer].mid)[node.head]
            for source in detail["sources"]:
                source["effect"] = float(effects[source["position"]])
    return detail
