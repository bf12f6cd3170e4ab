"""A small picture for runs without a loss curve (tests, conversions, fusing): words and a bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_nb.display import style
from lora_nb.display.header import LINE, header
from lora_nb.display.state import RunState

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["HEIGHT", "draw_card"]

HEIGHT = 0.9


def draw_card(
    state: RunState,
    *,
    title: str = "",
    lines: Sequence[str] = (),
    width: float = 6.4,
    dpi: float = 80,
) -> Figure:
    """Title, up to three lines, and a bar along the lower edge while a stage is under way."""
    figure = style.blank(width, HEIGHT + LINE, dpi)
    header(figure, title, lines)
    told = state.progress
    if told and told.total > 0 and not state.ended:
        _bar(figure, min(1.0, told.done / told.total))
    return figure


def _bar(figure: Figure, share: float) -> None:
    axes = figure.add_axes((0.03, 0.07, 0.94, 0.06))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.axvspan(0, 1, color=style.PALE, linewidth=0)
    axes.axvspan(0, share, color=style.TRAIN, linewidth=0)
