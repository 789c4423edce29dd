"""Writes tests/fixtures from the demo model: the messages that both sides' tests read.

`make fixtures` runs it; do so after changing what the kernel sends, and commit the result.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import visit_widget as vw
from visit_widget.lens import lens_of
from visit_widget.widget.session import Session

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
PROMPT = "The capital of Japan is the city of"
LAYER = 23
LENSES = ["local", "logit", "calibrated", "jacobian"]
TRAITS = ["prompt", "focus", "target", "foil", "graph"]
TRAITS += ["expanded", "selection", "measure", "keep", "view", "pins", "filters", "display"]
TRAITS += ["lens", "lenses", "interventions", "against", "runs", "status"]
OVERVIEW = ["L23.pre", "L23.attn", "L23.mid", "L23.mlp", "L23.post"]
OVERVIEW += ["L20.mlp", "L28.mlp", "L29.post", "embed", "logits"]


def main() -> None:
    """Traces the prompt and writes one file a message."""
    model, tokenizer = vw.load_demo()
    trace = vw.trace(model, tokenizer, PROMPT)
    for name in LENSES:
        lens_of(name, trace, fit=True)
    # What else the user's cache holds must not be in the files.
    Session.lenses = lambda _: list(LENSES)
    widget = vw.visit(model, tokenizer, PROMPT, lens="logit")
    answers: list[dict[str, Any]] = []
    widget._desk.send = answers.append

    def ask(method: str, **params: Any) -> dict[str, Any]:
        request = {"kind": "visit-request", "id": method, "method": method, "params": params}
        widget._desk.receive(request)
        result: dict[str, Any] = answers[-1]["result"]
        return result

    block = ask("expand", layer=LAYER)
    details = ask("project", nodes=[n["id"] for n in block["nodes"]] + OVERVIEW)
    write("graph", widget.graph)
    write("traits", {name: getattr(widget, name) for name in TRAITS})
    write("expand", block)
    write("project", details)
    for method in ("audit", "routes", "attribution", "predictions"):
        write(method, ask(method, revision=widget.graph["revision"]))
    head = f"L{LAYER}.H4"
    found = {
        "sinks": ask("sinks"),
        "head_reads": ask("head_reads", head=head),
        "joint_embedding": ask("joint_embedding", head=head),
        "elsewhere": ask("elsewhere", part=head),
    }
    write("findings", found)


def write(name: str, message: dict[str, Any]) -> None:
    """Writes one message, compactly."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    (FIXTURES / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
