from __future__ import annotations

import math

from lora_nb.display.metrics import COLUMNS, metrics
from tests.unit.display.made import finished, numbered, train, valid


def test_columns_and_index() -> None:
    frame = metrics(finished())
    assert tuple(frame.columns) == COLUMNS
    assert frame.index.name == "step"
    assert frame.index.is_monotonic_increasing
    assert frame.index.is_unique
    assert set(map(str, frame.dtypes)) == {"float64"}


def test_a_step_has_both_losses_and_nan_elsewhere() -> None:
    frame = metrics(numbered([valid(0, 2.0), train(10, 1.5), valid(10, 1.0)]))
    assert frame.loc[10, "train_loss"] == 1.5
    assert frame.loc[10, "valid_loss"] == 1.0
    assert frame.loc[10, "perplexity"] == math.exp(1.0)
    assert frame.loc[[0], "train_loss"].isna().all()


def test_a_later_report_of_a_step_counts() -> None:
    frame = metrics(numbered([train(10, 1.5), train(10, 1.25)]))
    assert list(frame["train_loss"]) == [1.25]


def test_no_records() -> None:
    frame = metrics([])
    assert frame.empty
    assert tuple(frame.columns) == COLUMNS
