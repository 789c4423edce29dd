"""Imports the installed package, traces a tiny random model and saves a page: scripts/dist.sh runs
it in environments that have the wheel and what it asks for, nothing else.
"""

from __future__ import annotations

import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import visit_widget as vw

IDS = [3, 17, 42, 5]


def main() -> None:
    """Say with which versions it works, or fail."""
    names = ("torch", "transformers", "anywidget", "ipywidgets", "traitlets", "numpy")
    print(f"Python {platform.python_version()}", *(f"{n} {version(n)}" for n in names), sep=", ")
    assert version("visit-widget") == vw.__version__
    home = Path(vw.__file__).parent
    assert "site-packages" in home.parts, f"{home} is not what was installed"

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    trace = vw.trace(model, None, IDS)
    parts = trace.logit_parts(7)
    with torch.no_grad():
        logit = float(model(torch.tensor([IDS])).logits[0, -1, 7])
    assert abs(sum(parts.values()) - logit) < 1e-4, (sum(parts.values()), logit)
    audit = trace.audit()
    assert audit.exact, audit
    widget = vw.visit(model, None, IDS, layers=[1])
    with tempfile.TemporaryDirectory() as folder:
        page = widget.save_html(Path(folder, "flow.html"))
        shown = vw.show(page)
        assert shown.graph["position"] == len(IDS) - 1
        print(f"a trace whose parts sum to its logit, and a page of {page.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
