"""The words above a picture: its title and a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_nb.display import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = ["LEFT", "LINE", "TOP", "header", "rows_of", "shortened", "taken", "wrapped", "write_row"]

LEFT = 0.18
TOP = 0.24
LINE = 0.175
_CHARS_AN_INCH = 14.0
_DOT = " · "


def header(figure: Figure, title: str, lines: Sequence[str]) -> float:
    """Write title and lines at the top; return the inches they take."""
    width = float(figure.get_size_inches()[0])
    if title:
        _write(figure, LEFT, TOP, shortened(title, _fits(width) // 2 - 6), bold=True)
    told = rows_of(lines, width)
    for place, text in enumerate(told, 1):
        write_row(figure, place, text)
    return taken(len(told))


def write_row(figure: Figure, place: int, text: str) -> Text:
    """Write the row of a place, 1 being the one below the title."""
    return _write(figure, LEFT, TOP + LINE * place, text, bold=False)


def rows_of(lines: Sequence[str], width: float) -> list[str]:
    """The lines as rows that fit `width` inches; the first is `LINE` below `TOP`."""
    return [row for line in lines for row in wrapped(line, _fits(width))]


def taken(rows: int) -> float:
    """The inches that a title and so many rows take."""
    # Two rows are kept even when one is enough, so that the curve does not jump between frames.
    return TOP + LINE * (max(2, rows) if rows else 0) + 0.26


def _fits(width: float) -> int:
    return int((width - 0.3) * _CHARS_AN_INCH)


def _write(figure: Figure, left: float, down: float, text: str, *, bold: bool) -> Text:
    width, height = figure.get_size_inches()
    return figure.text(
        left / width,
        1 - down / height,
        style.drawable(text),
        color=style.INK,
        fontproperties=style.font(bold=bold),
        va="baseline",
        parse_math=False,
    )


def shortened(text: str, limit: int) -> str:
    """Text of at most `limit` characters, with its middle left out if it is longer."""
    if len(text) <= limit:
        return text
    head = max(1, (limit - 1) // 2)
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


def wrapped(line: str, limit: int) -> list[str]:
    """A progress line broken at its dots into lines of at most `limit` characters."""
    rows: list[str] = []
    for part in line.split(_DOT):
        if rows and len(rows[-1]) + len(_DOT) + len(part) <= limit:
            rows[-1] += _DOT + part
        else:
            rows.append(part)
    return [row for long in rows for row in _folded(long, limit)]


def _folded(text: str, limit: int) -> list[str]:
    import textwrap

    if len(text) <= limit:
        return [text]
    return textwrap.wrap(text, limit, max_lines=3, placeholder=" …", break_long_words=True)
