"""Rows of a split as batches on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx

from lora_nb.core.device import on_cuda
from lora_nb.core.targets import Picks, picks_of
from lora_nb.data.batches import BatchPlan, collate
from lora_nb.data.prepare import Prepared

__all__ = ["Split", "TokenBatch", "multiple_for"]


# On an NVIDIA GPU a new shape costs some tenths of a second, mostly for cuDNN's plans of its
# attention, of which MLX keeps 64 for the backward pass.
_CUDA_STEP = 16
_CUDA_STEPS = 16


def multiple_for(longest: int) -> int | None:
    """What the length of a batch is padded to a multiple of, None for the usual."""
    if not on_cuda():
        return None
    return max(_CUDA_STEP, (1 << max(longest, 1).bit_length() - 1) // _CUDA_STEPS)


@dataclass(frozen=True)
class TokenBatch:
    """A batch: tokens and trained targets [rows, length], their count, and where rows come from.

    `picks` says where the targets are, `split` and `numbers` which rows of the split these are;
    `parts` [rows, length] numbers the rows within packed sequences.
    """

    tokens: mx.array
    trained: mx.array
    count: int
    rows: Sequence[str]
    picks: Picks | None = None
    split: str = ""
    numbers: Sequence[int] = ()
    parts: mx.array | None = None


@dataclass(frozen=True)
class Split:
    """The encoded rows of a split and the plan of their batches."""

    prepared: Prepared
    plan: BatchPlan
    name: str = ""

    @classmethod
    def of(
        cls, prepared: Prepared, batch_size: int, seed: int, *, shuffle: bool, name: str = ""
    ) -> Split:
        """A split in batches of `batch_size` rows, in an order that follows from `seed` alone."""
        return cls(prepared, BatchPlan(prepared.lengths, batch_size, seed, shuffle=shuffle), name)

    def batch(self, step: int) -> TokenBatch:
        """The batch of a step, counted from 0 and going on over the epochs."""
        return self._of(self.plan.batch(step))

    def part(self, step: int, start: int, stop: int) -> TokenBatch:
        """Some rows of a step's batch as a batch of their own."""
        return self._of(self.plan.batch(step)[start:stop])

    def _of(self, numbers: list[int]) -> TokenBatch:
        rows = [self.prepared.encoded[number] for number in numbers]
        batch = collate(rows, multiple_for(max(len(row.ids) for row in rows)))
        return TokenBatch(
            mx.array(batch.tokens),
            mx.array(batch.trained),
            int(batch.trained[:, 1:].sum()),
            [self.prepared.where[number] for number in numbers],
            picks_of(batch.trained),
            self.name,
            numbers,
            None if batch.parts is None else mx.array(batch.parts),
        )
