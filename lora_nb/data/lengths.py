"""Many lengths as a count of each: small enough to keep, exact enough for every question."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

__all__ = ["Lengths"]


@dataclass(frozen=True)
class Lengths:
    """How often each length occurs, the shortest first."""

    counts: tuple[tuple[int, int], ...] = ()
    """(length, how often)"""

    @classmethod
    def of(cls, lengths: Iterable[int]) -> Lengths:
        """The counts of these lengths."""
        return cls(tuple(sorted(Counter(lengths).items())))

    def __len__(self) -> int:
        return sum(count for _, count in self.counts)

    def __bool__(self) -> bool:
        return bool(self.counts)

    @property
    def total(self) -> int:
        """All lengths together."""
        return sum(length * count for length, count in self.counts)

    def quantile(self, share: float) -> int:
        """The smallest length that `share` of all (0 to 1) do not exceed; 0 if there are none."""
        wanted = max(1, math.ceil(share * len(self)))
        upto = accumulate(count for _, count in self.counts)
        return next(
            (n for (n, _), seen in zip(self.counts, upto, strict=True) if seen >= wanted), 0
        )

    def above(self, limit: int) -> int:
        """How many are longer than `limit`."""
        return sum(count for length, count in self.counts if length > limit)
