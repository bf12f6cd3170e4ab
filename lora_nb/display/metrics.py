"""The numbers of a run as a table over its steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lora_nb.runs.events import Record, Resumed, TrainLoss, ValidLoss

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
    for record in records:
        if isinstance(record.event, TrainLoss | ValidLoss):
            rows.setdefault(record.event.step, {}).update(_values(record.event))
        elif isinstance(record.event, Resumed):
            rows = _counting(rows, record.event)
    steps = sorted(rows)
    return DataFrame(
        {name: [rows[step].get(name, float("nan")) for step in steps] for name in COLUMNS},
        index=Index(steps, dtype="int64", name="step"),
        dtype="float64",
    )


def _counting(rows: dict[int, dict[str, float]], resumed: Resumed) -> dict[int, dict[str, float]]:
    """The values up to the steps that a run was resumed at."""
    limits: dict[str, int] = dict.fromkeys(("valid_loss", "perplexity"), resumed.step)
    kept = {
        step: {key: v for key, v in values.items() if step <= limits.get(key, resumed.reported)}
        for step, values in rows.items()
    }
    return {step: values for step, values in kept.items() if values}


def _values(event: TrainLoss | ValidLoss) -> dict[str, float]:
    if isinstance(event, ValidLoss):
        return {"valid_loss": event.loss, "perplexity": event.perplexity}
    return {"train_loss": event.loss} | {name: getattr(event, name) for name in _SAME_NAME}
