"""Tables: of runs as a DataFrame, and of anything as static HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lora_nb.display.state import RunState, state_of
from lora_nb.display.view import RunView

if TYPE_CHECKING:
    from pandas import DataFrame, Series, Timestamp

__all__ = ["RunSummary", "escape", "html_table", "runs_frame", "summary_of", "wrapper"]

_WHOLE = ("steps",)
_CELL = "padding:0.15em 0.8em 0.15em 0;text-align:left;vertical-align:top;"
_QUIET = "background:transparent;color:inherit;border:0;"


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run in one row. `started` is in seconds since 1970, losses in nats; None where unknown."""

    run: str
    verb: str
    status: str
    model: str = ""
    data: str = ""
    steps: int | None = None
    train_loss: float | None = None
    valid_loss: float | None = None
    best_valid: float | None = None
    test_perplexity: float | None = None
    started: float | None = None
    seconds: float | None = None
    adapter_path: str = ""
    tags: str = ""
    note: str = ""


def summary_of(view: RunView) -> RunSummary:
    """The row of a run."""
    records = view.records()
    state = state_of(records)
    options = view.config_items()
    return RunSummary(
        run=view.name,
        verb=view.verb,
        status=view.status,
        model=options.get("model", "") or (state.model.model if state.model else ""),
        data=options.get("data", ""),
        steps=state.step or None,
        train_loss=state.train.loss if state.train else None,
        valid_loss=state.valid.loss if state.valid else None,
        best_valid=state.best.loss if state.best else None,
        test_perplexity=state.test.perplexity if state.test else None,
        started=records[0].time if records else None,
        seconds=_seconds(state),
        adapter_path=state.ended.adapter_path if state.ended else "",
    )


def runs_frame(summaries: Iterable[RunSummary]) -> DataFrame:
    """One row a run, newest first; columns are the fields of RunSummary, `started` local time."""
    import pandas as pd

    rows = sorted(summaries, key=lambda row: (row.started is None, -(row.started or 0.0)))
    names = [field.name for field in fields(RunSummary)]
    frame = pd.DataFrame([asdict(row) for row in rows], columns=names)
    frame["started"] = _local_times([row.started for row in rows])
    for name in _WHOLE:
        frame[name] = frame[name].astype("Int64")
    for name in ("train_loss", "valid_loss", "best_valid", "test_perplexity", "seconds"):
        frame[name] = frame[name].astype("float64")
    return frame


def escape(text: object) -> str:
    """Text as HTML that shows exactly it, also within quoted attributes."""
    return html.escape(str(text), quote=True)


def html_table(
    rows: Iterable[Sequence[object]], columns: Sequence[str] = (), caption: str = ""
) -> str:
    """A static table, every cell escaped, in the colours of the page around it."""
    head = _row(columns, "th") if columns else ""
    body = "".join(_row(row, "td") for row in rows)
    named = f'<caption style="text-align:left;color:inherit;">{escape(caption)}</caption>'
    return (
        f'<table style="border-collapse:collapse;margin:0;{_QUIET}">'
        f"{named if caption else ''}{f'<thead>{head}</thead>' if head else ''}"
        f"<tbody>{body}</tbody></table>"
    )


def wrapper(*parts: str) -> str:
    """HTML parts in a block that front ends do not search for formulas."""
    return f'<div class="tex2jax_ignore mathjax_ignore">{"".join(parts)}</div>'


def _row(cells: Sequence[object], tag: str) -> str:
    style = f"{_CELL}{_QUIET}"
    inner = "".join(f'<{tag} style="{style}">{escape(cell)}</{tag}>' for cell in cells)
    return f'<tr style="{_QUIET}">{inner}</tr>'


def _seconds(state: RunState) -> float | None:
    if state.ended:
        return state.ended.seconds
    return state.train.elapsed if state.train else None


def _local_times(times: Sequence[float | None]) -> Series[Timestamp]:
    import pandas as pd

    known = [None if time is None else _local(time) for time in times]
    return pd.Series(known, dtype="datetime64[ns]")


def _local(time: float) -> datetime:
    return datetime.fromtimestamp(round(time), UTC).astimezone().replace(tzinfo=None)
