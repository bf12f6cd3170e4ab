"""Rows held in memory or by another library: lists of dicts, pandas frames, data sets."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from lora_nb.data.faults import RowError, shorten
from lora_nb.data.rows import Rows, combined
from lora_nb.errors import LoraError

__all__ = ["ConcatRows", "RecordRows", "TableRows", "rows_of"]


def rows_of(data: object, name: str = "train") -> Rows:
    """Rows over a list of dicts, a pandas frame, a datasets.Dataset or Rows themselves.

    Raises LoraError for anything else.
    """
    if isinstance(data, Rows):
        return data
    if (to_dicts := getattr(data, "to_dicts", None)) is not None:
        return RecordRows(to_dicts(), name)
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        return RecordRows(_frame_records(data), name)
    if hasattr(data, "column_names") and hasattr(data, "features"):
        if not hasattr(data, "__len__"):
            raise LoraError(
                f"{name}: a streamed data set has no length. Load it without streaming."
            )
        return TableRows(data, name)
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return RecordRows(data, name)
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes, Mapping)):
        return RecordRows(list(data), name)
    raise LoraError(
        f"{name}: rows cannot be taken from {type(data).__name__}. "
        "Give a list of dicts, a pandas frame or a datasets.Dataset."
    )


class RecordRows(Rows):
    """Rows of a sequence of dicts; places are written `train[11]`, counted from 0."""

    def __init__(self, records: Sequence[Any], name: str) -> None:
        self.name = name
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def where(self, index: int) -> str:
        return f"{self.name}[{index}]"

    def row(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        if isinstance(record, dict):
            return record
        if isinstance(record, Mapping):
            return dict(record)
        raise RowError(
            "not_object",
            f"the row is of type {type(record).__name__}, not a dict.",
            'Write it as a dict, e.g. {"text": "..."}.',
            value=shorten(record),
            where=self.where(index),
        )


class TableRows(RecordRows):
    """Rows of a datasets.Dataset; `renamed` maps our feature names to its column names."""

    def __init__(
        self, table: Any, name: str, label: str = "", renamed: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(table, name)
        self._label = label or name
        self._renamed = dict(renamed or {})

    def where(self, index: int) -> str:
        return f"{self._label}[{index}]"

    def row(self, index: int) -> dict[str, Any]:
        try:
            row = super().row(index)
        except LoraError:
            raise
        except Exception as error:
            raise RowError(
                "unreadable",
                f"the data set could not give this row ({type(error).__name__}: {error}).",
                "Download it again.",
                where=self.where(index),
            ) from error
        if not self._renamed:
            return row
        return {**row, **{ours: row.get(theirs) for ours, theirs in self._renamed.items()}}

    def fingerprint(self) -> str:
        """From the data set's own, which names its content without reading it."""
        own = getattr(self.records, "_fingerprint", None)
        if not isinstance(own, str):
            return super().fingerprint()
        return combined("table", own, *(f"{a}={b}" for a, b in sorted(self._renamed.items())))


class ConcatRows(Rows):
    """Several Rows after one another; each row keeps its own place."""

    def __init__(self, parts: Sequence[Rows], name: str) -> None:
        self.name = name
        self._parts = list(parts)
        self._starts = [0, *accumulate(len(part) for part in self._parts)]

    def __len__(self) -> int:
        return self._starts[-1]

    def _find(self, index: int) -> tuple[Rows, int]:
        part = bisect.bisect_right(self._starts, index) - 1
        return self._parts[part], index - self._starts[part]

    def where(self, index: int) -> str:
        rows, inner = self._find(index)
        return rows.where(inner)

    def row(self, index: int) -> dict[str, Any]:
        rows, inner = self._find(index)
        return rows.row(inner)

    def find(self, text: str) -> Iterator[int]:
        for start, part in zip(self._starts, self._parts, strict=False):
            yield from (start + index for index in part.find(text))

    def fingerprint(self) -> str:
        """From those of the parts."""
        return combined("parts", *(part.fingerprint() for part in self._parts))


def _frame_records(frame: Any) -> list[dict[str, Any]]:
    """A frame's rows as plain dicts; missing cells are left out, arrays become lists."""
    names = [str(column) for column in frame.columns]
    columns = [list(frame.iloc[:, place]) for place in range(len(names))]
    return [
        {name: _plain(cell) for name, cell in zip(names, cells, strict=True) if not _missing(cell)}
        for cells in zip(*columns, strict=True)
    ]


def _missing(cell: object) -> bool:
    """None, NaN, NaT or pandas.NA: the only scalars that are not equal to themselves."""
    if cell is None or type(cell).__name__ == "NAType":
        return True
    return (isinstance(cell, float) and cell != cell) or type(cell).__name__ == "NaTType"


def _plain(cell: object) -> object:
    # NumPy's and pandas' own kinds of values.
    as_plain = getattr(cell, "tolist", None)
    return cell if as_plain is None else as_plain()
