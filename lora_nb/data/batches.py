"""Which rows make a batch, and the arrays of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lora_nb.data.tokens import Encoded
from lora_nb.errors import LoraError

__all__ = ["Batch", "BatchPlan", "collate", "padded_length", "padding_waste"]

# Lengths that batches are dealt by differ from the true ones by this share and one token, so that
# epochs differ while rows of like length stay together.
_JITTER = 0.03
# Padded lengths are this many in each octave: every new shape costs a new graph.
_STEPS = 32


@dataclass(frozen=True)
class Batch:
    """Padded rows: `tokens` int32 [B, L], `trained` bool [B, L], `lengths` int32 [B].

    `parts` int32 [B, L] numbers the rows within packed sequences, -1 being padding.
    """

    tokens: NDArray[np.int32]
    trained: NDArray[np.bool_]
    lengths: NDArray[np.int32]
    parts: NDArray[np.int32] | None = None


class BatchPlan:
    """Rows of like length in one batch; every row once an epoch, the short tail batch too.

    `batch(step)` depends only on the lengths, the seed and the step, so that any step can be
    replayed. Only raw generator bits are used, which NumPy keeps the same across releases.
    Without `shuffle` the batches are in order of length, the same in every epoch.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, shuffle: bool = True
    ) -> None:
        if batch_size < 1:
            raise LoraError(f"A batch needs at least one row, not {batch_size}.")
        if seed < 0:
            raise LoraError(f"A seed is 0 or more, not {seed}.")
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self._lengths = np.asarray(lengths, np.int64).reshape(-1)
        self._epoch = -1
        self._batches: list[list[int]] = []

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch."""
        return -(-len(self._lengths) // self.batch_size)

    def batch(self, step: int) -> list[int]:
        """Row numbers of a step, counted from 0."""
        if not len(self._lengths):
            raise LoraError("There are no rows to make batches of.")
        if step < 0:
            raise LoraError(f"Steps are counted from 0, there is no step {step}.")
        epoch, place = divmod(step, self.per_epoch)
        if not self.shuffle:
            epoch = 0
        if epoch != self._epoch:
            self._batches = self._deal(epoch)
            self._epoch = epoch
        return list(self._batches[place])

    def spread(self, count: int) -> list[int]:
        """At most `count` steps of the first epoch at even distances; all for a negative count.

        In order of length the first few batches hold only the shortest rows: an evaluation
        of some batches takes these instead.
        """
        total = self.per_epoch
        if count < 0 or count >= total:
            return list(range(total))
        return [(2 * i + 1) * total // (2 * count) for i in range(count)]

    def _deal(self, epoch: int) -> list[list[int]]:
        rows = len(self._lengths)
        if not self.shuffle:
            order = np.argsort(self._lengths, kind="stable")
            return _cut(order, self.batch_size, self.per_epoch - 1)
        bits = np.random.PCG64(np.random.SeedSequence([self.seed, epoch]))
        ties = bits.random_raw(rows)
        noise = (bits.random_raw(rows) >> np.uint64(11)).astype(np.float64) / 2**53
        near = self._lengths * (1 + _JITTER * noise) + noise
        order = np.lexsort((ties, near))
        tail = int(bits.random_raw(1)[0] % np.uint64(self.per_epoch))
        batches = _cut(order, self.batch_size, tail)
        shuffled = np.argsort(bits.random_raw(len(batches)), kind="stable")
        return [batches[i] for i in shuffled.tolist()]


def _cut(order: NDArray[np.int64], size: int, tail: int) -> list[list[int]]:
    """Batches of `size` in order; the short one, if there is one, is number `tail`."""
    rows: list[int] = order.tolist()
    short = len(rows) % size
    if not short:
        return _chunks(rows, size)
    at = tail * size
    return [*_chunks(rows[:at], size), rows[at : at + short], *_chunks(rows[at + short :], size)]


def _chunks(rows: list[int], size: int) -> list[list[int]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def padded_length(longest: int, pad_to: int | None = None, limit: int | None = None) -> int:
    """One plus a multiple of `pad_to` that holds `longest` tokens, not over `limit`.

    A batch of L tokens gives the model L - 1 inputs, hence the one. Without `pad_to` the multiple
    grows with the length, so that at most a sixteenth is padding and there are few shapes.
    """
    pad_to = pad_to or max(2, (1 << max(longest, 1).bit_length() - 1) // _STEPS)
    length = 1 + pad_to * (-(-max(longest - 1, 1) // pad_to))
    return length if limit is None else max(longest, min(length, limit))


def collate(rows: Sequence[Encoded], pad_to: int | None = None, limit: int | None = None) -> Batch:
    """Rows side by side, padded with 0 on the right; padding is never trained.

    Inputs are `tokens[:, :-1]`, targets `tokens[:, 1:]` where `trained[:, 1:]`.
    """
    if not rows:
        raise LoraError("A batch needs at least one row.")
    lengths = np.array([len(row.ids) for row in rows], np.int32)
    shape = (len(rows), padded_length(int(lengths.max()), pad_to, limit))
    tokens = np.zeros(shape, np.int32)
    trained = np.zeros(shape, np.bool_)
    for place, row in enumerate(rows):
        tokens[place, : len(row.ids)] = row.ids
        trained[place, : len(row.ids)] = row.trained
    return Batch(tokens, trained, lengths, _parts(rows, shape))


def _parts(rows: Sequence[Encoded], shape: tuple[int, int]) -> NDArray[np.int32] | None:
    if all(row.parts is None for row in rows):
        return None
    parts = np.full(shape, -1, np.int32)
    for place, row in enumerate(rows):
        parts[place, : len(row.ids)] = 0 if row.parts is None else row.parts
    return parts


def padding_waste(lengths: Sequence[int], plan: BatchPlan) -> float:
    """Share of padding among all tokens of the plan's first epoch, 0 to below 1."""
    sizes = np.asarray(lengths, np.int64)
    if not len(sizes):
        return 0.0
    full = 0
    for step in range(plan.per_epoch):
        batch = sizes[plan.batch(step)]
        full += len(batch) * padded_length(int(batch.max()))
    return 1.0 - float(sizes.sum()) / full
