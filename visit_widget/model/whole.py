"""Files that are written whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from .errors import VisitError


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Where to write what is to stand at a place once the block has ended well.

    Args:
        target: the place, in a folder that has to exist.

    Raises:
        VisitError: it cannot be written there.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(target)
    except (OSError, SafetensorError) as error:
        raise VisitError(
            f"Could not write {target}: {getattr(error, 'strerror', None) or error}. Choose "
            "another place."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
