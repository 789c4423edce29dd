"""The audit and the independent paths can fail: an anatomy that is wrong in one place is found out,
and the identity that it breaks is the one that is named.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

import visit_widget as vw
from tests.families import independent
from tests.families.configs import PROMPT, VARIANTS, build
from tests.families.sweep import quiet
from tests.tiny import float64_throughout
from visit_widget.model import Anatomy, anatomy_of

Change = Callable[[Anatomy], Anatomy]
STREAM = "mid = pre + attention, post = mid + MLP"
ATTENTION = "attention = Σ heads + bias"
MLP = "MLP = Σ neurons + bias"
QUERY, KEY = "query direction · x + c = score", "key direction · x + c = score"
PARTS, LENS = "Σ logit parts = logit", "lens of the last stream = logits"
REFUSED = "refused"


def block(**changes: Any) -> Change:
    """Block 1 with parts changed; a string names a part of block 2 that takes their place."""

    def change(anatomy: Anatomy) -> Anatomy:
        one, two = anatomy.blocks[1:3]
        new = {k: getattr(two, v) if isinstance(v, str) else v for k, v in changes.items()}
        return replace(anatomy, blocks=(anatomy.blocks[0], replace(one, **new), two))

    return change


def join(half: str, **changes: Any) -> Change:
    """Block 1 with another join of attention or MLP."""
    return lambda a: block(**{half: replace(getattr(a.blocks[1], half), **changes)})(a)


def mixerless(anatomy: Anatomy) -> Anatomy:
    first, *others = anatomy.blocks
    return replace(anatomy, blocks=(replace(first, mixer=None), *others))


def swapped_norms(anatomy: Anatomy) -> Anatomy:
    part = anatomy.blocks[1]
    return block(attention_norm=part.mlp_norm, mlp_norm=part.attention_norm)(anatomy)


def swapped_blocks(anatomy: Anatomy) -> Anatomy:
    one, two, *others = anatomy.blocks
    return replace(anatomy, blocks=(two, one, *others))


# What is wrong: the family, the change, and the identities that break; or that it is refused.
CASES: dict[str, tuple[str, Change, set[str]]] = {
    "attention norm of another layer": ("llama", block(attention_norm="attention_norm"), {REFUSED}),
    "attention of another layer": ("llama", block(attention="attention"), {REFUSED}),
    "norms swapped": ("llama", swapped_norms, {REFUSED}),
    "MLP norm of another layer": ("llama", block(mlp_norm="mlp_norm"), {STREAM, MLP, PARTS}),
    "no MLP norm": ("llama", block(mlp_norm=None), {STREAM}),
    "no MLP": ("llama", block(mlp=None, mlp_norm=None), {STREAM, PARTS}),
    "output projection of another layer": (
        "llama", block(output_projection="output_projection"), {STREAM, ATTENTION, PARTS},
    ),
    "down projection of another layer": (
        "llama", block(down_projection="down_projection"), {REFUSED},
    ),
    "blocks swapped": ("gpt2", swapped_blocks, {STREAM, PARTS}),
    "parallel": ("llama", block(parallel=True), {STREAM}),
    "not parallel": ("gptj", block(parallel=False), {STREAM}),
    "no norms inside attention": ("qwen3", block(inner_norms=()), {QUERY, KEY}),
    "no gate on the heads": ("afmoe", block(gated_heads=False), {STREAM, ATTENTION, PARTS}),
    "no norm of the heads": ("bitnet", block(heads_norm=None), {STREAM, ATTENTION, PARTS}),
    "no scale on the attention's input": (
        "falcon_h1", block(attention_input_scale=1.0), {REFUSED},
    ),
    "no mixer": ("jamba", mixerless, {STREAM, PARTS}),
    "no mixer beside attention": ("falcon_h1", block(mixer=None), {STREAM, PARTS}),
    "no scale on the mixer": ("falcon_h1", block(mixer_scale=1.0), {STREAM, PARTS}),
    "mixer in the MLP's place": ("falcon_h1", block(mixer_late=True), {STREAM}),
    "no post-norm of attention": (
        "gemma2", join("attention_join", post_norm=None), {STREAM, PARTS},
    ),
    "no post-norm of the MLP": ("gemma2", join("mlp_join", post_norm=None), {STREAM, PARTS}),
    "no scale of attention": ("granite", join("attention_join", scale=1.0), {STREAM, PARTS}),
    "no scale of the MLP": ("granite", join("mlp_join", scale=1.0), {STREAM, PARTS}),
    "no scale of the stream": (
        "minimax", join("attention_join", carry=1.0), {STREAM, ATTENTION, PARTS},
    ),
    "no norm of the carried stream": (
        "bloom-post-ln-residual", join("attention_join", carry_norm=None),
        {STREAM, ATTENTION, PARTS},
    ),
    "no norm of the sum after attention": (
        "bart", join("attention_join", stream_norm=None), {STREAM, PARTS},
    ),
    "no norm of the sum after the MLP": (
        "bart", join("mlp_join", stream_norm=None), {STREAM, PARTS},
    ),
    "final norm of a block": (
        "llama", lambda a: replace(a, final_norm=a.blocks[0].mlp_norm), {PARTS, LENS},
    ),
    "no final norm": ("llama", lambda a: replace(a, final_norm=None), {PARTS, LENS}),
    "no scale after the final norm": (
        "minicpm3", lambda a: replace(a, head_scale=1.0), {PARTS, LENS},
    ),
    "no scale of the logits": ("cohere", lambda a: replace(a, logit_scale=1.0), {PARTS, LENS}),
    "another scale of the logits": (
        "granite", lambda a: replace(a, logit_scale=2.0), {PARTS, LENS},
    ),
    "no softcap": ("gemma2", lambda a: replace(a, softcap=None), {PARTS, LENS}),
    "another softcap": ("gemma2", lambda a: replace(a, softcap=7.0), {PARTS, LENS}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _wide() -> Iterator[None]:
    with quiet(), float64_throughout():
        yield


def model_of(name: str) -> Any:
    family, changes = VARIANTS.get(name, (name, {}))
    return build(family, **changes)


def broken(audit: vw.Audit) -> set[str]:
    return {name for name, error in audit.errors.items() if error > audit.tolerance_for(name)}


@pytest.mark.parametrize(
    ("family", "change", "identities"),
    [pytest.param(*case, id=name) for name, case in CASES.items()],
)
def test_a_wrong_anatomy_is_found_out(family, change, identities):
    model = model_of(family)
    anatomy = anatomy_of(model)
    wrong = change(anatomy)
    assert wrong != anatomy
    if identities == {REFUSED}:
        with pytest.raises(vw.VisitError):
            vw.trace(model, None, PROMPT, anatomy=wrong).audit()
        return
    audit = vw.trace(model, None, PROMPT, anatomy=wrong).audit()
    assert not audit.exact
    assert audit.verdict.startswith("NOT exact")
    assert identities <= broken(audit)
    assert broken(vw.trace(model, None, PROMPT).audit()) == set()


@contextmanager
def transposed(model: Any, name: str) -> Iterator[None]:
    """The model with a square projection of layer 1 transposed."""
    weight = getattr(model.model.layers[1].self_attn, name).weight
    assert weight.shape[0] == weight.shape[1]
    try:
        weight.data = weight.data.T.contiguous()
        yield
    finally:
        weight.data = weight.data.T.contiguous()


@pytest.mark.parametrize(
    ("projection", "derive", "identity"),
    [("k_proj", "query_directions", QUERY), ("q_proj", "key_directions", KEY)],
)
def test_a_direction_by_a_transposed_weight_is_found_out(monkeypatch, projection, derive, identity):
    model = build("llama", num_key_value_heads=4, head_dim=8)
    trace = vw.trace(model, None, PROMPT)
    assert trace.audit().exact
    module = sys.modules["visit_widget.trace.audit"]
    right = getattr(module, derive)

    def wrong(*args: Any) -> Any:
        with transposed(model, projection):
            return right(*args)

    monkeypatch.setattr(module, derive, wrong)
    try:
        audit = trace.audit()
    except vw.VisitError:  # found out on the way
        return
    assert broken(audit) == {identity}
    assert audit.worst[identity] == 1


def test_another_model_than_the_traced_one_is_found_out():
    model = build("llama")
    trace = vw.trace(model, None, PROMPT)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight *= 1.01
    assert STREAM in broken(trace.audit())


# The independent paths see what is wrong as well, each what it is about.


@pytest.mark.parametrize(
    ("path", "family", "change"),
    [
        (independent.heads, "llama", block(output_projection="output_projection")),
        (independent.heads, "gemma2", join("attention_join", post_norm=None)),
        (independent.heads, "bart", join("attention_join", stream_norm=None)),
        (independent.heads, "granite", join("attention_join", scale=1.0)),
        (independent.heads, "llama", block(parallel=True)),
        (independent.neurons, "llama", block(mlp_norm="mlp_norm")),
        (independent.neurons, "olmo2", join("mlp_join", post_norm=None)),
        (independent.neurons, "mixtral", join("mlp_join", scale=1.1)),
        (independent.mixers, "falcon_h1", block(mixer_scale=1.0)),
    ],
)
def test_the_ablations_see_it(path, family, change):
    model = build(family)
    right, wrong = anatomy_of(model), change(anatomy_of(model))
    errors = []
    for anatomy in (right, wrong):
        trace = vw.trace(model, None, PROMPT, anatomy=anatomy)
        errors.append(path(independent.Bench(model, trace, 3), 1))
    assert errors[0] < 1e-9
    assert errors[1] > 1e-3


@pytest.mark.parametrize(
    ("family", "changes"),
    [("cohere", {"logit_scale": 1.0}), ("gemma2", {"softcap": None}), ("gemma2", {"softcap": 7.0})],
)
def test_the_logits_see_it(family, changes):
    model = build(family)
    wrong = replace(anatomy_of(model), **changes)
    trace = vw.trace(model, None, PROMPT, anatomy=wrong)
    assert independent.said(model, vw.trace(model, None, PROMPT), -1) < 1e-9
    assert independent.said(model, trace, -1) > 1e-2
    if "logit_scale" in changes:
        assert independent.logits(model, trace, -1) > 1e-2


def test_the_rows_see_it():
    model, other = build("llama"), build("llama", seed=1, implementation="eager")
    assert independent.rows(other, vw.trace(model, None, PROMPT), -1) > 0.1
