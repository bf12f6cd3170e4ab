"""What the lines of a picture are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_nb.display import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["legend_above", "legend_inside"]


def legend_above(figure: Figure, shown: list[Line2D]) -> None:
    """Name the lines above the picture, clear of the curves, to the right of the title."""
    if not shown:
        return
    width, height = figure.get_size_inches()
    legend = figure.legend(
        handles=shown,
        loc="upper right",
        bbox_to_anchor=(1 - 0.1 / width, 1 - 0.02 / height),
        ncols=len(shown),
        prop=style.font(),
        labelcolor=style.INK,
        frameon=False,
        handlelength=1.4,
        columnspacing=1.0,
        handletextpad=0.5,
        borderpad=0.3,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def legend_inside(axes: Axes, shown: list[Line2D]) -> None:
    """Name the lines inside the picture, one under the other."""
    if not shown:
        return
    legend = axes.legend(
        handles=shown,
        loc="upper right",
        prop=style.font(),
        labelcolor=style.INK,
        frameon=True,
        facecolor=style.PAPER,
        edgecolor=style.PALE,
        framealpha=0.85,
        handlelength=1.4,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
