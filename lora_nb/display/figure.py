"""Pictures of a run: its loss curve, several runs in one, and a card where there is no curve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lora_nb.display import marks, style
from lora_nb.display.alt import alt_of, alt_text
from lora_nb.display.curve import points
from lora_nb.display.header import header
from lora_nb.display.legend import legend_above, legend_inside
from lora_nb.display.picture import png
from lora_nb.display.state import RunState, state_of
from lora_nb.runs.events import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = [
    "DPI",
    "HEIGHT",
    "WIDTH",
    "alt_of",
    "alt_text",
    "draw",
    "loss_curve",
    "overlay_curves",
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
) -> Figure:
    """The same from a state that is already there."""
    figure = style.blank(width, height, dpi)
    top = header(figure, title, lines)
    axes = style.axes_on(figure, top)
    shown = marks.train(axes, points(state.train_losses), style.TRAIN, "train")
    shown += marks.valid(axes, points(state.valid_losses), style.VALID, "validation")
    shown += marks.checkpoints(axes, state)
    _span(axes, [state])
    marks.best_point(axes, state)
    if not state.has_curve:
        axes.set_yticks([])
    if not (state.step or state.planned):
        axes.set_xticks([])
    legend_above(figure, shown)
    return figure


def overlay_curves(
    named: Mapping[str, Iterable[Record]],
    *,
    title: str = "",
    width: float = WIDTH,
    height: float = HEIGHT,
    dpi: float = DPI,
) -> Figure:
    """Several runs in one picture, by name: a colour each, training solid, validation dashed."""
    figure = style.blank(width, height, dpi)
    axes = style.axes_on(figure, header(figure, title, ()))
    states = {name: state_of(records) for name, records in named.items()}
    shown: list[Line2D] = []
    for place, (name, state) in enumerate(states.items()):
        colour = style.RUN_COLOURS[place % len(style.RUN_COLOURS)]
        lines = marks.train(axes, points(state.train_losses), colour, name)
        lines += marks.valid(axes, points(state.valid_losses), colour, name, dashed=True)
        shown += lines[:1]
    _span(axes, list(states.values()))
    legend_inside(axes, shown)
    return figure


def _span(axes: Axes, states: Sequence[RunState]) -> None:
    running = any(state.ended is None for state in states)
    reached = max((state.step for state in states), default=0)
    planned = max((state.planned for state in states), default=0)
    axes.set_xlim(0, max(reached, planned if running else 0, 1))
