"""Tables in plain text, the same for the same cells whatever pandas is set to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lora_nb.display.words import plain

__all__ = ["is_number", "text_table"]

_GAP = "  "


def text_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The cells in columns, numbers to the right; no blanks at the ends of lines."""
    table = [[plain(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[place]) for row in table) for place in range(len(columns))]
    right = [
        all(is_number(row[place]) for row in table[1:]) and len(table) > 1
        for place in range(len(columns))
    ]
    lines = (
        _GAP.join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        for row in table
    )
    return "\n".join(line.rstrip() for line in lines)


def is_number(cell: str) -> bool:
    """Whether a cell is a number as these tables write them, or left empty."""
    return not cell.strip(" -0123456789,.%")
