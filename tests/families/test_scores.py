"""Why a head looks there, for families of every make, in float64: pairs of parts sum to the score,
and the model's own attention weights move by what a part is said to add when it is doubled.

Doubling goes by plain hooks: a part, through the textbook formula of the attention's norm at the
scale that it had, is added to what the attention module reads; norms on queries and keys keep the
scale that they had. Of the package only names of modules are used for it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

import visit_widget as vw
from tests.families.configs import FLOAT32_ONLY, PROMPT, VARIANTS, build
from tests.families.independent import frozen
from tests.families.sweep import NAMES, TOLERANCE, quiet, widened
from tests.tiny import float64_throughout

RECORDED: dict[str, Any] = json.loads(
    (Path(vw.__file__).parent / "model" / "families.json").read_text("utf-8")
)
KNOWN: dict[str, Any] = {**RECORDED["families"], **RECORDED["variants"]}
EXACT = [name for name in NAMES if KNOWN.get(name, {}).get("status") == "exact"]
pytestmark = pytest.mark.skipif(
    RECORDED["transformers"] != transformers.__version__,
    reason=f"the list is of transformers {RECORDED['transformers']}",
)

# Families whose norm before attention is no norm: why their scores are not split.
NOT_SPLIT = {"axk2": "is not a layer norm or an RMS norm"}
# Their own attention weights tell scores apart up to one number a head: no softcap, no clamp.
BY_WEIGHTS = (
    "llama", "gpt2", "gpt_neox", "gptj", "bloom", "opt", "phi", "gemma3_text", "qwen3", "olmo2",
    "openai-gpt", "granite", "mixtral", "deepseek_v2", "deepseek_v3", "gpt_oss",
    "glm4", "stablelm", "lfm2",
)  # fmt: skip


def made(name: str, dtype: torch.dtype = torch.float64, **more: Any) -> Any:
    family, changes = VARIANTS.get(name, (name, {}))
    with quiet():
        return build(family, dtype, **changes, **more)


@pytest.mark.parametrize("name", EXACT)
def test_pairs_of_parts_sum_to_the_score(name):
    dtype = torch.float32 if VARIANTS.get(name, (name,))[0] in FLOAT32_ONLY else torch.float64
    with widened(dtype):
        trace = vw.trace(made(name, dtype), None, PROMPT)
        for layer in filter(trace.attends, range(trace.n_layers)):
            scores = trace.attention_row(layer).scores
            head = len(scores) - 1
            seen = scores[head].isfinite().nonzero()[:, 0].tolist()
            if name in NOT_SPLIT:
                with pytest.raises(vw.VisitError, match=NOT_SPLIT[name]):
                    trace.score_parts(layer, head, seen[0])
                continue
            for source, by in ((seen[0], "part"), (seen[-1], "head")):
                found = trace.score_parts(layer, head, source, by=by)
                size = float(found.matrix.abs().sum())
                assert abs(float(found.matrix.sum()) - found.score) < TOLERANCE[dtype] * size
                assert found.score == float(scores[head, source])
                assert found.in_softmax is not None


def hidden_of(args: Any, kwargs: Any) -> Tensor:
    tensor: Tensor = args[0] if args and isinstance(args[0], Tensor) else kwargs["hidden_states"]
    return tensor


class Looking:
    """A model in eager attention, whose weights in one layer are looked at.

    Args:
        model: of some family.
        trace: names its modules.
        layer: from 0.
    """

    def __init__(self, model: Any, trace: vw.Trace, layer: int) -> None:
        self.model, self.part = model, trace.anatomy.blocks[layer]
        self.number = [n for n in range(trace.n_layers) if trace.attends(n)].index(layer)
        self.first, self.block = trace.anatomy.blocks[0].block, self.part.block
        # Of each norm of queries and keys, what each of its calls was given and gave.
        self.inner: dict[nn.Module, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        self.streams: dict[nn.Module, Tensor] = {}
        with ExitStack() as stack:
            for norm in self.part.inner_norms:
                stack.callback(norm.register_forward_hook(self._note_norm).remove)
            for block in (self.first, self.block):
                hook = block.register_forward_pre_hook(self._note_stream, with_kwargs=True)
                stack.callback(hook.remove)
            self.clean = self._log_weights()

    def _note_norm(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.inner[module].append((args[0].clone(), output.clone()))

    def _note_stream(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.streams[module] = hidden_of(args, kwargs)[0].clone()

    def _log_weights(self) -> Tensor:
        """(n_heads, T, T)."""
        with torch.no_grad():
            output = self.model(torch.tensor([PROMPT]), use_cache=False, output_attentions=True)
        given = [a for a in output.attentions if a is not None]
        logged: Tensor = given[self.number][0, :, :, : len(PROMPT)].log()
        return logged

    def read(self, position: int, part: Tensor) -> Tensor:
        """What a part of the stream becomes in what the attention module reads."""
        norm, factor = self.part.attention_norm, self.part.attention_input_scale
        if norm is None:
            return part * factor
        return frozen(norm, self.streams[self.block][position], part) * factor

    def moved(self, added: dict[int, Tensor]) -> Tensor:
        """(n_heads, T, T) by how much logs of weights move when the attention module reads more."""
        with ExitStack() as stack:
            for norm in self.part.inner_norms:
                stack.enter_context(self._held(norm))

            def more(_: nn.Module, args: Any, kwargs: Any) -> Any:
                hidden = hidden_of(args, kwargs)
                changed = hidden.clone()
                for position, vector in added.items():
                    changed[0, position] += vector
                args = tuple(changed if a is hidden else a for a in args)
                return args, {k: changed if v is hidden else v for k, v in kwargs.items()}

            hook = self.part.attention.register_forward_pre_hook(more, with_kwargs=True)
            stack.callback(hook.remove)
            return self._log_weights() - self.clean

    @contextmanager
    def _held(self, norm: nn.Module) -> Iterator[None]:
        calls = iter(self.inner[norm])

        def hook(module: nn.Module, args: Any, _output: Tensor) -> Tensor:
            was, gave = next(calls)
            width = was.shape[-1]
            rows = zip(was.reshape(-1, width), (args[0] - was).reshape(-1, width), strict=True)
            # Called within the hook, the norm must not call the hook again.
            handle.remove()
            change = torch.stack([frozen(module, w, p) for w, p in rows])
            restore()
            return gave + change.view_as(gave)

        def restore() -> None:
            nonlocal handle
            handle = norm.register_forward_hook(hook)

        handle = norm.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()


@pytest.mark.parametrize("name", BY_WEIGHTS)
def test_the_models_own_weights_move_by_what_a_doubled_part_adds(name):
    """log(weight of one source) − log(weight of another) moves by the difference of what the part
    adds to both scores; doubled on both sides, by what the part's pairs with itself add besides.
    """
    with float64_throughout():
        model = made(name, implementation="eager")
        trace = vw.trace(model, None, PROMPT)
        layer = max(filter(trace.attends, range(trace.n_layers)))
        looking, position = Looking(model, trace, layer), len(PROMPT) - 1
        joins = [j for b in trace.anatomy.blocks for j in (b.attention_join, b.mlp_join)]
        # What is known without the package: the embedding, and all that is no constant.
        doubled = {"every part": looking.streams[looking.block]}
        if all(join.carries_as_is for join in joins):
            doubled["embed"] = looking.streams[looking.first]
        scores = trace.attention_row(layer, position).scores
        for head, (kind, vectors) in product({0, len(scores) - 1}, doubled.items()):
            seen = scores[head].isfinite().nonzero()[:, 0].tolist()
            other, source = seen[0], seen[-2]
            near, far = (trace.score_parts(layer, head, j, position) for j in (source, other))
            at_query = {position: looking.read(position, vectors[position])}
            at_key = {source: looking.read(source, vectors[source])}
            moved = [
                looking.moved(added)[head, position]
                for added in (at_query, at_key, at_query | at_key)
            ]
            asked, answered, both = (float(m[source] - m[other]) for m in moved)
            rows, columns = (
                torch.tensor([n == kind or (kind != "embed" and n != "constant") for n in names])
                for names in (near.query_parts, near.key_parts)
            )
            size = float(near.matrix.abs().sum() + far.matrix.abs().sum())
            gap = float(near.matrix[rows].sum() - far.matrix[rows].sum())
            assert abs(gap - asked) < 1e-9 * size, kind
            assert abs(float(near.matrix[:, columns].sum()) - answered) < 1e-9 * size, kind
            cells = float(near.matrix[rows][:, columns].sum())
            assert abs(cells - (both - asked - answered)) < 1e-9 * size, kind
            assert abs(asked) > 1e-6
            assert abs(answered) > 1e-6
