"""The table of runs: which ones, in which order, and as much of them as fits on a page."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lora_nb.display.tables import RunSummary, runs_frame, summary_of
from lora_nb.display.words import duration, plain
from lora_nb.errors import LoraError, did_you_mean
from lora_nb.runs import store
from lora_nb.runs.events import Status
from lora_nb.runs.folder import KINDS, RunFolder
from lora_nb.runs.notes import Notes, read_notes
from lora_nb.sweeping.board import Board

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SORTS", "STATUSES", "VERBS", "Wanted", "list_runs", "narrow", "summary"]

VERBS = tuple(KINDS)
COLUMNS = tuple(field.name for field in dataclasses.fields(RunSummary))
# What a column is called in the narrow table.
_ALSO = {"duration": "seconds"}
SORTS = (*COLUMNS, *_ALSO)
STATUSES = ("starting", "running", "paused", *get_args(Status), "crashed", "damaged")
# Those that make a page; one that is empty for all runs is left out.
_NARROW = (
    "run", "verb", "status", "model", "data", "steps", "train_loss", "best_valid",
    "test_perplexity", "duration", "tags", "note",
)  # fmt: skip
_ALWAYS = ("run", "verb", "status")
_CELL = 24
_NOTE = 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which runs are wanted (nothing means all), and in which order."""

    names: Sequence[str] = ()
    verb: str | None = None
    status: str | None = None
    tag: str | None = None
    sort: str | None = None
    reverse: bool = False
    limit: int | None = None


def list_runs(wanted: Wanted) -> pd.DataFrame:
    """The runs that are wanted, by default the newest first; columns are those of RunSummary.

    Sorted by a column the lowest comes first, and what has no value last. Raises LoraError for a
    column, verb or status that there is none of.
    """
    _check("verb", wanted.verb, VERBS)
    _check("status", wanted.status, STATUSES)
    _check("sort", wanted.sort, SORTS)
    _check_limit(wanted.limit)
    folders = _named(store.all_runs(), wanted.names)
    frame = runs_frame(row for row in map(summary, folders) if _is_wanted(row, wanted))
    if wanted.sort is not None:
        frame = frame.sort_values(
            _ALSO.get(wanted.sort, wanted.sort),
            ascending=not wanted.reverse,
            na_position="last",
            kind="stable",
            key=_with_gaps,
        )
    elif wanted.reverse:
        frame = frame[::-1]
    frame = frame.reset_index(drop=True)
    return frame if wanted.limit is None else frame.head(wanted.limit)


def _with_gaps(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column with its empty texts as values that are not there."""
    from pandas.api.types import is_string_dtype

    return column.where(column != "") if is_string_dtype(column) else column


def _check(name: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        hint = did_you_mean(value, known)
        raise LoraError(f"--{name}: '{value}' is not one of {', '.join(known)}.{hint}")


def _check_limit(limit: object) -> None:
    if limit is None:
        return
    if not isinstance(limit, int):
        raise LoraError(f"--limit: {limit!r} is not a whole number.")
    if limit < 1:
        raise LoraError(f"--limit: {limit} is out of range; give at least 1.")


def _named(runs: Sequence[RunFolder], names: Sequence[str]) -> list[RunFolder]:
    """Those of the runs, the newest first, that are meant by any of the names."""
    parts = [runs[0].name if name == "latest" and runs else name for name in names]
    return [run for run in runs if not names or any(part in run.name for part in parts)]


def _is_wanted(row: RunSummary, wanted: Wanted) -> bool:
    return (
        wanted.verb in (None, row.verb)
        and wanted.status in (None, row.status)
        and (wanted.tag is None or wanted.tag in row.tags.split(", "))
    )


def summary(folder: RunFolder) -> RunSummary:
    """The row of a run. One that is damaged must not hide the others; attaching says what it is."""
    notes = _notes(folder)
    tags, note = ", ".join(notes.tags), notes.latest
    try:
        row = summary_of(folder)
        if folder.verb == "sweep":
            row = dataclasses.replace(row, best_valid=_best_of_all(folder))
        return dataclasses.replace(row, tags=tags, note=note)
    except (LoraError, ValueError, OSError):
        return RunSummary(run=folder.name, verb="", status="damaged", tags=tags, note=note)


def _notes(folder: RunFolder) -> Notes:
    try:
        return read_notes(folder)
    except LoraError:
        return Notes()


def _best_of_all(folder: RunFolder) -> float | None:
    first = Board(folder).first()
    return first.best if first else None


def narrow(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with what a page has room for: no paths, few digits, no empty columns."""
    import pandas as pd

    slim = frame.copy()
    for name in ("model", "data"):
        slim[name] = [_short(Path(plain(text)).name if text else "", _CELL) for text in frame[name]]
    for name in ("train_loss", "best_valid", "test_perplexity"):
        slim[name] = frame[name].round(4)
    slim["duration"] = pd.Series(
        ["" if math.isnan(seconds) else duration(seconds) for seconds in frame["seconds"]],
        index=frame.index,
        dtype="object",
    )
    slim["run"] = list(map(plain, frame["run"]))
    slim["note"] = [_short(plain(" ".join(text.split())), _NOTE) for text in frame["note"]]
    return slim[[name for name in _NARROW if name in _ALWAYS or _says_something(slim[name])]]


def _says_something(column: pd.Series[Any]) -> bool:
    return bool((column.notna() & (column != "")).any())


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
