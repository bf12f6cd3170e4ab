"""Which rows share a sequence."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lora_nb.data.batches import collate
from lora_nb.data.packing import bins_of, pack
from lora_nb.data.prepare import Prepared
from lora_nb.data.tokens import Encoded


def prepared(*lengths: int) -> Prepared:
    encoded = [
        Encoded(np.full(n, i, np.int32), np.arange(n) > 0, "text") for i, n in enumerate(lengths)
    ]
    return Prepared(encoded, [f"a:{i + 1}" for i in range(len(lengths))], list(range(len(lengths))))


@pytest.mark.parametrize("limit", [64, 100, 2048])
def test_every_row_is_in_one_sequence_that_holds_it(limit: int) -> None:
    random = np.random.default_rng(limit)
    lengths = random.integers(2, 65, 5000).tolist()
    bins = bins_of(lengths, limit, 0)
    assert sorted(number for rows in bins for number in rows) == list(range(5000))
    sizes = [sum(lengths[number] for number in rows) for rows in bins]
    assert max(sizes) <= limit
    # Decreasing first or best fit needs at most 11/9 of the fewest bins that there can be.
    assert len(bins) <= math.ceil(sum(lengths) / limit) * 11 / 9 + 1


def test_it_follows_from_the_seed_alone() -> None:
    lengths = [5, 5, 5, 7, 7, 3, 3, 3, 3] * 9
    assert bins_of(lengths, 12, 3) == bins_of(lengths, 12, 3)
    assert bins_of(lengths, 12, 3) != bins_of(lengths, 12, 4)
    assert len({len(bins_of(lengths, 12, seed)) for seed in range(5)}) == 1


def test_the_rows_of_a_sequence() -> None:
    packed = pack(prepared(3, 6, 2, 9), 9, 0)
    assert len(packed) == 3
    assert packed.where == ["a:4", "a:2, a:1", "a:3"]
    both = packed.encoded[1]
    assert both.ids.tolist() == [1] * 6 + [0] * 3
    assert both.parts is not None
    assert both.parts.tolist() == [0] * 6 + [1] * 3
    assert both.trained.tolist() == [False, *[True] * 5, False, True, True]
    batch = collate(packed.encoded, pad_to=10)
    assert batch.parts is not None
    assert batch.parts[1].tolist() == [0] * 6 + [1] * 3 + [-1] * 2
    assert batch.parts[2].tolist() == [0] * 2 + [-1] * 9
    assert collate(prepared(2, 3).encoded).parts is None


def test_many_places_are_shortened() -> None:
    assert pack(prepared(*[2] * 7), 100, 0).where[0].endswith(" and 3 more")
    assert len(pack(prepared(), 9, 0)) == 0
