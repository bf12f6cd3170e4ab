"""What the lines of a picture are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lora_nb.display import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["legend_above", "legend_on"]


def legend_above(figure: Figure, shown: list[Line2D]) -> None:
    """Name the lines above the picture, clear of the curves, to the right of the title."""
    if not shown:
        return
    width, height = figure.get_size_inches()
    legend_on(
        figure,
        shown,
        loc="upper right",
        bbox_to_anchor=(1 - 0.1 / width, 1 - 0.02 / height),
        ncols=len(shown),
        handlelength=1.4,
        columnspacing=1.0,
        borderpad=0.3,
    )


def legend_on(on: Figure | Axes, handles: Sequence[Line2D], **place: Any) -> None:
    """A legend in the look of all pictures, its place and gaps as matplotlib's own options."""
    legend = on.legend(
        handles=handles,
        prop=style.font(),
        labelcolor=style.INK,
        frameon=False,
        handletextpad=0.5,
        **place,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
