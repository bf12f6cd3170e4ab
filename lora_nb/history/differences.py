"""Where the configs of runs differ, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_nb.config.fields import flat_defaults, flat_options
from lora_nb.config.values import said
from lora_nb.display.tables import RunSummary, html_table, wrapper
from lora_nb.display.text_table import text_table
from lora_nb.display.words import duration, loss, plain
from lora_nb.errors import LoraError
from lora_nb.history.listing import summary
from lora_nb.runs.folder import RunFolder

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Differences", "differences", "labels"]

# Of a run itself, not of what it does; a training's adapter_path is where its result goes.
_OWN = ("name",)
_OWN_OF_TRAINING = ("name", "adapter_path")
_NOT_TOLD = ("name", "adapter_path", "save_path", "mlx_path")
_NONE = "\N{EN DASH}"
_IN_A_LABEL = 4
_RESULTS = (
    "status", "steps", "train_loss", "best_valid", "test_perplexity", "seconds", "tags", "note",
)  # fmt: skip


def _differing(options: Sequence[Mapping[str, Any]], apart_from: Sequence[str]) -> list[str]:
    """The keys, in their order, whose values are not the same everywhere."""
    missing = object()
    keys = dict.fromkeys(key for each in options for key in each if key not in apart_from)
    return [key for key in keys if any(each.get(key, missing) != options[0].get(key, missing)
                                       for each in options)]  # fmt: skip


def labels(runs: Sequence[RunFolder]) -> list[str]:
    """A name for each run in a picture: the options in which it differs, else its own name."""
    options = [_read(run) for run in runs]
    keys = _differing(options, _NOT_TOLD)
    if not keys or len(keys) > _IN_A_LABEL:
        return [run.name for run in runs]
    made = [", ".join(f"{key.split('.')[-1]} {_said(each.get(key))}" for key in keys)
            for each in options]  # fmt: skip
    return [
        f"{label} ({run.name})" if made.count(label) > 1 else label
        for label, run in zip(made, runs, strict=True)
    ]


def _read(run: RunFolder) -> dict[str, Any]:
    try:
        return flat_options(run.config)
    except LoraError:
        # Its curve can still be drawn, under its name.
        return {"run": run.name}


def _said(value: Any) -> str:
    if isinstance(value, str) and "/" in value:
        return Path(value).name
    return _NONE if value is None else said(value)


@dataclasses.dataclass(frozen=True, eq=False)
class Differences:
    """Several runs: the options in which they differ, and their results."""

    runs: Sequence[str]
    changed: Mapping[str, Sequence[Any]]
    rows: Sequence[RunSummary]

    @property
    def frame(self) -> DataFrame:
        """The differing options, a row each, and a column for each run."""
        from pandas import DataFrame, Index

        index = Index(list(self.changed), name="option", dtype="object")
        columns = {
            run: [values[place] for values in self.changed.values()]
            for place, run in enumerate(self.runs)
        }
        return DataFrame(columns, index=index, dtype="object")

    @property
    def results(self) -> DataFrame:
        """What came of the runs: status, steps, losses, seconds, tags; a column for each run."""
        from pandas import DataFrame, Index

        columns = {
            run: [getattr(row, name) for name in _RESULTS]
            for run, row in zip(self.runs, self.rows, strict=True)
        }
        index = Index(list(_RESULTS), name="result", dtype="object")
        return DataFrame(columns, index=index, dtype="object")

    def _tables(self) -> list[tuple[list[str], list[list[str]]]]:
        options = [[key, *map(_cell, values)] for key, values in self.changed.items()]
        results = [[name, *(_result(row, name) for row in self.rows)] for name in _RESULTS]
        head = [plain(run) for run in self.runs]
        return [
            (["option", *head], options or [["no option differs", *("" for _ in head)]]),
            (["result", *head], [row for row in results if any(row[1:])]),
        ]

    def __repr__(self) -> str:
        return "\n\n".join(text_table(head, rows) for head, rows in self._tables())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        html = (html_table(rows, head) for head, rows in self._tables())
        return {"text/plain": repr(self), "text/html": wrapper(*html)}


def differences(runs: Sequence[RunFolder]) -> Differences:
    """Compare runs. Raises LoraError for fewer than two, for one named twice or damaged."""
    names = [run.name for run in runs]
    if len(runs) < 2:
        raise LoraError("Name at least two runs to compare: %lora_diff RUN RUN.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise LoraError(f"{twice[0]} is named twice.")
    options = [flat_options(run.config) | {"verb": run.verb} for run in runs]
    trained = all(run.verb in ("train", "sweep") for run in runs)
    keys = _differing(options, _OWN_OF_TRAINING if trained else _OWN)
    if len({run.verb for run in runs}) > 1:
        usual: dict[str, Any] = {}
        for run in runs:
            usual |= flat_defaults(type(run.config))
        keys = [key for key in keys if _tells(key, options, usual)]
    changed = {key: [each.get(key, _NONE) for each in options] for key in keys}
    return Differences(names, changed, [summary(run) for run in runs])


def _tells(key: str, options: Sequence[Mapping[str, Any]], usual: Mapping[str, Any]) -> bool:
    """Whether an option that not all kinds of runs have says more than that."""
    had = [each[key] for each in options if key in each]
    return len(had) == len(options) or any(value != usual.get(key) for value in had)


def _cell(value: Any) -> str:
    return plain(_NONE if value is None else said(value))


def _result(row: RunSummary, name: str) -> str:
    value = getattr(row, name)
    if value is None or value == "":
        return ""
    if name == "seconds":
        return duration(value)
    return loss(value) if isinstance(value, float) else plain(" ".join(str(value).split()))
