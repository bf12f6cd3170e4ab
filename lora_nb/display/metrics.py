"""The numbers of a run as a table over its steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lora_nb.runs.events import Record, TrainLoss, ValidLoss
from lora_nb.runs.standing import standing

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["COLUMNS", "metrics"]

COLUMNS = (
    "train_loss",
    "valid_loss",
    "perplexity",
    "learning_rate",
    "tokens_per_second",
    "iterations_per_second",
    "trained_tokens",
    "peak_memory",
    "grad_norm",
    "elapsed",
)
_SAME_NAME = COLUMNS[3:]


def metrics(records: Iterable[Record]) -> DataFrame:
    """A DataFrame of float columns `COLUMNS`, indexed by `step`; NaN where a step has no value.

    `perplexity` is that of the validation. A later report of a step replaces an earlier one, and
    of a resumed run only what counts is there.
    """
    from pandas import DataFrame, Index

    rows: dict[int, dict[str, float]] = {}
    for record in standing(records):
        if isinstance(record.event, TrainLoss | ValidLoss):
            rows.setdefault(record.event.step, {}).update(_values(record.event))
    steps = sorted(rows)
    return DataFrame(
        {name: [rows[step].get(name, float("nan")) for step in steps] for name in COLUMNS},
        index=Index(steps, dtype="int64", name="step"),
        dtype="float64",
    )


def _values(event: TrainLoss | ValidLoss) -> dict[str, float]:
    if isinstance(event, ValidLoss):
        return {"valid_loss": event.loss, "perplexity": event.perplexity}
    return {"train_loss": event.loss} | {name: getattr(event, name) for name in _SAME_NAME}
