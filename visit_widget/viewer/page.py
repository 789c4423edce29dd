"""One self-contained page: the same bundle on a fake host, the data inside, no network and no
kernel.
"""

from __future__ import annotations

import gzip
import html
import json
import os
import tempfile
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent.parent / "static"
# What a widget keeps to in a page, until it has said more.
_HEIGHT = 720

_SCRIPT = """
const text = (id) => document.getElementById(id).textContent;
const root = document.getElementById("visit");
if (typeof DecompressionStream === "undefined") {
  root.textContent = "This browser is too old to read this page: open it in one of 2023 or later.";
} else {
  const code = new Blob([JSON.parse(text("visit-bundle"))], { type: "text/javascript" });
  const url = URL.createObjectURL(code);
  const { mountStandalone } = await import(url);
  URL.revokeObjectURL(url);
  const packed = Uint8Array.from(atob(text("visit-data")), (char) => char.charCodeAt(0));
  const data = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  mountStandalone(root, await new Response(data).json());
  // The page around this one learns how tall it is, and may say whether it is dark.
  if (parent !== window) {
    const tell = () => parent.postMessage({ visitHeight: Math.ceil(root.offsetHeight) }, "*");
    addEventListener("message", ({ source, data }) => {
      const theme = data?.visitTheme;
      if (source !== parent || !["light", "dark"].includes(theme)) return;
      document.documentElement.dataset.theme = theme;
    });
    new ResizeObserver(tell).observe(root);
  }
}
"""
# Nothing from outside, and no script but this one and the bundle that it starts. Pictures are drawn
# on the page; what is saved from it leaves as a download.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src 'sha256-{b64encode(sha256(_SCRIPT.encode()).digest()).decode()}' blob:",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    )
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{css}
:root {{ color-scheme: light dark; }}
:root[data-theme="light"] {{ color-scheme: light; }}
:root[data-theme="dark"] {{ color-scheme: dark; }}
body {{ margin: 0; background: Canvas; }}
</style>
</head>
<body>
<main id="visit"></main>
<noscript>This page draws a flow graph with JavaScript: allow it to see one.</noscript>
<script type="application/json" id="visit-bundle">{bundle}</script>
<script type="application/gzip;base64" id="visit-data">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""

# Frames around saved pages are as tall as what is in them: one listener for all of them.
_FRAMES = """
if (!window.visitFrames) {
  window.visitFrames = true;
  addEventListener("message", ({ source, data }) => {
    const height = Math.min(data?.visitHeight, 4000);
    if (!(height > 0)) return;
    for (const frame of document.querySelectorAll("iframe[data-visit]"))
      if (frame.contentWindow === source) frame.style.height = `${height}px`;
  });
}
"""


def page(title: str, data: dict[str, Any]) -> str:
    """The page's HTML.

    Args:
        title: shown in the browser's tab.
        data: {"traits", "expand", "project", "audit"} as docs/protocol.md says.
    """
    return _PAGE.format(
        policy=_POLICY,
        script=_SCRIPT,
        title=html.escape(title),
        css=(STATIC / "widget.css").read_text(encoding="utf-8").replace("</", "<\\/"),
        bundle=_script_json((STATIC / "widget.js").read_text(encoding="utf-8")),
        data=_packed(data),
    )


def iframe(page_html: str, height: int | None) -> str:
    """The page inside an iframe tag, as a notebook's HTML export keeps it.

    Args:
        page_html: the page.
        height: pixels; None for as tall as the page says that it is.
    """
    follows, script = ("", "") if height else (" data-visit", f"<script>{_FRAMES}</script>")
    # In a div, or IPython recommends its own IFrame, which has no srcdoc.
    return (
        f'<div><iframe{follows} srcdoc="{html.escape(page_html)}" '
        f'style="width:100%;height:{height or _HEIGHT}px;border:0" '
        'sandbox="allow-scripts allow-downloads" title="visit_widget flow graph"></iframe>'
        f"{script}</div>"
    )


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _packed(value: Any) -> str:
    """JSON, compressed to a tenth, as text: numbers and tokens repeat a lot. The same for the same
    value, whenever it is made.
    """
    # In ASCII, for half a surrogate pair has no other form.
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def write_whole(target: Path, content: bytes) -> None:
    """Write the file in one step, so that a failure leaves no half of it behind."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
