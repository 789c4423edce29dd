"""Texts that would do something if they were taken for more than text."""

from __future__ import annotations

import random
from typing import Any

CALL = "pwned()"
PAYLOADS = (
    f"<img src=x onerror={CALL}>",
    f"</script><script>{CALL}</script>",
    f'"><svg/onload={CALL}>',
    f"' onfocus={CALL} autofocus='",
    f"</title></style></textarea><script>{CALL}</script>",
    f"]]><script>{CALL}</script><![CDATA[",
    f"<!--<script>{CALL}//-->",
    f"javascript:{CALL}",
    f'<a href="javascript:{CALL}">a</a>',
    f"<iframe srcdoc='<script>parent.{CALL}</script>'></iframe>",
    f"<foreignObject><body onload={CALL}></foreignObject>",
    f"<math><mtext></form><form><mglyph><style></math><img src onerror={CALL}>",
    f"${{{CALL}}} {{{{constructor.constructor('{CALL}')()}}}}",
    "</style><style>* { display: none !important }</style>",
    "} * { display: none !important } a {",
    "url(javascript:pwned()); background: red",
    "&lt;b&gt; &#60;script&#62; &quot;",
    f"```\n:::{{raw}} html\n<script>{CALL}</script>\n:::\n```",
    "\u202egnp.exe\u202d \u2066\u2067\u2068 never closed",
    "\u200b\u200c\u200d\ufeff\u00ad\u2060",
    "a\u0300" * 300,
    "\x00\x07\x1b[31m\x7f\x85",
    "line\u2028line\u2029line\r\nline",
    "\ud800 half a pair \udc00",
    "__proto__",
    "constructor",
    "%s %n {0} {name}",
    "\\u003cscript\\u003e \\x3cscript\\x3e \\",
    "[object Object](javascript:pwned())",
    "https://example.org/out.png",
    "",
    " ",
    "𝕏" * 200,
)
# 100,000 characters without a place to break.
LONG = "W" * 100_000
# What people or tokenizers write; the rest of a graph is numbers, names of kinds and ids.
TEXTS = ("text", "label", "word", "prompt", "name", "type", "message", "query", "model_name")
_PIECES = "<>\"'&`=/\\;:{}()[]$%#\n\r\t\0 \u202e\u2066\u200d\u2028ascriptonerrorsvg"


def some_payload(rng: random.Random) -> str:
    """One of the known ones, or a soup of what they are made of."""
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(PAYLOADS)
    if kind < 0.8:
        return "".join(rng.choice(PAYLOADS) for _ in range(2))
    return "".join(rng.choice(_PIECES) for _ in range(rng.randrange(60)))


def spoil(value: Any, rng: random.Random, key: str = "") -> Any:
    """The same data with hostile words in place of all of a person's or a tokenizer's."""
    if isinstance(value, dict):
        return {name: spoil(part, rng, name) for name, part in value.items()}
    if isinstance(value, list):
        return [spoil(part, rng, key) for part in value]
    return some_payload(rng) if isinstance(value, str) and key in TEXTS else value
