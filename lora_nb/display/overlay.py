"""The losses of several runs in one picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lora_nb.display import marks, style
from lora_nb.display.curve import MANY, Points, points, smooth, thin
from lora_nb.display.header import header, shortened
from lora_nb.display.legend import legend_on
from lora_nb.display.state import RunState, state_of
from lora_nb.display.words import loss
from lora_nb.runs.events import Record, ValidLoss

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["overlay_alt", "overlay_curves", "overlay_of"]

WIDTH = 7.2
DPI = 80
_PLOT = 2.9
_ROW = 0.2
_CHAR = 0.07
_HANDLE = 0.55
_LONGEST = 60
# A loss this many times of what runs start at is left outside of the picture.
_DIVERGED = 1.5
# One colour, marker and dash each, so that no two of so many look the same.
_NAMED = 21
_MARKERS = "oDs^vPX"
_DASHES = ("-", "--", ":")


def overlay_curves(
    named: Mapping[str, Iterable[Record]], *, title: str = "", lines: Sequence[str] = ()
) -> Figure:
    """Several runs by name: training faint, validation strong, the best one of all ringed."""
    states = {name: state_of(records) for name, records in named.items()}
    return overlay_of(states, title=title, lines=lines)


def overlay_of(
    states: Mapping[str, RunState], *, title: str = "", lines: Sequence[str] = ()
) -> Figure:
    """The same from states; runs without losses are named, too, so that the size stays."""
    columns = _columns(states)
    rows = math.ceil(min(len(states), _NAMED) / columns) + (len(states) > _NAMED)
    words = 0.24 + 0.175 * max(2, len(lines)) + 0.5
    figure = style.blank(WIDTH, words + _ROW * rows + _PLOT, DPI)
    top = header(figure, title, lines)
    axes = style.axes_on(figure, top + _ROW * rows + 0.1)
    shown = [
        _draw(axes, _label(name, state), state, place)
        for place, (name, state) in enumerate(states.items())
    ]
    _span(axes, list(states.values()))
    if lowest := _lowest(states):
        marks.ring(axes, lowest[1], style.INK, size=11, width=1.4)
    _legend(figure, axes, shown, columns, top)
    return figure


def overlay_alt(states: Mapping[str, RunState]) -> str:
    """One sentence that tells what the picture shows."""
    lowest = _lowest(states)
    many = f"Losses of {len(states)} run{'' if len(states) == 1 else 's'} over steps"
    if lowest is None:
        return f"{many}, none with a validation yet."
    name, best = lowest
    return f"{many}; the lowest validation loss is {loss(best.loss)}, of {name}."


def _lowest(states: Mapping[str, RunState]) -> tuple[str, ValidLoss] | None:
    """The lowest validation of all runs and whose it is; a run that has failed is no choice."""
    told = [
        (name, state.best)
        for name, state in states.items()
        if state.best and state.status != "failed"
    ]
    return min(told, key=lambda pair: pair[1].loss, default=None)


def _columns(states: Mapping[str, RunState]) -> int:
    longest = max(map(len, states), default=1)
    # With room for a loss behind each, so that the columns stay when it comes.
    width = _CHAR * min(longest + 9, _LONGEST) + _HANDLE
    return max(1, min(len(states), int((WIDTH - 0.3) / width)))


def _label(name: str, state: RunState) -> str:
    best = f" ({loss(state.best.loss)})" if state.best else ""
    return f"{shortened(name, _LONGEST - 9)}{best}"


def _draw(axes: Axes, label: str, state: RunState, place: int) -> Line2D:
    """Draw a run; returns the line that stands for it in the legend."""
    look: dict[str, Any] = {
        "color": style.RUN_COLOURS[place % len(style.RUN_COLOURS)],
        "linestyle": _DASHES[place // len(style.RUN_COLOURS) % len(_DASHES)],
    }
    train, valid = points(state.train_losses), points(state.valid_losses)
    faint = 0.35 if valid else 1.0
    smoothed = thin(smooth(train) if len(train) >= MANY else train)
    _line(axes, smoothed, linewidth=1.1, alpha=faint, marker="None", zorder=2, **look)
    return _line(
        axes,
        thin(valid),
        linewidth=2.0,
        marker=_MARKERS[place % len(_MARKERS)],
        markersize=5.0 if len(valid) <= MANY else 2.5,
        markeredgecolor=style.PAPER,
        markeredgewidth=0.6,
        zorder=4,
        label=style.drawable(label),
        **look,
    )


def _line(axes: Axes, curve: Points, **look: Any) -> Line2D:
    (line,) = axes.plot([step for step, _ in curve], [value for _, value in curve], **look)
    return line


def _span(axes: Axes, states: Sequence[RunState]) -> None:
    """The planned steps while a run goes on; losses up to what a run may start at.

    One run that has diverged would else press all others flat.
    """
    going = [state.planned for state in states if state.ended is None]
    most = max([1, *going, *(state.step for state in states)])
    # Room for half a marker, since what lies outside is cut off.
    axes.set_xlim(-0.01 * most, 1.01 * most)
    curves = [curve for state in states for curve in (state.train_losses, state.valid_losses)]
    told = [value for curve in curves for value in curve.values() if math.isfinite(value)]
    if not told:
        axes.set_yticks([])
        return
    first = [curve[min(curve)] for curve in curves if curve]
    usual = max([value for value in first if math.isfinite(value)], default=max(told))
    low, high = min(told), min(max(told), _DIVERGED * usual)
    room = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    axes.set_ylim(low - room, high + room)


def _legend(figure: Figure, axes: Axes, shown: Sequence[Line2D], columns: int, top: float) -> None:
    """Name the runs between the title and the curves, clear of both."""
    from matplotlib.lines import Line2D

    if not shown:
        return
    width, height = figure.get_size_inches()
    handles = list(shown[:_NAMED])
    if more := len(shown) - len(handles):
        handles.append(Line2D([], [], linestyle="None", label=f"and {more} more"))
    legend_on(
        axes,
        handles,
        loc="upper left",
        bbox_to_anchor=(0.12 / width, 1 - (top - 0.26) / height),
        bbox_transform=figure.transFigure,
        ncols=columns,
        handlelength=2.2,
        columnspacing=1.2,
        borderpad=0.2,
        labelspacing=0.3,
    )
