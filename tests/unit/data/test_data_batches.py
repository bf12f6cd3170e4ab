from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_nb.data.batches import BatchPlan, collate, padded_length, padding_waste
from lora_nb.data.tokens import Encoded
from lora_nb.errors import LoraError

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)


def epoch(plan: BatchPlan, number: int) -> list[list[int]]:
    return [plan.batch(number * plan.per_epoch + i) for i in range(plan.per_epoch)]


@given(LENGTHS, st.integers(1, 9), st.integers(0, 2**40), st.booleans(), st.integers(0, 5))
def test_every_row_once_an_epoch(
    lengths: list[int], size: int, seed: int, shuffle: bool, number: int
) -> None:
    plan = BatchPlan(lengths, size, seed, shuffle)
    batches = epoch(plan, number)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert plan.per_epoch == -(-len(lengths) // size)
    short = [len(batch) for batch in batches if len(batch) != size]
    assert short == ([len(lengths) % size] if len(lengths) % size else [])


@given(LENGTHS, st.integers(1, 9), st.integers(0, 99), st.lists(st.integers(0, 500), max_size=20))
def test_a_batch_depends_on_the_step_alone(
    lengths: list[int], size: int, seed: int, steps: list[int]
) -> None:
    one, other = BatchPlan(lengths, size, seed), BatchPlan(lengths, size, seed)
    forwards = {step: one.batch(step) for step in sorted(steps)}
    assert {step: other.batch(step) for step in sorted(steps, reverse=True)} == forwards


@given(LENGTHS, st.integers(1, 9), st.integers(0, 500))
def test_without_shuffle_the_order_is_by_length(lengths: list[int], size: int, step: int) -> None:
    plan = BatchPlan(lengths, size, seed=step, shuffle=False)
    order = [i for batch in epoch(plan, 0) for i in batch]
    assert order == sorted(range(len(lengths)), key=lambda i: lengths[i])
    assert plan.batch(step) == plan.batch(step % plan.per_epoch)


def test_epochs_and_seeds_differ() -> None:
    plan = BatchPlan([10] * 40, 4, seed=1)
    epochs = [epoch(plan, i) for i in range(4)] + [epoch(BatchPlan([10] * 40, 4, seed=2), 0)]
    as_sets = [{frozenset(batch) for batch in batches} for batches in epochs]
    assert all(a != b for i, a in enumerate(as_sets) for b in as_sets[:i])


def test_batches_themselves_differ_between_epochs_with_unlike_lengths() -> None:
    lengths = random.Random(0).choices(range(20, 400), k=400)
    plan = BatchPlan(lengths, 4, seed=0)
    first, second = ({frozenset(batch) for batch in epoch(plan, i)} for i in (0, 1))
    assert len(first & second) < len(first) / 10


def test_lengths_are_not_in_order_over_an_epoch() -> None:
    lengths = list(range(1, 401))
    plan = BatchPlan(lengths, 4, seed=0)
    means = [np.mean([lengths[i] for i in batch]) for batch in epoch(plan, 0)]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.3


@pytest.mark.parametrize("size", [4, 8])
def test_padding_stays_low(size: int) -> None:
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(5, 0.6, 4000), 10, 2048).astype(int).tolist()
    plan = BatchPlan(lengths, size, seed=0)
    waste = padding_waste(lengths, plan)
    best = padding_waste(lengths, BatchPlan(lengths, size, seed=0, shuffle=False))
    mixed = list(range(len(lengths)))
    random.Random(0).shuffle(mixed)
    full = sum(
        size * padded_length(max(lengths[i] for i in mixed[k : k + size]))
        for k in range(0, len(mixed), size)
    )
    assert best <= waste < 0.08
    assert waste < (1 - sum(lengths) / full) / 3


def test_frozen_order() -> None:
    """Resuming a run with a newer NumPy must find the same batches."""
    plan = BatchPlan([5, 9, 3, 200, 7, 40, 41, 8, 6], 2, seed=7)
    assert epoch(plan, 0) == FROZEN_0
    assert epoch(plan, 1) == FROZEN_1


FROZEN_0 = [[6, 3], [4, 7], [0, 8], [1, 5], [2]]
FROZEN_1 = [[6, 5], [3], [8, 4], [7, 1], [2, 0]]


