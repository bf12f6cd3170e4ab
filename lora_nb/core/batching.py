"""Rows of a split as batches on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx

from lora_nb.core.targets import Picks, picks_of
from lora_nb.data.batches import BatchPlan, collate
from lora_nb.data.prepare import Prepared

__all__ = ["Split", "TokenBatch"]


@dataclass(frozen=True)
class TokenBatch:
    """A batch: tokens and trained targets [rows, length], their count, and where rows come from.

    `picks` says where the targets are, `split` and `numbers` which rows of the split these are.
    """

    tokens: mx.array
    trained: mx.array
    count: int
    rows: Sequence[str]
    picks: Picks | None = None
    split: str = ""
    numbers: Sequence[int] = ()


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
        numbers = self.plan.batch(step)
        batch = collate([self.prepared.encoded[number] for number in numbers])
        return TokenBatch(
            mx.array(batch.tokens),
            mx.array(batch.trained),
            int(batch.trained[:, 1:].sum()),
            [self.prepared.where[number] for number in numbers],
            picks_of(batch.trained),
            self.name,
            numbers,
        )
