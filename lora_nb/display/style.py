"""How pictures look: an opaque light card that reads well on light and dark pages.

Everything is set on the artists themselves, so neither a user's rcParams nor a style sheet shows
through, and nothing global is touched.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

__all__ = [
    "INK",
    "MARKS",
    "PALE",
    "PAPER",
    "RUN_COLOURS",
    "TRAIN",
    "VALID",
    "VALID_TEXT",
    "axes_on",
    "blank",
    "drawable",
    "font",
]

PAPER = "#fbfbf9"
INK = "#24292f"
PALE = "#dcdcd8"
MARKS = "#57606a"
# Okabe and Ito's colours, safe for the usual kinds of colour blindness.
TRAIN = "#0072b2"
VALID = "#d55e00"
VALID_TEXT = "#a84300"
RUN_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a8508a", "#24292f", "#8a6d00", "#4aa3d8")
TEXT_POINTS = 9.5
_FAMILY = "DejaVu Sans"


@lru_cache(maxsize=8)
def font(size: float = TEXT_POINTS, *, bold: bool = False) -> FontProperties:
    """The font that comes with matplotlib, the same on every machine."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=_FAMILY, size=size, weight="bold" if bold else "normal")


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(font())).get_charmap())


def drawable(text: str) -> str:
    """Text with a box in place of every character that the font lacks (drawing those warns)."""
    known = _glyphs()
    return "".join(char if ord(char) in known and char.isprintable() else "□" for char in text)


def blank(width: float, height: float, dpi: float) -> Figure:
    """An empty figure of inches `width` x `height` with its own Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi, facecolor=PAPER, edgecolor=PAPER)
    # A user's rcParams may ask for a layout engine, which would move what is placed by hand.
    figure.set_layout_engine("none")
    FigureCanvasAgg(figure)
    return figure


def axes_on(figure: Figure, top: float, *, across: str = "step", up: str = "loss") -> Axes:
    """Axes whose upper edge is `top` inches below the figure's; `across`, `up` name them."""
    from matplotlib.ticker import MaxNLocator

    width, height = figure.get_size_inches()
    left, right, bottom = 0.58 / width, 0.28 / width, 0.52 / height
    axes = figure.add_axes((left, bottom, 1 - left - right, 1 - bottom - top / height))
    axes.set_facecolor(PAPER)
    axes.grid(True, axis="y", color=PALE, linewidth=0.8, linestyle="-", alpha=1.0)
    axes.grid(False, axis="x")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set(color=MARKS, linewidth=0.8, visible=True)
    axes.tick_params(axis="both", color=MARKS, direction="out", width=0.8)
    axes.tick_params(axis="both", labelcolor=INK, labelsize=TEXT_POINTS, labelfontfamily=_FAMILY)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel(across, fontproperties=font(), color=INK, labelpad=2)
    figure.text(left, 1 - (top - 0.06) / height, up, color=INK, fontproperties=font(), ha="right")
    return axes
