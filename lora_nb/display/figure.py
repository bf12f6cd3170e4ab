"""The picture of a run: its loss curve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lora_nb.display import marks, style
from lora_nb.display.alt import alt_of, alt_text
from lora_nb.display.header import header
from lora_nb.display.legend import legend_above
from lora_nb.display.limits import Span, steps_across
from lora_nb.display.picture import png
from lora_nb.display.state import RunState, state_of
from lora_nb.runs.events import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "DPI",
    "HEIGHT",
    "WIDTH",
    "alt_of",
    "alt_text",
    "draw",
    "loss_curve",
    "png",
]

WIDTH = 6.4
HEIGHT = 3.2
DPI = 80


def loss_curve(
    records: Iterable[Record],
    *,
    title: str = "",
    lines: Sequence[str] = (),
    width: float = WIDTH,
    height: float = HEIGHT,
    dpi: float = DPI,
) -> Figure:
    """Training and validation loss over the steps; `width`, `height` in inches.

    `lines` are written under the title. While the run goes on, the axis spans its planned steps.
    """
    return draw(state_of(records), title=title, lines=lines, width=width, height=height, dpi=dpi)


def draw(
    state: RunState,
    *,
    title: str = "",
    lines: Sequence[str] = (),
    width: float = WIDTH,
    height: float = HEIGHT,
    dpi: float = DPI,
    limits: Span | None = None,
) -> Figure:
    """The same from a state that is already there; `limits` are the losses to show."""
    figure = style.blank(width, height, dpi)
    top = header(figure, title, lines)
    axes = style.axes_on(figure, top)
    strokes = marks.strokes(state)
    put = [stroke.put(axes) for stroke in strokes]
    axes.set_xlim(0, steps_across(state))
    if limits is not None:
        axes.set_ylim(*limits)
    marks.best_point(axes, state)
    if not state.has_curve:
        axes.set_yticks([])
    if not (state.step or state.planned):
        axes.set_xticks([])
    paired = zip(strokes, put, strict=True)
    legend_above(figure, [line for stroke, line in paired if stroke.named])
    return figure
