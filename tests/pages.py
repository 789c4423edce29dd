"""What a saved page carries."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any


def data_in(page: str) -> dict[str, Any]:
    """The data of a page's HTML, read as the browser does."""
    (packed,) = re.findall(r'id="visit-data">([A-Za-z0-9+/=]*)</script>', page)
    data: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return data
