"""Where the activations of a trunk are kept: in the device's memory or in a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import mlx.core as mx
import numpy as np

__all__ = ["DiskStore", "MemoryStore", "Store", "take_room"]


class Store(Protocol):
    """The activations of the rows of a split, each [length - 1, width]."""

    @property
    def is_complete(self) -> bool:
        """Whether every row is there."""
        ...

    def has(self, rows: Sequence[int]) -> bool:
        """Whether these rows are there."""
        ...

    def put(self, rows: Sequence[int], hidden: mx.array) -> None:
        """Keep the rows of a batch, given padded as [rows, length, width]."""
        ...

    def take(self, rows: Sequence[int], length: int) -> mx.array:
        """A batch of rows, padded to [rows, length, width]."""
        ...

    def close(self) -> None:
        """Let them go."""
        ...


class MemoryStore:
    """In the device's memory: single rows at first, one array once all are there."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = np.asarray(lengths, np.int64) - 1
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)[:-1]])
        self._rows: dict[int, mx.array] = {}
        self._pool: mx.array | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every row is there."""
        return self._pool is not None

    def has(self, rows: Sequence[int]) -> bool:
        """Whether these rows are there."""
        return self._pool is not None or all(row in self._rows for row in rows)

    def put(self, rows: Sequence[int], hidden: mx.array) -> None:
        """Keep the rows of a batch."""
        parts = {
            row: mx.contiguous(hidden[place, : int(self._lengths[row])])
            for place, row in enumerate(rows)
        }
        # A lazy slice would keep the whole batch alive.
        mx.async_eval(list(parts.values()))
        self._rows |= parts
        if len(self._rows) == len(self._lengths):
            self._pool = mx.concatenate([self._rows[row] for row in range(len(self._lengths))])
            mx.eval(self._pool)
            self._rows.clear()

    def take(self, rows: Sequence[int], length: int) -> mx.array:
        """A batch of rows."""
        if self._pool is None:
            return mx.stack([_fitted(self._rows[row], length) for row in rows])
        places = np.zeros((len(rows), length), np.int64)
        for place, row in enumerate(rows):
            count = min(length, int(self._lengths[row]))
            places[place, :count] = np.arange(count) + self._starts[row]
        return self._pool[mx.array(places)]

    def close(self) -> None:
        """Let the memory go."""
        self._rows.clear()
        self._pool = None


def _fitted(row: mx.array, length: int) -> mx.array:
    row = row[:length]
    return mx.pad(row, [(0, length - row.shape[0]), (0, 0)])


_PIECE = 1 << 24

# NumPy has no bfloat16; its bits travel as integers.
_AS_BITS = {
    mx.bfloat16: (np.dtype(np.uint16), mx.uint16),
    mx.float16: (np.dtype(np.uint16), mx.uint16),
}


def take_room(path: Path, size: int) -> None:
    """Make a file of so many bytes that the disk has room for. Raises OSError.

    Where a file has holes, writing to its mapping on a full disk ends the process by SIGBUS.
    """
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
            return
        for start in range(0, size, _PIECE):
            file.write(bytes(min(_PIECE, size - start)))


class DiskStore:
    """In a file that the system maps into memory as it is needed."""

    def __init__(self, lengths: Sequence[int], path: Path) -> None:
        self._lengths = np.asarray(lengths, np.int64) - 1
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)])
        self._there = np.zeros(len(lengths), np.bool_)
        self._path = path
        self._dtype: mx.Dtype = mx.float32
        self._file: np.memmap[tuple[int, int], np.dtype[np.generic]] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every row is there."""
        return bool(self._there.all())

    def has(self, rows: Sequence[int]) -> bool:
        """Whether these rows are there."""
        return bool(self._there[list(rows)].all())

    def put(self, rows: Sequence[int], hidden: mx.array) -> None:
        """Keep the rows of a batch."""
        file = self._opened(hidden)
        bits = np.array(
            hidden.view(_AS_BITS[self._dtype][1]) if self._dtype in _AS_BITS else hidden
        )
        for place, row in enumerate(rows):
            start, stop = self._starts[row], self._starts[row + 1]
            file[start:stop] = bits[place, : stop - start]
        self._there[list(rows)] = True

    def take(self, rows: Sequence[int], length: int) -> mx.array:
        """A batch of rows."""
        assert self._file is not None
        batch = np.zeros((len(rows), length, self._file.shape[1]), self._file.dtype)
        for place, row in enumerate(rows):
            count = min(length, int(self._lengths[row]))
            start = self._starts[row]
            batch[place, :count] = self._file[start : start + count]
        hidden = mx.array(batch)
        return hidden.view(self._dtype) if self._dtype in _AS_BITS else hidden

    def _opened(self, hidden: mx.array) -> np.memmap[tuple[int, int], np.dtype[np.generic]]:
        if self._file is None:
            self._dtype = hidden.dtype
            kind = _AS_BITS[self._dtype][0] if self._dtype in _AS_BITS else np.dtype(np.float32)
            shape = (int(self._starts[-1]), hidden.shape[-1])
            try:
                take_room(self._path, shape[0] * shape[1] * kind.itemsize)
                self._file = np.memmap(self._path, kind, "r+", shape=shape)
            finally:
                # The name goes at once, the space when the process ends, however that happens.
                self._path.unlink(missing_ok=True)
        return self._file

    def close(self) -> None:
        """Let the file go."""
        self._file = None
        self._there[:] = False
