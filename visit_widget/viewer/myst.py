"""A widget in a book: files for the `{anywidget}` directive of MyST and Jupyter Book 2, which calls
`render` of a script with a model that holds what the directive's body says, and no kernel.
"""

from __future__ import annotations

import json
from typing import Any

from .page import STATIC

SCRIPT, STYLE, TEXT = "visit-widget.mjs", "visit-widget.css", "flow.md"

_DIRECTIVE = """```{{anywidget}} ./{script}
:css: ./{style}
{body}
```
"""


def myst_files(data: dict[str, Any]) -> dict[str, bytes]:
    """{name: content} of what a book needs, the text to include among it.

    Args:
        data: of a saved page (docs/protocol.md).
    """
    text = json.dumps({"saved": data}, allow_nan=False, separators=(",", ":"))
    # One line of ASCII in which nothing ends the fence or begins markup.
    body = text.replace("<", "\\u003c").replace("`", "\\u0060").replace("&", "\\u0026")
    directive = _DIRECTIVE.format(script=SCRIPT, style=STYLE, body=body)
    return {
        SCRIPT: (STATIC / "widget.js").read_bytes(),
        STYLE: (STATIC / "widget.css").read_bytes(),
        TEXT: directive.encode("ascii"),
    }
