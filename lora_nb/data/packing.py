"""Several short rows in one sequence, so that less of a batch is padding."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lora_nb.data.prepare import Prepared
from lora_nb.data.tokens import Encoded

__all__ = ["bins_of", "pack"]

_SHOWN = 4


def pack(prepared: Prepared, limit: int, seed: int) -> Prepared:
    """The same rows, several to a sequence of at most `limit` tokens.

    `parts` of a sequence numbers the rows in it. The first token of a row is never a target, so
    nothing is learnt from one row about the next. Follows from the lengths and the seed alone.
    """
    bins = bins_of(prepared.lengths, limit, seed)
    return dataclasses.replace(
        prepared,
        encoded=[_joined([prepared.encoded[number] for number in rows]) for rows in bins],
        where=[_places([prepared.where[number] for number in rows]) for rows in bins],
        row=[prepared.row[rows[0]] for rows in bins],
    )


def bins_of(lengths: Sequence[int], limit: int, seed: int) -> list[list[int]]:
    """Numbers of the rows that go together: the longest first, each where it fits best.

    How many bins there are follows from the lengths alone; the seed decides among equal ones.
    """
    sizes = np.asarray(lengths, np.int64)
    bits = np.random.PCG64(np.random.SeedSequence([seed, len(sizes)]))
    order = np.lexsort((bits.random_raw(len(sizes)), -sizes))
    bins: list[list[int]] = []
    # Bins by the room that is left in them, and a bit for every room that some bin has.
    by_room: defaultdict[int, list[int]] = defaultdict(list)
    rooms = 0
    for number in order.tolist():
        size = int(sizes[number])
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            place = by_room[room].pop()
            if not by_room[room]:
                rooms &= ~(1 << room)
        else:
            place, room = len(bins), max(limit, size)
            bins.append([])
        bins[place].append(number)
        left = room - size
        if left:
            by_room[left].append(place)
            rooms |= 1 << left
    return bins


def _joined(rows: list[Encoded]) -> Encoded:
    parts: list[NDArray[np.int32]] = [
        np.full(len(row), number, np.int32) for number, row in enumerate(rows)
    ]
    return Encoded(
        np.concatenate([row.ids for row in rows]),
        np.concatenate([row.trained for row in rows]),
        rows[0].kind,
        sum(row.cut for row in rows),
        np.concatenate(parts),
    )


def _places(places: list[str]) -> str:
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return ", ".join(places[:_SHOWN]) + more
