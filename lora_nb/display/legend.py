"""What the lines of a picture are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_nb.display import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["legend_above"]


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
