"""What a cleaned copy has not taken over from its original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_nb.data.cleaning import CHANGED
from lora_nb.data.findings import Finding
from lora_nb.display.data_record import Table

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Account"]

_PLACES = 4


@dataclass(frozen=True)
class Account:
    """A copy at `path`, the rows of each split before and after, and every kind of change."""

    source: str
    path: Path
    rows: dict[str, tuple[int, int]]
    changes: Sequence[Finding]

    def __str__(self) -> str:
        lines = [self.headline, *(f"  {line}" for line in self.lines)]
        return "\n".join(lines)

    @property
    def headline(self) -> str:
        """Where the copy is, and how many rows it has."""
        counts = (
            f"{name} {before:,}" + (f" → {after:,}" if after != before else "")
            for name, (before, after) in self.rows.items()
        )
        return f"Cleaned copy in {self.path} (rows: {', '.join(counts)})."

    @property
    def lines(self) -> list[str]:
        """Each kind of change on a line."""
        if not self.changes:
            return ["Nothing had to be dropped or changed."]
        return [
            f"{each.split}: {_done(each)} {each.count:,}{_first(each)}: {each.message}"
            for each in self.changes
        ]

    @property
    def table(self) -> Table:
        """Each kind of change in a line."""
        return Table(
            ["split", "done", "count", "where", "why"],
            [
                [each.split, _done(each), f"{each.count:,}", _where(each), each.message]
                for each in self.changes
            ],
        )

    @property
    def frame(self) -> DataFrame:
        """Each kind of change in a line; `places` lists the first 20."""
        import pandas as pd

        names = ["split", "done", "code", "count", "where", "message", "places"]
        return pd.DataFrame(
            [
                [
                    each.split, _done(each), each.code, each.count, each.where, each.message,
                    ", ".join(_places(each)),
                ]
                for each in self.changes
            ],
            None,
            names,
        )  # fmt: skip


def _done(change: Finding) -> str:
    if change.code == "unreadable":
        return "left out"
    return "changed" if change.code in CHANGED else "dropped"


def _places(change: Finding) -> list[str]:
    if not change.where or change.code in CHANGED:
        return [change.where] if change.where else []
    return [line.partition(": ")[0] for line in change.lines]


def _where(change: Finding) -> str:
    places = _places(change)
    more = [] if change.code in CHANGED else ["…"] * (change.count > _PLACES)
    return ", ".join([*places[:_PLACES], *more])


def _first(change: Finding) -> str:
    where = _where(change)
    return f" ({where})" if where else ""
