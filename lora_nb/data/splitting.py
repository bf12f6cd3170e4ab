"""Train, valid and test rows out of one set of rows, without a leak between them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np

from lora_nb.data.faults import RowError
from lora_nb.data.rows import Rows, combined
from lora_nb.errors import LoraError

__all__ = ["PickedRows", "split_rows"]

_NAMES = ("train", "valid", "test")


class PickedRows(Rows):
    """Some rows of others, under their own split's name, in their order.

    Places stay those of the source.
    """

    def __init__(self, rows: Rows, numbers: Sequence[int], name: str) -> None:
        self.name = name
        self._rows = rows
        self._numbers = np.asarray(numbers, np.int64)

    def __len__(self) -> int:
        return len(self._numbers)

    def row(self, index: int) -> dict[str, object]:
        """The row of the source that is number `index` here."""
        return self._rows.row(int(self._numbers[index]))

    def where(self, index: int) -> str:
        """Its place in the source."""
        return self._rows.where(int(self._numbers[index]))

    def find(self, text: str) -> Iterator[int]:
        """As the source finds them, which may be faster than looking into every row."""
        places = {number: index for index, number in enumerate(self._numbers.tolist())}
        return (places[number] for number in self._rows.find(text) if number in places)

    def fingerprint(self) -> str:
        """From that of the source, and which rows these are."""
        numbers = hashlib.sha256(self._numbers.tobytes()).hexdigest()
        return combined("picked", self._rows.fingerprint(), numbers)


def split_rows(rows: Rows, shares: Sequence[float], seed: int) -> dict[str, Rows]:
    """Rows dealt out by shares; equal rows always land in the same split.

    Which split a row lands in follows from its content and the seed, so that adding rows moves few
    others. Row order within a split is the source's. Broken rows go to train, where they are
    reported. Raises LoraError if there are too few different rows.
    """
    groups: dict[bytes, list[int]] = {}
    for number in range(len(rows)):
        groups.setdefault(_key(rows, number, seed), []).append(number)
    wanted = [share * len(rows) for share in shares]
    dealt: list[list[int]] = [[] for _ in shares]
    for key in sorted(groups):
        # The split that lacks most of its share takes the next group of equal rows.
        lacking = max(range(len(shares)), key=lambda n: wanted[n] - len(dealt[n]))
        dealt[0 if not key else lacking] += groups[key]
    empty = [_NAMES[n] for n, share in enumerate(shares) if share and not dealt[n]]
    if empty:
        raise LoraError(
            f"split: {len(groups)} different rows are too few for a {empty[0]} split of this size. "
            "Give it a larger share, or more rows."
        )
    return {
        _NAMES[n]: PickedRows(rows, sorted(numbers), _NAMES[n])
        for n, numbers in enumerate(dealt)
        if numbers
    }


def _key(rows: Rows, number: int, seed: int) -> bytes:
    """What rows are ordered by: a hash of the content; empty for a broken row."""
    try:
        text = json.dumps(rows.row(number), sort_keys=True, default=str)
    except RowError:
        return b""
    salt = seed.to_bytes(8, "little")
    return hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"), digest_size=16, salt=salt
    ).digest()
