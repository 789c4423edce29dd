"""RASP programs compiled into transformers by tracr (Lindner et al. 2023, arXiv 2301.05062), as
arrays: `python compile_programs.py FILE`, in an environment that has tracr-pypi.

All are causal, and what they say at the last position is what they are asked for. Their tokens and
positions are the same, so that one stream can hold them all.
"""

from __future__ import annotations

import itertools
import random
import sys
from typing import Any

import numpy as np
from tracr.compiler import compiling, lib
from tracr.rasp import causal_eval, rasp

VOCABULARY = ("a", "b", "(", ")")
LENGTH = 6
N_EXAMPLES = 300
PROGRAMS = {
    "reverse": lib.make_reverse(rasp.tokens),
    "histogram": lib.make_hist(),
    "balance": lib.make_pair_balance(rasp.tokens, "(", ")"),
    "pattern": lib.detect_pattern(rasp.tokens, "ab"),
    "brackets": lib.make_shuffle_dyck(["()"]),
}


def arrays(program: Any) -> dict[str, Any]:
    """Weights, the names of the stream's dimensions, those that are read out, and examples."""
    model = compiling.compile_rasp_to_model(
        program, vocab=set(VOCABULARY), max_seq_len=LENGTH, causal=True, compiler_bos="BOS"
    )
    params = {k: {n: np.asarray(w) for n, w in own.items()} for k, own in model.params.items()}
    assert all(not w["b"].any() for w in params.values() if "b" in w)
    found = {
        "tokens": params["token_embed"]["embeddings"],
        "positions": params["pos_embed"]["embeddings"],
        "dimensions": np.array(model.residual_labels),
        "n_heads": np.array(model.model_config.num_heads),
    }
    names = {
        "query": "attn/query", "key": "attn/key", "value": "attn/value", "output": "attn/linear",
        "up": "mlp/linear_1", "down": "mlp/linear_2",
    }  # fmt: skip
    for name, place in names.items():
        rows = [params[f"transformer/layer_{n}/{place}"]["w"] for n in _layers(model)]
        found[name] = np.stack(rows)
    categorical = rasp.is_categorical(program)
    places = model.output_encoder.encoding_map if categorical else {}
    values = sorted(places, key=places.get)
    label = program.label
    found["answers"] = np.array([f"{label}:{v}" for v in values] if categorical else [label])
    assert set(found["answers"]) <= set(model.residual_labels)
    ids = {t: n for t, n in model.input_encoder.encoding_map.items() if t in VOCABULARY}
    prompts = list(itertools.product(VOCABULARY, repeat=LENGTH))
    random.Random(0).shuffle(prompts)
    prompts = prompts[:N_EXAMPLES]
    bos = model.input_encoder.encoding_map["BOS"]
    found["prompts"] = np.array([[bos, *(ids[t] for t in prompt)] for prompt in prompts])
    said = [causal_eval.evaluate(program, list(prompt))[-1] for prompt in prompts]
    if categorical:
        said = [places[value] for value in said]
    found["said"] = np.array(said, dtype=float)
    return found


def _layers(model: Any) -> range:
    return range(model.model_config.num_layers)


def main() -> None:
    found = {
        f"{name}/{key}": array
        for name, program in PROGRAMS.items()
        for key, array in arrays(program).items()
    }
    np.savez_compressed(sys.argv[1], **found)


if __name__ == "__main__":
    main()