def test_spread_takes_even_steps() -> None:
    plan = BatchPlan(list(range(1, 41)), 2, seed=0, shuffle=False)
    assert plan.spread(4) == [2, 7, 12, 17]
    assert plan.spread(-1) == plan.spread(99) == list(range(20))
    assert plan.spread(0) == []


@given(LENGTHS, st.integers(1, 5), st.integers(-1, 40))
def test_spread_steps_are_distinct_and_valid(lengths: list[int], size: int, count: int) -> None:
    plan = BatchPlan(lengths, size, 0)
    steps = plan.spread(count)
    assert len(set(steps)) == len(steps) == min(plan.per_epoch, count if count >= 0 else 10**9)
    assert all(0 <= step < plan.per_epoch for step in steps)


def test_bad_plans() -> None:
    with pytest.raises(LoraError, match="at least one row, not 0"):
        BatchPlan([1], 0, 0)
    with pytest.raises(LoraError, match="A seed is 0 or more, not -1"):
        BatchPlan([1], 1, -1)
    with pytest.raises(LoraError, match="no rows to make batches of"):
        BatchPlan([], 1, 0).batch(0)
    with pytest.raises(LoraError, match="there is no step -1"):
        BatchPlan([1], 1, 0).batch(-1)
    assert BatchPlan([], 4, 0).per_epoch == 0
    assert padding_waste([], BatchPlan([], 4, 0)) == 0


def encoded(size: int, first: int = 1) -> Encoded:
    trained = np.ones(size, bool)
    trained[0] = False
    return Encoded(np.arange(first, first + size, dtype=np.int32), trained, "text")


def test_collate_pads_on_the_right_and_never_trains_padding() -> None:
    batch = collate([encoded(3), encoded(10, 100)])
    assert batch.tokens.shape == batch.trained.shape == (2, 11)
    assert batch.tokens.dtype == np.int32
    assert batch.lengths.tolist() == [3, 10]
    assert batch.tokens[0].tolist() == [1, 2, 3] + [0] * 8
    assert batch.tokens[1, :10].tolist() == list(range(100, 110))
    assert batch.trained[0].tolist() == [False, True, True] + [False] * 8
    assert batch.trained.sum() == 2 + 9


@given(st.lists(st.integers(1, 70), min_size=1, max_size=5), st.sampled_from([1, 4, 8, 32]))
def test_inputs_are_a_multiple_of_the_padding(sizes: list[int], pad_to: int) -> None:
    batch = collate([encoded(size) for size in sizes], pad_to)
    width = batch.tokens.shape[1] - 1
    assert width % pad_to == 0
    assert max(sizes) <= width + 1 < max(max(sizes), 2) + pad_to
    assert batch.trained.sum() == sum(size - 1 for size in sizes)
    assert not batch.trained[:, 0].any()


def test_a_limit_is_kept() -> None:
    assert collate([encoded(12)], 8, limit=14).tokens.shape == (1, 14)
    assert collate([encoded(12)], 8, limit=12).tokens.shape == (1, 12)
    assert collate([encoded(5)], 8, limit=14).tokens.shape == (1, 9)
    assert padded_length(9, 8) == 9
    assert padded_length(10, 8) == 17


def test_padding_grows_with_the_length_and_stays_small() -> None:
    assert [padded_length(n) for n in (1, 2, 9, 10, 63)] == [3, 3, 9, 11, 63]
    assert [padded_length(n) for n in (129, 130, 1025, 1026)] == [129, 133, 1025, 1057]
    assert all((padded_length(n) - n) / n < 1 / 16 for n in range(40, 5000))
    assert len({padded_length(n) for n in range(2, 4097)}) < 256


@pytest.mark.parametrize("size", [4, 8, 16])
def test_rows_as_short_as_wikisqls_waste_less_than_three_percent(size: int) -> None:
    random = np.random.default_rng(0)
    lengths = np.clip(random.normal(57, 10, 1600), 30, 90).astype(int).tolist()
    assert padding_waste(lengths, BatchPlan(lengths, size, 0)) < 0.03


def test_no_rows_make_no_batch() -> None:
    with pytest.raises(LoraError, match="at least one row"):
        collate([])


def test_padding_waste_by_hand() -> None:
    plan = BatchPlan([9, 9, 5, 5], 2, 0, shuffle=False)
    assert padding_waste([9, 9, 5, 5], plan) == pytest.approx(1 - 28 / (18 + 10))
