"""What the model says comes after each token of the prompt."""

from __future__ import annotations

from typing import Any

from ..lens import Lens
from ..trace import Trace

N_GUESSES = 3
# Positions whose logits are made together.
AT_ONCE = 64


def predictions(trace: Trace, lens: Lens) -> list[dict[str, Any]]:
    """For each position its likeliest next tokens ("top", best first), and how the prompt's own
    next token stands ("next"; None at the last position). No further pass of the model is taken.
    """
    streams, ids = trace.residual(trace.n_layers - 1), trace.input_ids.tolist()
    k = min(N_GUESSES, trace.n_vocab)
    rows: list[tuple[list[int], list[float], float, int]] = []
    for begin in range(0, len(trace), AT_ONCE):
        logits = lens.readout.logits(streams[begin : begin + AT_ONCE])
        log_total = logits.logsumexp(-1)
        best = logits.topk(k)
        top = (best.values - log_total[:, None]).exp()
        following = [*ids, 0][begin + 1 : begin + 1 + len(logits)]
        own = logits[range(len(logits)), following]
        ranks = (logits > own[:, None]).sum(-1) + 1
        rows += zip(
            best.indices.tolist(), top.tolist(), (own - log_total).exp().tolist(), ranks.tolist(),
            strict=True,
        )  # fmt: skip
    known = sorted({token for guesses, *_ in rows for token in guesses} | set(ids))
    texts = dict(zip(known, trace.texts(known), strict=True))
    found = []
    for position, (guesses, top_probabilities, probability, rank) in enumerate(rows):
        after = None
        if position + 1 < len(ids):
            token = ids[position + 1]
            after = {"id": token, "text": texts[token], "probability": probability, "rank": rank}
        top_tokens = [
            {"id": t, "text": texts[t], "probability": p}
            for t, p in zip(guesses, top_probabilities, strict=True)
        ]
        found.append({"position": position, "top": top_tokens, "next": after})
    return found
