"""The loss curve of a run that goes on, drawn again and again for little.

Most of what a picture costs are its words: ticks, legend, title. They are kept as pixels until
they change, and only the curves, marks and rows of words that move are drawn over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from lora_nb.display import marks, style
from lora_nb.display.figure import DPI, HEIGHT, WIDTH
from lora_nb.display.header import header, rows_of, taken
from lora_nb.display.layers import Layer, Layers
from lora_nb.display.legend import legend_above
from lora_nb.display.lettering import Lettering
from lora_nb.display.limits import EMPTY, Span, limits, steps_across
from lora_nb.display.picture import canvas_of, encoded, pixels_of
from lora_nb.display.state import RunState

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.transforms import BboxBase

    from lora_nb.display.picture import Canvas, Pixels

    _Drawn = tuple[Canvas, BboxBase]

__all__ = ["LiveFigure"]

# Pixels round words that the paper round them takes.
_ROUND = 5


class LiveFigure:
    """Pictures of one run as it goes on, `width` and `height` in inches.

    They are those of `figure.draw` with these `limits`, which have some room, so that a curve may
    fall for a while before they have to change.
    """

    def __init__(self, title: str, *, width: float = WIDTH, height: float = HEIGHT) -> None:
        self._title = title
        self._inches = (width, height)
        self._layers = Layers()
        self._lettering: Lettering | None = None
        self.limits: Span | None = None

    @property
    def painted(self) -> tuple[int, ...]:
        """How often were drawn: title and step axis, legend, loss axis."""
        return tuple(self._layers.painted)

    def png(self, state: RunState, lines: Sequence[str] = ()) -> bytes:
        """The picture of a state as PNG, with `lines` under the title."""
        rows = rows_of(lines, self._inches[0])
        strokes = marks.strokes(state)
        self.limits = limits(state, self.limits)
        steps = steps_across(state) if state.step or state.planned else None
        frame = (taken(len(rows)), steps, state.has_curve)
        looks = tuple(stroke.look for stroke in strokes)
        self._layers.show(
            [
                Layer(frame, partial(self._paint_frame, *frame)),
                Layer(looks, partial(self._paint_legend, strokes)),
                Layer(self.limits, partial(self._paint_losses, self.limits)),
            ]
        )
        self._draw(state, strokes, rows)
        return encoded(self._canvas, quick=True)

    def _paint_frame(self, top: float, steps: int | None, has_losses: bool) -> _Drawn:
        """Title and step axis, on a new figure."""
        self._figure: Figure = style.blank(*self._inches, DPI)
        header(self._figure, self._title, ())
        self._axes: Axes = style.axes_on(self._figure, top)
        self._axes.set_xlim(0, steps or 1)
        self._axes.set_ylim(*EMPTY)
        if steps is None:
            self._axes.set_xticks([])
        if not has_losses:
            self._axes.set_yticks([])
        self._lines: list[Line2D] = []
        self._best: list[Artist] = []
        self._best_is: object = None
        self._words: tuple[Pixels, Pixels] | None = None
        for moving in (self._axes.yaxis, self._axes.spines["bottom"]):
            moving.set_animated(True)
        self._canvas = canvas_of(self._figure)
        self._canvas.draw()
        return self._canvas, self._figure.bbox

    def _paint_legend(self, strokes: Sequence[marks.Stroke]) -> _Drawn:
        for old in (*self._figure.legends, *self._lines):
            old.remove()
        self._lines = [stroke.put(self._axes) for stroke in strokes]
        paired = zip(strokes, self._lines, strict=True)
        legend_above(self._figure, [line for stroke, line in paired if stroke.named])
        for legend in self._figure.legends:
            self._figure.draw_artist(legend)
        return self._canvas, self._figure.bbox

    def _paint_losses(self, between: Span) -> _Drawn:
        """The loss axis and its grid, and the edge that lies over them."""
        self._axes.set_ylim(*between)
        self._figure.draw_artist(self._axes.yaxis)
        self._figure.draw_artist(self._axes.spines["bottom"])
        return self._canvas, self._figure.bbox

    def _draw(self, state: RunState, strokes: Sequence[marks.Stroke], rows: Sequence[str]) -> None:
        """What moves, over what stays."""
        for stroke, line in zip(strokes, self._lines, strict=True):
            stroke.move(line)
            self._figure.draw_artist(line)
        self._draw_best(state)
        letters = self._lettering = self._lettering or Lettering(*self._inches, DPI)
        for place, row in enumerate(rows, 1):
            letters.write(self._figure, self._canvas, place, row)

    def _draw_best(self, state: RunState) -> None:
        best = state.best
        told = (best.step, best.loss, self.limits) if best else None
        if told != self._best_is:
            for old in self._best:
                old.remove()
            self._best, self._best_is = marks.best_point(self._axes, state), told
            self._words = None
            if self._best:
                self._box = _box(self._best[0], self._canvas)
        if self._best:
            words, ring = self._best
            self._draw_words(words)
            self._figure.draw_artist(ring)

    def _draw_words(self, words: Artist) -> None:
        """Draw words, or copy them if what lies below them is as before."""
        import numpy as np

        pixels = pixels_of(self._canvas)[self._box]
        if self._words is None or not np.array_equal(pixels, self._words[0]):
            below = pixels.copy()
            self._figure.draw_artist(words)
            self._words = below, pixels.copy()
        else:
            pixels[:] = self._words[1]


def _box(words: Artist, canvas: Canvas) -> tuple[slice, slice]:
    """The lines and columns of a canvas that words and the paper round them may take."""
    box = words.get_window_extent(canvas.get_renderer())
    height = canvas.get_width_height()[1]
    top, left = int(height - box.y1) - _ROUND, int(box.x0) - _ROUND
    lines = slice(max(top, 0), max(int(height - box.y0) + _ROUND, 0))
    return lines, slice(max(left, 0), max(int(box.x1) + _ROUND, 0))
