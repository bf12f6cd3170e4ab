"""The lines and marks of losses over steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_nb.display import style
from lora_nb.display.curve import MANY, Points, points, smooth, thin
from lora_nb.display.state import RunState
from lora_nb.display.words import loss
from lora_nb.runs.events import ValidLoss

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["Look", "Stroke", "best_point", "ring", "strokes"]

Look = tuple[tuple[str, object], ...]


@dataclass(frozen=True)
class Stroke:
    """A line to draw: its points, how it looks, and whether the legend names it.

    With `on_edge`, its heights are shares of the picture's, not losses.
    """

    points: Points
    look: Look
    named: bool = True
    on_edge: bool = False

    def put(self, axes: Axes) -> Line2D:
        """Add the line to a picture."""
        look: dict[str, Any] = dict(self.look)
        if self.on_edge:
            look["transform"] = axes.get_xaxis_transform()
        (line,) = axes.plot(*self._across_and_up(), **look)
        return line

    def move(self, line: Line2D) -> None:
        """Give a line of the same look these points."""
        line.set_data(*self._across_and_up())

    def _across_and_up(self) -> tuple[list[int], list[float]]:
        return [step for step, _ in self.points], [value for _, value in self.points]


def strokes(state: RunState) -> list[Stroke]:
    """The lines of a run, the uppermost last."""
    return [
        *_train(points(state.train_losses)),
        *_valid(points(state.valid_losses)),
        *_checkpoints(state),
    ]


def _look(**look: object) -> Look:
    return tuple(look.items())


def _train(curve: Points) -> list[Stroke]:
    """The training loss: dots while few, a smoothed line over a pale raw one once many."""
    if not curve:
        return []
    named = {"color": style.TRAIN, "linestyle": "-", "label": "train", "linewidth": 1.8}
    if len(curve) < MANY:
        dot = "o" if len(curve) < MANY // 2 else "None"
        return [Stroke(curve, _look(**named, marker=dot, markersize=3, zorder=3))]
    raw = _look(color=style.TRAIN, linewidth=0.8, alpha=0.35, marker="None", zorder=2)
    return [
        Stroke(thin(curve), raw, named=False),
        Stroke(thin(smooth(curve)), _look(**named, marker="None", zorder=3)),
    ]


def _valid(curve: Points) -> list[Stroke]:
    """The validation loss, with a marker at every validation."""
    if not curve:
        return []
    look = _look(
        color=style.VALID,
        linestyle="-",
        linewidth=1.4,
        marker="D",
        markersize=5.5 if len(curve) <= MANY else 3.0,
        markeredgecolor=style.PAPER,
        markeredgewidth=0.8,
        zorder=4,
        clip_on=False,
        label="validation",
    )
    return [Stroke(thin(curve), look)]


def _checkpoints(state: RunState) -> list[Stroke]:
    """Small ticks on the step axis where there is a checkpoint."""
    steps = sorted({saved.step for saved in state.checkpoints})
    if not steps:
        return []
    look = _look(
        color=style.MARKS,
        linestyle="None",
        marker="^",
        markersize=6,
        markeredgewidth=0,
        clip_on=False,
        zorder=5,
        label="checkpoint",
    )
    return [Stroke([(step, 0.0) for step in steps], look, on_edge=True)]


def best_point(axes: Axes, state: RunState) -> list[Artist]:
    """A ring round the lowest validation loss, with its value and step."""
    from matplotlib.patheffects import withStroke

    best = state.best
    if best is None:
        return []
    low, high = axes.get_ylim()
    right = best.step > 0.7 * axes.get_xlim()[1]
    # Curves mostly fall: there is room above the point, unless it is itself near the top.
    above = (best.loss - low) < 0.65 * (high - low)
    words = axes.annotate(
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
    round_it = ring(axes, best, style.VALID, size=10, width=1.6)
    axes.set_ylim(low, high)
    return [words, round_it]


def ring(axes: Axes, at: ValidLoss, colour: str, *, size: float, width: float) -> Line2D:
    """A ring round a validation; `size` and `width` of its line are in points."""
    (line,) = axes.plot(
        [at.step],
        [at.loss],
        marker="o",
        markersize=size,
        markerfacecolor="none",
        markeredgecolor=colour,
        markeredgewidth=width,
        linestyle="None",
        clip_on=False,
        zorder=6,
    )
    return line
