"""An audit as it travels (docs/protocol.md)."""

from __future__ import annotations

from typing import Any

from ..trace.trace import Trace


def audited(trace: Trace, position: int) -> dict[str, Any]:
    """How far off each identity is at a position, against fresh passes of the model itself."""
    found = trace.audit(position)
    rows = [
        {"identity": name, "error": error, "tolerance": found.tolerance_for(name)}
        for name, error in found.errors.items()
    ]
    return {
        "rows": rows,
        "tolerance": found.tolerance,
        "exact": found.exact,
        "max_error": found.max_error,
        "position": position,
        "dtype": str(trace.record.final.dtype).removeprefix("torch."),
    }
