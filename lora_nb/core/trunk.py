"""The frozen trunk: activations that enter the first trained block, kept from the first epoch.

With the last k of n blocks trained, everything below block n - k computes the same for a row in
every epoch. So it is computed once per row, and the blocks below are not needed any more.

No family's code is known here. Blocks are exchanged in the model's own list: one that records
what enters it, one that is handed what was recorded, and ones that do nothing. Whatever a family
does around its blocks (embedding scales, masks, norms, soft caps) stays as it is; what nobody
uses of it is never computed, since MLX computes lazily. Causal attention and right padding make
a row's activations independent of the other rows of its batch.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from lora_nb.core.batching import Split, TokenBatch
from lora_nb.core.trees import flat

__all__ = ["Mode", "Trunk", "bytes_needed", "first_trained"]

Mode = Literal["memory", "disk"]


def first_trained(model: nn.Module) -> int | None:
    """The number of the first block with something to train, or None.

    None as well if something outside of the blocks and below them is trained (the embedding), so
    that there is no frozen trunk.
    """
    blocks = [bool(flat(block.trainable_parameters())) for block in model.layers]
    if True not in blocks:
        return None
    inside = sum(weight.size for b in model.layers for weight in flat(b.trainable_parameters()).values())
    outside = {
        name
        for name in flat(model.trainable_parameters())
        if ".layers." not in f".{name}" and ".blocks." not in f".{name}"
    }
    total = sum(weight.size for weight in flat(model.trainable_parameters()).values())
    heads_only = all(name.startswith(("lm_head.", "model.norm.", "norm.")) for name in outside)
    if inside != total and not heads_only:
        return None
    return blocks.index(True)


def bytes_needed(splits: Sequence[Split], width: int, dtype: mx.Dtype) -> int:
    """Size of the activations of all rows of some splits."""
    rows = sum(len(row.ids) for split in splits for row in split.prepared.encoded)
    return int(rows * width * dtype.size)


class _Skip(nn.Module):
    """Takes the place of a block that is not needed; it hands on what it gets.

    Attributes that a model looks up on its blocks (such as `use_sliding`) are kept.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.__dict__.update(vars(block))

    def __call__(self, x: mx.array, *_: Any, **__: Any) -> mx.array:
        return x


class _Record(_Skip):
    """Keeps what enters a block."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__(block)
        self.__dict__["seen"] = None

    def __call__(self, x: mx.array, *_: Any, **__: Any) -> mx.array:
        self.__dict__["seen"] = x
        return x


class _Entry(nn.Module):
    """The first trained block, entered by recorded activations while there are any."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.__dict__.update(vars(block))
        self.__dict__["given"] = None

    def __call__(self, x: mx.array, *args: Any, **kwargs: Any) -> Any:
        given: mx.array | None = self.__dict__["given"]
        return self.block(x if given is None else given, *args, **kwargs)


class _Store(Protocol):
    """Where the activations of rows are kept."""

    def put(self, row: int, activations: mx.array) -> None: ...

    def take(self, rows: Sequence[int], length: int) -> mx.array: ...

    def finish(self) -> None: ...


@dataclass
class _Memory:
    """Activations in the device's memory: arrays of single rows, joined once all are there."""

    lengths: list[int]
    rows: dict[int, mx.array] = field(default_factory=dict)
    pool: mx.array | None = None

    def put(self, row: int, activations: mx.array) -> None:
        self.rows[row] = activations

    def finish(self) -> None:
        self.pool = mx.concatenate([self.rows[row] for row in range(len(self.lengths))])
        mx.eval(self.pool)
        self.rows.clear()
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])

    def take(self, rows: Sequence[int], length: int) -> mx.array:
        if self.pool is None:
            return mx.stack([_padded(self.rows[row], length) for row in rows])
        places = np.zeros((len(rows), length), np.int32)
        for place, row in enumerate(rows):
            count = min(length, self.lengths[row])
            places[place, :count] = np.arange(count) + self._starts[row]
        return self.pool[mx.array(places)]


def _padded(row: mx.array, length: int) -> mx.array:
    row = row[:length]
    return mx.pad(row, ((0, length - row.shape[0]), (0, 0)))
