"""The lines and marks of losses over steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lora_nb.display import style
from lora_nb.display.curve import MANY, Points, smooth, thin
from lora_nb.display.state import RunState
from lora_nb.display.words import loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["best_point", "checkpoints", "train", "valid"]


def _line(axes: Axes, curve: Points, **look: Any) -> Line2D:
    steps = [step for step, _ in curve]
    losses = [value for _, value in curve]
    (line,) = axes.plot(steps, losses, **look)
    return line


def train(axes: Axes, curve: Points, colour: str, name: str) -> list[Line2D]:
    """The training loss: dots while few, a smoothed line over a pale raw one once many."""
    if not curve:
        return []
    look: dict[str, object] = {"color": colour, "linestyle": "-", "label": style.drawable(name)}
    if len(curve) < MANY:
        dot = "o" if len(curve) < MANY // 2 else "None"
        return [_line(axes, curve, linewidth=1.8, marker=dot, markersize=3, zorder=3, **look)]
    _line(axes, thin(curve), color=colour, linewidth=0.8, alpha=0.35, marker="None", zorder=2)
    return [_line(axes, thin(smooth(curve)), linewidth=1.8, marker="None", zorder=3, **look)]


def valid(
    axes: Axes, curve: Points, colour: str, name: str, *, dashed: bool = False
) -> list[Line2D]:
    """The validation loss, with a marker at every validation."""
    if not curve:
        return []
    size = 5.5 if len(curve) <= MANY else 3.0
    return [
        _line(
            axes,
            thin(curve),
            color=colour,
            linestyle="--" if dashed else "-",
            linewidth=1.4,
            marker="D",
            markersize=size,
            markeredgecolor=style.PAPER,
            markeredgewidth=0.8,
            zorder=4,
            clip_on=False,
            label=style.drawable(name),
        )
    ]


def checkpoints(axes: Axes, state: RunState) -> list[Line2D]:
    """Small ticks on the step axis where there is a checkpoint."""
    steps = sorted({saved.step for saved in state.checkpoints})
    if not steps:
        return []
    (line,) = axes.plot(
        steps,
        [0.0] * len(steps),
        transform=axes.get_xaxis_transform(),
        color=style.MARKS,
        linestyle="None",
        marker="^",
        markersize=6,
        markeredgewidth=0,
        clip_on=False,
        zorder=5,
        label="checkpoint",
    )
    return [line]


def best_point(axes: Axes, state: RunState) -> None:
    """A ring round the lowest validation loss, with its value and step."""
    from matplotlib.patheffects import withStroke

    best = state.best
    if best is None:
        return
    low, high = axes.get_ylim()
    right = best.step > 0.7 * axes.get_xlim()[1]
    # Curves mostly fall: there is room above the point, unless it is itself near the top.
    above = (best.loss - low) < 0.65 * (high - low)
    axes.annotate(
        style.drawable(f"best {loss(best.loss)} at {best.step}"),
        (best.step, best.loss),
        xytext=(-4 if right else 4, 9 if above else -9),
        textcoords="offset points",
        ha="right" if right else "left",
        va="bottom" if above else "top",
        color=style.VALID_TEXT,
        fontproperties=style.font(bold=True),
        path_effects=[withStroke(linewidth=3, foreground=style.PAPER)],
        zorder=6,
        parse_math=False,
    )
    axes.plot(
        [best.step],
        [best.loss],
        marker="o",
        markersize=10,
        markerfacecolor="none",
        markeredgecolor=style.VALID,
        markeredgewidth=1.6,
        linestyle="None",
        clip_on=False,
        zorder=6,
    )
    axes.set_ylim(low, high)
