"""Understanding one block from the numbers of a short pass.

The block's output is explained from its input and what its modules gave back: first what attention
(or another mixer of tokens) writes and how it joins the stream, then the MLP. A block that is not
explained to rounding is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .anatomy import Beside, BlockAnatomy, Chain
from .attention_call import AttentionCall
from .errors import UnsupportedModelError
from .find import (
    alone_the_same,
    called,
    idle,
    is_leaf,
    is_linear_like,
    is_norm_like,
    outermost,
    refuse,
    same,
)
from .joins import Join, scalar
from .loaded import weights_of
from .sums import Stream, Sum, explain
from .watch import Call, Watched
from .writers import find_layout


class BlockReader:
    """Reads the anatomy of one block.

    Args:
        seen: the watched pass.
        index: the block's number, for messages.
        block: the block.
        heard: its attention calls.
    """

    def __init__(
        self, seen: Watched, index: int, block: nn.Module, heard: Sequence[AttentionCall]
    ) -> None:
        self.seen, self.index, self.block = seen, index, block
        if len(heard) > 1:
            raise refuse(f"{self} attends {len(heard)} times; blocks that attend once are known.")
        self.heard = heard[0] if heard else None
        inside = set(block.modules())
        self.calls = [c for c in seen.calls if c.module in inside and c.module is not block]
        whole = called(seen, block, f"block {index}")
        assert whole.input is not None
        self.name, self.pre, self.post = whole.name, whole.input, whole.output
        if self.pre.ndim != 3 or self.pre.shape != self.post.shape:
            raise refuse(
                f"{self} maps {tuple(self.pre.shape)} to {tuple(self.post.shape)}: it carries "
                "something else than one stream."
            )
        within = set(self.heard.module.modules()) if self.heard else set()
        self.outside = [c for c in self.calls if c.module not in within]

    def __str__(self) -> str:
        return f"Block {self.index} ({type(self.block).__name__})"

    def read(self) -> BlockAnatomy:
        """The block's anatomy.

        Raises:
            UnsupportedModelError: naming what was not understood.
        """
        if self.heard is None:
            return self._without_attention()
        output = self._output_projection()
        known: dict[str, Any] = {
            "block": self.block,
            "attention": self.heard.module,
            "output_projection": output.module,
            "inner_norms": self._inner_norms(),
            **self._attention_input(),
            **self._before_projection(output),
        }
        norm = known.get("attention_norm")
        carried = self._carried([] if norm is None else [called(self.seen, norm, "a norm")])
        endings = self._endings(output)
        alone = [(ending,) for ending in endings]
        beside = [(e, c) for e in endings for c in self._companions(taken={output.module})]
        for groups in (alone, beside):
            first = explain(self._read_streams(), carried, groups, self.block)
            if first is not None:
                self._note_writers(known, first, output)
                return self._with_mlp(known, first)
        for groups in (alone, beside):
            only = explain(self._ends(), carried, groups, self.block)
            if only is not None and len(only.writers) == 1:
                self._note_writers(known, only, output)
                return BlockAnatomy(**known)
            if only is not None:
                return self._parallel(known, only, output)
        raise self._unexplained()

    def _unexplained(self) -> UnsupportedModelError:
        return refuse(
            f"{self} adds something to the stream that is neither its attention nor an MLP that "
            "was found."
        )

    def _note_writers(self, known: dict[str, Any], found: Sum, output: Call) -> None:
        """Keep how attention joins the stream, and what else wrote there."""
        writer = found.writers[0]
        post_norm = None if writer.module is output.module else writer.module
        known["attention_join"] = found.join(post_norm=post_norm)
        if len(found.writers) > 1:
            known.update(mixer=found.writers[1].module, mixer_scale=found.factors[1])

    # Attention.

    def _output_projection(self) -> Call:
        assert self.heard is not None
        heads = self.heard.output.reshape(1, self.pre.shape[1], -1)
        linear = [c for c in self.calls if is_linear_like(c.module)]
        found = outermost(linear, lambda c: same(c.input, heads))
        if found is not None:
            return found
        # A norm or a gate stands between: the last linear map in the attention module that takes
        # as many numbers as the heads have and gives the stream's width.
        inside = set(self.heard.module.modules())
        ends = [
            c
            for c in linear
            if c.module in inside
            and c.input is not None
            and c.input.numel() == heads.numel()
            and c.output.numel() == self.pre.numel()
        ]
        if not ends:
            raise refuse(
                f"The output projection of block {self.index} ({type(self.heard.module).__name__}) "
                "was not found."
            )
        return ends[-1]

    def _before_projection(self, output: Call) -> dict[str, Any]:
        """What is done to the heads before the output projection."""
        assert self.heard is not None
        heads = self.heard.output.reshape(1, self.pre.shape[1], -1)
        if same(output.input, heads):
            return {}
        norm = outermost(
            [c for c in self.calls if is_norm_like(c.module)],
            lambda c: same(c.input, heads) and same(c.output, output.input),
        )
        return {"gated_heads": True} if norm is None else {"heads_norm": norm.module}

    def _attention_input(self) -> dict[str, Any]:
        """The norm between the stream and the attention module, and a factor after it."""
        assert self.heard is not None
        attention = called(self.seen, self.heard.module, f"the attention of block {self.index}")
        readers = [c for c in self.outside if same(c.input, self.pre) and not idle(c)]
        found = outermost(readers, lambda c: any(same(c.output, x) for x in attention.inputs))
        if found is not None:
            return {"attention_norm": found.module}
        if any(same(self.pre, x) for x in attention.inputs):
            return {}
        for call in readers:
            for x in attention.inputs:
                scale = scalar(x, call.output, self.block)
                if scale is not None:
                    return {"attention_norm": call.module, "attention_input_scale": scale}
        raise refuse(f"The norm before the attention of block {self.index} was not found.")

    def _inner_norms(self) -> tuple[nn.Module, ...]:
        """Leaf modules inside attention that keep the shape and whose weights are one number for
        each place of it: norms of queries and keys.
        """
        assert self.heard is not None
        inside = set(self.heard.module.modules())

        def scales(c: Call) -> bool:
            shape = c.inputs[0].shape if len(c.inputs) == 1 else None
            if shape != c.output.shape or not is_leaf(c.module):
                return False
            return all(w.shape == shape[len(shape) - w.ndim :] for w in weights_of(c.module))

        found = (c.module for c in self.calls if c.module in inside and scales(c) and not idle(c))
        return tuple(dict.fromkeys(found))

    # The stream.

    def _carried(self, norms: Sequence[Call]) -> list[Stream]:
        """What may be carried past a sublayer: the stream, or what a norm made of it."""
        normed = [Stream(self.pre, c.module, c.output) for c in norms]
        return [Stream(self.pre), *(s for s in normed if s.value.shape == self.pre.shape)]

    def _endings(self, output: Call) -> list[Call]:
        """What a projection writes: as it is, and through a norm of it."""
        norms = [c for c in self.calls if is_norm_like(c.module) and not idle(c)]
        return [output, *(c for c in norms if same(c.input, output.output))]

    def _read_streams(self) -> list[Stream]:
        """Tensors that some module of the block reads."""
        found: list[Tensor] = []
        for c in self.outside:
            x = c.input
            if x is None or x.numel() != self.pre.numel() or not x.is_floating_point():
                continue
            if not any(same(x, known) for known in (self.pre, *found)):
                found.append(x.reshape(self.pre.shape))
        return [Stream(x) for x in found]

    def _normed(self, stream: Tensor) -> list[Stream]:
        """The stream as it is, and after each norm that reads it."""
        norms = [c for c in self.outside if is_norm_like(c.module) and not idle(c)]
        readers = [c for c in norms if same(c.input, stream)]
        normed = [Stream(stream, c.module, c.output.reshape(stream.shape)) for c in readers]
        return [Stream(stream), *normed]

    def _ends(self) -> list[Stream]:
        """What may have been the sum at the end of the block: its output, or what a last norm
        read.
        """
        ends = [Stream(self.post)]
        for c in self.outside:
            if is_norm_like(c.module) and same(c.output, self.post) and not idle(c):
                assert c.input is not None
                ends.append(Stream(c.input.reshape(self.post.shape), c.module, self.post))
        return ends

    def _companions(self, taken: set[nn.Module]) -> list[Call]:
        """Modules that may write beside another: the outermost ones that have the stream's
        width.
        """
        whole = [c for c in self.outside if c.output.numel() == self.pre.numel() and not idle(c)]
        depth = self.name.count(".") + 1
        return [c for c in whole if c.name.count(".") <= depth and c.module not in taken]

    # The MLP.

    def _with_mlp(self, known: dict[str, Any], first: Sum) -> BlockAnatomy:
        """The second half of a block whose MLP reads the stream after attention."""
        taken = {c.module for c in first.writers}
        late = [c for c in self.outside if c.module not in taken and not idle(c)]
        late = [c for c in late if c.output.numel() == self.pre.numel()]
        pairs = [(a, b) for b in late for a in self._companions({*taken, b.module})]
        for groups in ([(c,) for c in late], pairs):
            for end in self._ends():
                for mid in self._normed(first.stream.sum):
                    carried = [Stream(mid.value)]
                    second = explain([end], carried, groups, self.block)
                    if second is None:
                        continue
                    join: Join = known["attention_join"]
                    known["attention_join"] = replace(join, stream_norm=mid.norm)
                    return self._second(known, second, mid.value)
        raise self._unexplained()

    def _second(self, known: dict[str, Any], found: Sum, reads: Tensor) -> BlockAnatomy:
        """The MLP from what explains the second half."""
        writer = found.writers[-1]
        if len(found.writers) == 2:
            other = found.writers[0]
            if same(other.input, writer.input) and found.factors[0] == found.factors[1]:
                return self._finish(known, [other, writer], found.join(1), reads)
            if "mixer" in known:
                raise refuse(f"{self} has two parts beside its attention and MLP.")
            known.update(mixer=other.module, mixer_scale=found.factors[0], mixer_late=True)
        return self._finish(known, [writer], found.join(len(found.writers) - 1), reads)

    def _parallel(self, known: dict[str, Any], found: Sum, output: Call) -> BlockAnatomy:
        """A block whose MLP reads the stream before it."""
        if found.stream.norm is not None:
            raise refuse(f"{self} norms the sum of attention, MLP and stream.")
        writer = found.writers[0]
        post_norm = None if writer.module is output.module else writer.module
        known.update(attention_join=found.join(post_norm=post_norm), parallel=True)
        return self._finish(known, [found.writers[1]], Join(scale=found.factors[1]), self.pre)

    def _finish(
        self, known: dict[str, Any], writers: list[Call], join: Join, reads: Tensor
    ) -> BlockAnatomy:
        """Look into the MLP whose output is what the writers gave, or what the writer norms."""
        writer = writers[-1]
        if is_norm_like(writer.module):
            join = replace(join, post_norm=writer.module)
            writer = self._normed_by(writer)
            writers = [writer]
        mlp, entry = writer.module, writer
        if len(writers) > 1:
            mlp = Beside([c.module for c in writers])
        elif is_leaf(mlp) or is_linear_like(mlp):
            chain = self._chain(writer, reads)
            mlp, entry = Chain(*(c.module for c in chain)), chain[0]
        x = entry.input
        assert x is not None
        written = torch.stack([c.output.reshape(self.pre.shape) for c in writers]).sum(0)
        if not alone_the_same(mlp, x, written):
            raise refuse(
                f"What block {self.index} adds by {type(mlp).__name__} does not come from each "
                "position on its own, or needs more than the stream."
            )
        inside = set(mlp.modules()) - {mlp}
        down = outermost(
            [c for c in self.calls if c.module in inside and is_linear_like(c.module)],
            lambda c: same(c.output, written) and not idle(c),
        )
        layout = None
        if down is None:
            layout = find_layout(mlp, x.reshape(-1, x.shape[-1])[-1])
        return BlockAnatomy(
            **known,
            mlp=mlp,
            down_projection=None if down is None else down.module,
            mlp_norm=self._mlp_norm(x, reads, mlp),
            mlp_join=join,
            activation=None if down is None else self._activation(inside, down),
            writers=layout,
            d_mlp=down.inputs[0].shape[-1] if down is not None else layout.d_mlp if layout else 0,
        )

    def _normed_by(self, norm: Call) -> Call:
        """The module whose output a post-norm reads."""
        inner = outermost(
            [c for c in self.outside if not idle(c) and not is_norm_like(c.module)],
            lambda c: same(c.output, norm.input),
        )
        if inner is None:
            raise refuse(f"What {norm.name} norms in block {self.index} was not found.")
        return inner

    def _mlp_norm(self, x: Tensor, reads: Tensor, mlp: nn.Module) -> nn.Module | None:
        """The norm between the stream and the MLP."""
        if same(x, reads):
            return None
        readers = [c for c in self.outside if same(c.input, reads) and not idle(c)]
        found = outermost(readers, lambda c: same(c.output, x))
        if found is None:
            raise refuse(
                f"The MLP of block {self.index} ({type(mlp).__name__}) reads neither the stream "
                "nor a norm of it."
            )
        return found.module

    def _chain(self, last: Call, reads: Tensor) -> list[Call]:
        """The calls that lead from the stream to the last one, each reading what the one before
        gave.
        """
        chain = [last]
        while not same(chain[0].input, reads):
            used = {c.module for c in chain}
            before = [
                c
                for c in self.outside
                if same(c.output, chain[0].input) and not idle(c) and c.module not in used
            ]
            # The norm before the MLP is none of it.
            if not before or (is_norm_like(before[0].module) and same(before[0].input, reads)):
                break
            chain.insert(0, max(before, key=lambda c: c.name.count(".")))
        return chain

    def _activation(self, inside: set[nn.Module], down: Call) -> nn.Module | None:
        """The parameterless module of the MLP that acts neuron by neuron."""
        width = down.inputs[0].shape[-1]
        for call in self.calls:
            if call.module not in inside or call.input is None or idle(call):
                continue
            plain = is_leaf(call.module) and not any(True for _ in weights_of(call.module))
            if plain and call.input.shape[-1] == width == call.output.shape[-1]:
                return call.module
        return None

    # Blocks without attention.

    def _without_attention(self) -> BlockAnatomy:
        inner = [c for c in self.outside if not idle(c) and c.output.numel() == self.pre.numel()]
        norms = [c for c in inner if is_norm_like(c.module) and same(c.input, self.pre)]
        carried = self._carried(norms)
        groups = [(c,) for c in inner if c not in norms]
        known: dict[str, Any] = {"block": self.block}
        first = explain(self._read_streams(), carried, groups, self.block)
        if first is not None:
            known.update(mixer=first.writers[0].module, attention_join=first.join())
            return self._with_mlp(known, first)
        only = explain(self._ends(), carried, groups, self.block)
        if only is None:
            raise refuse(
                f"{self} does not attend, and what it adds to the stream is not the output of one "
                "of its modules."
            )
        try:
            return self._finish(known, list(only.writers), only.join(), self.pre)
        except UnsupportedModelError:
            mixer = only.writers[0].module
            return BlockAnatomy(self.block, mixer=mixer, attention_join=only.join())
