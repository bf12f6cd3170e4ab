"""The tables of a report in words: figures with their units, values shortened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from lora_nb.data.faults import RowError
from lora_nb.data.lengths import Lengths
from lora_nb.data.measure import SplitMeasure
from lora_nb.data.rows import Rows
from lora_nb.data.survey import Shape
from lora_nb.display.data_record import Table

__all__ = ["head_table", "rows_table", "summary_table"]

_LONGEST = 110
_MOST_KEYS = 6


def summary_table(
    shapes: Mapping[str, Shape], measures: Mapping[str, SplitMeasure] | None
) -> Table:
    """One line for each split."""
    if measures is None:
        columns = ["split", "rows", "formats", "keys", "characters: min", "median", "p95", "max"]
        return Table(columns, [_shaped(name, shape) for name, shape in shapes.items()])
    columns = [
        "split", "rows", "formats", "tokens: min", "median", "p95", "max", "total",
        "trained", "cut rows", "cut tokens", "left out", "padding",
    ]  # fmt: skip
    return Table(columns, [_measured(name, found) for name, found in measures.items()])


def _shaped(name: str, shape: Shape) -> list[str]:
    keys = list(shape.keys)
    more = [f"… ({len(keys)} in all)"] if len(keys) > _MOST_KEYS else []
    named = ", ".join([*keys[:_MOST_KEYS], *more]) or "-"
    return [name, f"{shape.rows:,}", _formats(shape.kinds), named, *_quantiles(shape.characters)]


def _measured(name: str, found: SplitMeasure) -> list[str]:
    return [
        name,
        f"{found.rows:,}",
        _formats(found.kinds),
        *_quantiles(found.lengths),
        f"{found.lengths.total:,}",
        _share(found.trained, found.tokens),
        f"{found.cut_rows:,}",
        f"{found.cut_tokens:,}",
        f"{found.dropped + found.skipped:,}",
        f"{100 * found.padding:.1f} %",
    ]


def _formats(kinds: Mapping[str, int]) -> str:
    named = [f"{kind} {count:,}" if len(kinds) > 1 else kind for kind, count in kinds.items()]
    return ", ".join(named) or "-"


def _quantiles(lengths: Lengths) -> list[str]:
    return [f"{lengths.quantile(share):,}" for share in (0, 0.5, 0.95, 1)]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def head_table(rows: Rows, count: int) -> Table:
    """The first rows, each value on one line."""
    return rows_table(rows, range(min(count, len(rows))))


def rows_table(rows: Rows, numbers: Iterable[int]) -> Table:
    """Rows by their numbers, each value on one line."""
    read = [(rows.where(number), _cells(rows, number)) for number in numbers]
    keys = list(dict.fromkeys(key for _, cells in read for key in cells))
    more = keys[_MOST_KEYS:]
    keys = keys[:_MOST_KEYS]
    room = max(24, _LONGEST // max(1, len(keys)))
    lines = [
        [where, *(_short(cells.get(key, ""), room) for key in keys), *(["…"] if more else [])]
        for where, cells in read
    ]
    return Table(["row", *(_short(key, room) for key in keys), *(["…"] if more else [])], lines)


def _cells(rows: Rows, number: int) -> dict[str, str]:
    try:
        row = rows.row(number)
    except RowError as error:
        return {"(problem)": error.message}
    return {str(key): _text(value) for key, value in row.items()}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _short(text: str, room: int) -> str:
    line = text[: 4 * room].replace("\r\n", " ⏎ ").replace("\n", " ⏎ ")
    return line if len(line) <= room and len(text) <= 4 * room else f"{line[: room - 1]}…"
