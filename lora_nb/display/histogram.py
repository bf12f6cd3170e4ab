"""How long the rows are: the lengths of every split in one picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lora_nb.data.lengths import Lengths
from lora_nb.display import style
from lora_nb.display.figure import DPI, HEIGHT, WIDTH
from lora_nb.display.header import header
from lora_nb.display.legend import legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["histogram_alt", "length_histogram"]

_BINS = 40
_NICE = (1, 2, 5, 10, 20, 25, 50)
_Dashes = Literal["-"] | tuple[float, tuple[float, ...]]
_LOOKS: dict[str, tuple[str, _Dashes]] = {
    "train": (style.TRAIN, "-"),
    "valid": (style.VALID, (0, (5, 1.5))),
    "test": ("#007a59", (0, (1.5, 1.2))),
}
# If the longest row is beyond this many times the 99th percentile, the bars end soon after that
# percentile, and the last one gathers what is longer.
_FAR = 2.0
_SOON = 1.2
# A limit farther away than this is told, not drawn, else it would leave the bars no room.
_NEAR = 1.6


@dataclass(frozen=True)
class _Grid:
    """The edges of the bars, and whether the last one holds all that is longer too."""

    edges: NDArray[np.float64]
    gathers: bool


def length_histogram(
    lengths: Mapping[str, Lengths],
    *,
    unit: str,
    limit: int | None = None,
    title: str = "",
    width: float = WIDTH,
    height: float = HEIGHT,
    dpi: float = DPI,
) -> Figure:
    """The share of each split's rows over their length; `limit` is drawn as a line.

    `unit` is tokens or characters, `width` and `height` are in inches.
    """
    from matplotlib.ticker import MaxNLocator

    figure = style.blank(width, height, dpi)
    told = {name: counts for name, counts in lengths.items() if counts}
    axes = style.axes_on(figure, header(figure, title, ()), across=f"{unit} in a row", up="share")
    axes.yaxis.set_major_formatter(_percent)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(_whole)
    if not told:
        axes.set_xticks([])
        axes.set_yticks([])
        return figure
    grid = _grid(told)
    shown = [_bars(axes, name, counts, grid) for name, counts in told.items()]
    axes.set_xlim(grid.edges[0], grid.edges[-1])
    axes.set_ylim(0, axes.get_ylim()[1] * (1.12 if limit is not None else 1.0))
    if limit is not None:
        _limit(axes, limit, sum(counts.above(limit) for counts in told.values()))
    if grid.gathers:
        _gathered(axes, max(counts.quantile(1) for counts in told.values()))
    legend_above(figure, shown)
    return figure


def histogram_alt(lengths: Mapping[str, Lengths], *, unit: str, limit: int | None = None) -> str:
    """What the picture shows, in words."""
    parts = [
        f"{name}: {len(counts):,} {'row' if len(counts) == 1 else 'rows'} of "
        f"{counts.quantile(0):,} to {counts.quantile(1):,} {unit}, half of them up to "
        f"{counts.quantile(0.5):,}, 95 % up to {counts.quantile(0.95):,}"
        for name, counts in lengths.items()
        if counts
    ]
    if not parts:
        return "There are no rows to draw."
    if limit is not None:
        over = sum(counts.above(limit) for counts in lengths.values())
        parts.append(f"max_seq_length is {limit:,}, {_many(over)} longer")
    return f"Histogram of row lengths in {unit}. {'; '.join(parts)}."


def _many(rows: int) -> str:
    if not rows:
        return "no row is"
    return "1 row is" if rows == 1 else f"{rows:,} rows are"


def _percent(value: float, _place: float) -> str:
    return f"{100 * value:.3g} %"


def _whole(value: float, _place: float) -> str:
    return f"{value:,.0f}"


def _grid(lengths: Mapping[str, Lengths]) -> _Grid:
    low = min(counts.quantile(0) for counts in lengths.values())
    high = max(counts.quantile(1) for counts in lengths.values())
    usual = max(counts.quantile(0.99) for counts in lengths.values())
    gathers = high > _FAR * usual
    if gathers:
        high = int(_SOON * usual)
    size = _nice(max(1, high - low + 1) / _BINS)
    first = max(0, low // size - 1) * size
    count = -(-(high + 1 - first) // size) + (0 if gathers else 1)
    return _Grid(first + size * np.arange(count + 1, dtype=np.float64), gathers)


def _nice(least: float) -> int:
    """The smallest round number that is no smaller."""
    factor = 1
    while True:
        for step in _NICE:
            if step * factor >= least:
                return step * factor
        factor *= 100


def _bars(axes: Axes, name: str, counts: Lengths, grid: _Grid) -> Line2D:
    from matplotlib.lines import Line2D

    colour, dashes = _LOOKS.get(name, (style.INK, "-"))
    values = np.array([length for length, _ in counts.counts], np.float64)
    weights = np.array([count for _, count in counts.counts], np.float64)
    inside = np.clip(values, grid.edges[0], grid.edges[-1] - 0.5)
    heights, _ = np.histogram(inside, grid.edges, weights=weights / weights.sum())
    if name == "train":
        axes.stairs(heights, grid.edges, fill=True, color=colour, alpha=0.25, linewidth=0, zorder=2)
    axes.stairs(
        heights, grid.edges, color=colour, linewidth=1.6, linestyle=dashes, zorder=3, baseline=None
    )
    label = style.drawable(f"{name} ({len(counts):,})")
    return Line2D([], [], color=colour, linewidth=2, linestyle=dashes, label=label)


def _limit(axes: Axes, limit: int, over: int) -> None:
    """A line at `max_seq_length`, or an arrow towards it if it is far to the right."""
    low, high = axes.get_xlim()
    words = f"max_seq_length {limit:,}"
    if limit > low + _NEAR * (high - low):
        _note(axes, f"{words} →", 1.0, "right")
        return
    axes.set_xlim(low, max(high, limit + 0.03 * (limit - low)))
    low, high = axes.get_xlim()
    axes.axvline(limit, color=style.INK, linewidth=1.3, linestyle="--", zorder=4)
    if over:
        axes.axvspan(limit, high, color=style.INK, alpha=0.07, linewidth=0, zorder=1)
        words += f"; {_many(over)} longer"
    share = (limit - low) / (high - low)
    left = share < 0.5
    _note(axes, f" {words} ", max(0.0, share), "left" if left else "right")


def _note(axes: Axes, words: str, place: float, side: str) -> None:
    from matplotlib.patheffects import withStroke

    axes.text(
        place,
        0.985,
        words,
        transform=axes.transAxes,
        ha=side,
        va="top",
        color=style.INK,
        fontproperties=style.font(),
        path_effects=[withStroke(linewidth=3, foreground=style.PAPER)],
        zorder=6,
        parse_math=False,
    )


def _gathered(axes: Axes, longest: int) -> None:
    axes.text(
        1.0,
        -0.115,
        f"last bar: up to {longest:,}",
        transform=axes.transAxes,
        ha="right",
        va="top",
        color=style.MARKS,
        fontproperties=style.font(8),
        parse_math=False,
    )
