"""Writes visit_widget/model/families.json and docs/families.md: which families of models are traced
exactly; then whether what is found in them depends on the draw of their weights. `make families`
runs it; do so after changing how models are understood, and commit both.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
DATA = ROOT / "visit_widget" / "model" / "families.json"
PAGE = ROOT / "docs" / "families.md"


def main() -> int:
    """Sweeps all families and writes both files; 1 if any is neither exact nor refused, or found
    otherwise in another draw.
    """
    import torch
    import transformers

    from tests.families.draws import every_draw, problem
    from tests.families.page import render
    from tests.families.sweep import FAMILIES, VARIANTS, examine

    torch.set_num_threads(1)
    found = {}
    for name in (*FAMILIES, *VARIANTS):
        found[name] = examine(name)
        print(f"{name}: {found[name].status} {found[name].note}".rstrip(), flush=True)
    data: dict[str, Any] = {
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "families": {name: found[name].recorded for name in FAMILIES},
        "variants": {name: {"of": VARIANTS[name][0], **found[name].recorded} for name in VARIANTS},
    }
    DATA.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(render(data), encoding="utf-8")
    broken = [name for name, finding in found.items() if finding.status == "broken"]
    print(dict(Counter(finding.status for finding in found.values())))
    print("broken:", ", ".join(broken) or "none")
    draws = list(every_draw(name for name in found if found[name].status == "exact"))
    mistaken = [said for draw in draws if (said := problem(draw))]
    print(*mistaken, sep="\n")
    print(f"{len(draws) - len(mistaken)} of {len(draws)} draws found as they should be")
    return 1 if broken or mistaken else 0


if __name__ == "__main__":
    sys.exit(main())
