"""The words above a picture: its title and a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_nb.display import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["header", "shortened", "wrapped"]

LINE = 0.175
_CHARS_AN_INCH = 14.0
_DOT = " · "


def header(figure: Figure, title: str, lines: Sequence[str]) -> float:
    """Write title and lines at the top; return the inches they take."""
    width = float(figure.get_size_inches()[0])
    fits = int((width - 0.3) * _CHARS_AN_INCH)
    top = 0.24
    if title:
        _write(figure, 0.18, top, shortened(title, fits // 2 - 6), bold=True)
    # Two lines are kept even when one is enough, so that the curve does not jump between frames.
    told = [part for line in lines for part in wrapped(line, fits)]
    for place, text in enumerate(told):
        _write(figure, 0.18, top + LINE * (place + 1), text, bold=False)
    rows = max(2, len(told)) if lines else 0
    return top + LINE * rows + 0.26


def _write(figure: Figure, left: float, down: float, text: str, *, bold: bool) -> None:
    width, height = figure.get_size_inches()
    figure.text(
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
