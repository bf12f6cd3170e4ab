"""Many small trained arrays as one, so that an update is a few operations in place of thousands.

A LoRA of 16 blocks has 224 matrices. Dividing, measuring, guarding and applying each one's
gradient by itself starts some thousand kernels a step, none of which has much to do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import mlx.core as mx
import mlx.optimizers as optim
from mlx.utils import tree_unflatten

from lora_nb.core.trees import Weights, filled, flat

__all__ = ["JOINED", "Layout", "layout_of"]

JOINED = "joined"
"""The name of the one array in trees of weights, gradients and optimizer states."""

# They treat each number by itself, whichever array it lies in.
_ELEMENTWISE = (optim.SGD, optim.Adam, optim.AdamW)
# Numbers an array, on average. Above that, joining gradients costs more than it saves.
_SMALL = 1 << 20


@dataclass(frozen=True)
class _Part:
    """Where an array lies among all, and whether it is handed out as bfloat16."""

    name: str
    shape: tuple[int, ...]
    start: int
    half: bool

    def of(self, whole: mx.array) -> mx.array:
        """This array in the one of all."""
        return whole[self.start : self.start + math.prod(self.shape)].reshape(self.shape)


@dataclass(frozen=True)
class Layout:
    """How arrays lie in one float32 vector. Without parts, each stays by itself."""

    parts: tuple[_Part, ...] = ()

    def join(self, tree: Any) -> Any:
        """The tree's arrays in one vector, as the tree's only array.

        Without parts the tree comes without its empty branches: blocks that are frozen have some,
        until they are let go.
        """
        arrays = flat(tree)
        if not self.parts:
            return tree_unflatten(list(arrays.items()))
        kinds = ([arrays[p.name] for p in self.parts if p.half is half] for half in (True, False))
        pieces = [
            mx.concatenate([array.reshape(-1) for array in kind]).astype(mx.float32)
            for kind in kinds
            if kind
        ]
        return {JOINED: pieces[0] if len(pieces) == 1 else mx.concatenate(pieces)}

    def split(self, tree: Any, *, half: bool = False) -> Any:
        """The opposite of `join`; with `half`, bfloat16 ones for those that products want so."""
        if not self.parts:
            return tree
        whole = tree[JOINED]
        cast = whole.astype(mx.bfloat16) if half else whole
        return tree_unflatten([(p.name, p.of(cast if p.half else whole)) for p in self.parts])

    def split_state(self, state: Any) -> Weights:
        """An optimizer's state by names: those of the arrays, and behind them its own."""
        if not self.parts:
            return flat(state)
        own = {name: value for name, value in state.items() if name != JOINED}
        parts = ((key, whole, p) for key, whole in state[JOINED].items() for p in self.parts)
        return own | {f"{p.name}.{key}": p.of(whole) for key, whole, p in parts}

    def join_state(self, state: Any, arrays: Mapping[str, mx.array]) -> Any:
        """The state of an optimizer like `state`, with arrays that `split_state` has given."""
        if not self.parts:
            return filled(state, arrays)
        own = {name: arrays[name] for name in state if name != JOINED}
        joined = {
            key: mx.concatenate([arrays[f"{p.name}.{key}"].reshape(-1) for p in self.parts])
            for key in state[JOINED]
        }
        return own | {JOINED: joined}


def layout_of(trained: Any, optimizer: optim.Optimizer, halves: set[str]) -> Layout:
    """The layout of a model's trained arrays, those named in `halves` to be used as bfloat16."""
    arrays = flat(trained)
    sizes = {name: array.size for name, array in arrays.items()}
    small = sum(sizes.values()) <= _SMALL * len(sizes)
    plain = all(array.dtype == mx.float32 for array in arrays.values())
    if type(optimizer) not in _ELEMENTWISE or not (small and plain):
        return Layout()
    # Those of one type side by side, so that each type is joined and cast as a whole.
    names = sorted(arrays, key=lambda name: name not in halves)
    ends = accumulate(sizes[name] for name in names)
    return Layout(
        tuple(
            _Part(name, arrays[name].shape, end - sizes[name], name in halves)
            for name, end in zip(names, ends, strict=True)
        )
    )
