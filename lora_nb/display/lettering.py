"""Rows of words over a picture that change with every frame, put together from kept pixels.

To set a row anew takes longer than all else in a frame, though mostly digits change. So words and
digits are drawn once each, and then copied to where matplotlib would set them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from lora_nb.display import style
from lora_nb.display.header import LINE, TOP, write_row
from lora_nb.display.picture import canvas_of, pixels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    from lora_nb.display.picture import Canvas, Pixels

    Measure = Callable[[str, FontProperties, bool], tuple[float, float, float]]

__all__ = ["Lettering"]

# Other scripts may be set from right to left, or one letter by the next.
_SIMPLE = re.compile("[ -~\u00a0-\u024f…]*")
_PIECE = re.compile(r"\s|\d|[^\s\d]+")
_POST = "|"
# So many rows are compared with what matplotlib draws before copies are trusted.
_COMPARED = 3
_KEPT = 2000


@dataclass(frozen=True)
class _Ink:
    """The pixels of a piece of text that starts a row, from column `x` and line `y` on."""

    pixels: Pixels
    x: int
    y: int


@dataclass(frozen=True)
class _Piece:
    """A piece of a row, set so many columns behind its start."""

    text: str
    at: int
    ink: _Ink

    @property
    def end(self) -> int:
        return self.at + self.ink.x + int(self.ink.pixels.shape[1])


class Lettering:
    """Writes the rows below the title of figures of a size (inches) and density.

    Rows are drawn by matplotlib itself where it sets letters between the pixels, as it can be told
    to, and where they have other letters than Latin ones.
    """

    def __init__(self, width: float, height: float, dpi: float) -> None:
        self._blank = style.blank(width, height, dpi)
        self._dpi = dpi
        self._canvas = canvas_of(self._blank)
        self._canvas.draw()
        self._ink_of: dict[tuple[str, int], _Ink | None] = {}
        self._advances: dict[tuple[str, str], float] = {}
        self._to_compare = _COMPARED
        self.copies = True
        """Whether rows are still copied, not drawn."""

    def write(self, figure: Figure, canvas: Canvas, place: int, text: str) -> None:
        """Write the row of a place (1 is the uppermost) on the figure's canvas, on empty paper."""
        text = style.drawable(text)
        placed = self._placed(text, place) if self.copies and _SIMPLE.fullmatch(text) else None
        if placed is None:
            _draw(figure, place, text)
        elif self._to_compare:
            self.copies = self._is_same(
                placed, pixels_of(canvas), partial(_draw, figure, place, text)
            )
        else:
            _copy(placed, pixels_of(canvas))

    def _is_same(self, placed: list[_Piece], pixels: Pixels, draw: Callable[[], None]) -> bool:
        """Draw a row; whether its pieces would have given the same pixels."""
        import numpy as np

        self._to_compare -= 1
        copied = pixels.copy()
        _copy(placed, copied)
        draw()
        return np.array_equal(copied, pixels)

    def _placed(self, row: str, place: int) -> list[_Piece] | None:
        """The pieces of a row; None if one is set between two columns."""
        placed: list[_Piece] = []
        at = 0.0
        for text, after in pairwise([*_PIECE.findall(row), ""]):
            self._put(placed, text, int(at), place)
            at += self._advance(text, after[0]) if after else 0.0
            if not at.is_integer():
                return None
        return placed

    def _put(self, placed: list[_Piece], text: str, at: int, place: int) -> None:
        ink = self._ink(text, place)
        if ink is None:
            return
        last = placed[-1] if placed else None
        if last and at + ink.x < last.end:
            # Where letters touch, their pixels are mixed: they are one piece.
            placed.pop()
            self._put(placed, last.text + text, last.at, place)
        else:
            placed.append(_Piece(text, at, ink))

    def _advance(self, piece: str, after: str) -> float:
        """How far behind a piece the next letter is set, in pixels."""
        key = (piece, after)
        if key not in self._advances:
            _bound(self._advances)
            self._advances[key] = self._width(piece + after) - self._width(after)
        return self._advances[key]

    def _width(self, text: str) -> float:
        # Between posts, blanks count, and so does the room beside letters.
        between = f"{_POST}{text}{_POST}"
        measure: Measure = self._canvas.get_renderer().get_text_width_height_descent
        return measure(between, style.font(), False)[0]

    def _ink(self, piece: str, place: int) -> _Ink | None:
        key = (piece, place)
        if key not in self._ink_of:
            _bound(self._ink_of)
            self._ink_of[key] = self._drawn(piece, place)
        return self._ink_of[key]

    def _drawn(self, piece: str, place: int) -> _Ink | None:
        # Only the lines round the row are looked at, which is what takes the time.
        first = int((TOP + LINE * (place - 1)) * self._dpi)
        pixels = pixels_of(self._canvas)[first : first + int(2 * LINE * self._dpi)]
        paper = pixels.copy()
        _draw(self._blank, place, piece)
        inked = (pixels != paper).any(axis=2)
        ink = None
        if inked.any():
            lines, columns = inked.any(axis=1).nonzero()[0], inked.any(axis=0).nonzero()[0]
            top, left = int(lines[0]), int(columns[0])
            kept = pixels[top : lines[-1] + 1, left : columns[-1] + 1].copy()
            ink = _Ink(kept, left, first + top)
        pixels[:] = paper
        return ink


def _draw(figure: Figure, place: int, text: str) -> None:
    row = write_row(figure, place, text)
    figure.draw_artist(row)
    row.remove()


def _copy(placed: list[_Piece], pixels: Pixels) -> None:
    for piece in placed:
        ink, left = piece.ink, piece.at + piece.ink.x
        height, width = ink.pixels.shape[:2]
        spot = pixels[ink.y : ink.y + height, left : left + width]
        spot[:] = ink.pixels[:, : spot.shape[1]]


def _bound(kept: dict[tuple[str, str], float] | dict[tuple[str, int], _Ink | None]) -> None:
    if len(kept) > _KEPT:
        kept.clear()
