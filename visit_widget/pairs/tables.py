"""A comparison as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model import VisitError
from .paired import CARRIED, OWN, EdgePair, NodePair

if TYPE_CHECKING:
    import pandas as pd

    from .comparison import Comparison


def to_pandas(comparison: Comparison) -> tuple[pd.DataFrame, pd.DataFrame]:
    """See `Comparison.to_pandas`."""
    nodes = [_node(pair) for pair in comparison.nodes.values()]
    edges = [_edge(pair) for pair in comparison.edges.values()]
    return table(nodes), table(edges)


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table; numbers are NaN where there is none, whole ones are nullable.

    Raises:
        VisitError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise VisitError("A table needs pandas: pip install pandas.") from error
    made = pd.DataFrame(rows)
    for name in ("layer", "head", "source", "neuron", "expert", "position"):
        if name in made:
            made[name] = made[name].astype("Int64")
    wordy = ("id", "kind", "alone", "source_id", "target_id")
    for name in made.columns:
        if made[name].dtype != object or name in wordy or name.startswith(("label", "token")):
            continue
        made[name] = pd.to_numeric(made[name])
    return made


def _node(pair: NodePair) -> dict[str, Any]:
    node = pair.node
    row: dict[str, Any] = {"id": pair.id, "kind": node.kind, "alone": pair.alone}
    row.update({name: getattr(node, name) for name in ("layer", "head", "source", "neuron")})
    if pair.a is None:
        row["source"] = None
    row["label_a"], row["label_b"] = (None if n is None else n.label for n in (pair.a, pair.b))
    return {**row, **_columns(pair, (*CARRIED, *OWN))}


def _edge(pair: EdgePair) -> dict[str, Any]:
    row = {"source_id": pair.source, "target_id": pair.target, "kind": pair.kind}
    return {**row, "alone": pair.alone, **_columns(pair, (*CARRIED, "value"))}


def _columns(pair: NodePair | EdgePair, measures: tuple[str, ...]) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for name in measures:
        found = pair.values(name)
        row[f"{name}_a"], row[f"{name}_b"] = found.a, found.b
        row[f"{name}_difference"] = found.difference
    return row
