"""Which row is meant: `17`, `valid:17`, `valid.jsonl:17`, `train[17]`."""

from __future__ import annotations

import re

from lora_nb.data.rows import Rows
from lora_nb.data.sources import Splits
from lora_nb.errors import LoraError, did_you_mean

__all__ = ["find_row", "rows_of_split"]

_NUMBER = re.compile(r"\s*-?\d+\s*")
_NAMED = re.compile(r"\s*(?P<name>.+?)\s*(?:(?P<colon>:)|\[)\s*(?P<number>-?\d+)\s*\]?\s*")
_LAST_NUMBER = re.compile(r"(\d+)\]?$")


def rows_of_split(splits: Splits, name: str | None) -> tuple[str, Rows]:
    """A split by its name; without one, the first that is there. Raises LoraError."""
    there = dict(splits.items())
    wanted = name or next(iter(there))
    if wanted not in there:
        near = did_you_mean(wanted, there)
        raise LoraError(f"There is no split '{wanted}'; there is {', '.join(there)}.{near}")
    return wanted, there[wanted]


def find_row(splits: Splits, place: int | str) -> tuple[str, Rows, int]:
    """Split, rows and number of a row.

    A number alone or behind the name of a split counts rows from 0, the last one being -1; a
    number behind the name of a file is a line, as messages write it. Raises LoraError.
    """
    if isinstance(place, int) or _NUMBER.fullmatch(place):
        name, rows = rows_of_split(splits, None)
        return name, rows, _counted(name, rows, int(place))
    found = _NAMED.fullmatch(place)
    if found is None:
        raise LoraError(f"'{place}' names no row. Write 17, valid:17 or valid.jsonl:17.")
    name, number = found["name"], int(found["number"])
    there = dict(splits.items())
    if name in there:
        return name, there[name], _counted(name, there[name], number)
    lasts = []
    for split, rows in there.items():
        if name in _labels(rows):
            if (row := _placed(rows, place.strip(), number)) is not None:
                return split, rows, row
            lasts.append(rows.where(len(rows) - 1))
    if lasts:
        raise LoraError(f"There is no row at {place}; the last one is {' or '.join(lasts)}.")
    known = [*there, *(label for rows in there.values() for label in _labels(rows))]
    near = did_you_mean(name, known)
    raise LoraError(f"There is neither a split nor a file '{name}'.{near}")


def _counted(name: str, rows: Rows, number: int) -> int:
    size = len(rows)
    if not -size <= number < size:
        range_of = f"0 to {size - 1}" if size else "none"
        raise LoraError(f"There is no row {number} in {name} (it has {size:,}: {range_of}).")
    return number % size


def _labels(rows: Rows) -> list[str]:
    """What the places of the first and the last row begin with."""
    places = (rows.where(0), rows.where(len(rows) - 1)) if len(rows) else ()
    return [re.split(r"[:\[]\d+\]?$", place)[0] for place in places]


def _placed(rows: Rows, place: str, number: int) -> int | None:
    """The row at a place, or None."""
    first, last = _labels(rows)
    if first != last:
        # Several files after one another.
        return next((row for row in range(len(rows)) if rows.where(row) == place), None)
    # The places are in order, so halving finds it.
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high) // 2
        if _number(rows.where(middle)) < number:
            low = middle + 1
        else:
            high = middle
    return low if low < len(rows) and _number(rows.where(low)) == number else None


def _number(where: str) -> int:
    found = _LAST_NUMBER.search(where)
    return int(found[1]) if found else -1
