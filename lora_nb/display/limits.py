"""How far up and down the picture of a run that goes on reaches."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from lora_nb.display.state import RunState

__all__ = ["EMPTY", "Span", "limits", "steps_across"]

Span = tuple[float, float]

EMPTY: Span = (0.0, 1.0)
# Shares of the height that the losses take: above them, below them, and at least left of both.
_ABOVE = 0.05
_BELOW = 0.35
_LEAST = 0.015
# With so many losses it is known how much they vary; then they take this share of the height.
_SETTLED = 10
_FILLED = 0.33
# A single loss is given room by its size.
_ALONE = 0.1
_HUGE = 1e300


def limits(state: RunState, before: Span | None = None) -> Span:
    """The lowest and highest loss to show: those of `before` for as long as they do.

    There is some room below the losses, since they mostly fall, but not far below zero.
    """
    told = [*_finite(state.train_losses), *(_finite(state.valid_losses))]
    if not told:
        return EMPTY
    low, high = min(told), max(told)
    return before if before and _still_fit(before, low, high, told) else _fitted(low, high)


def steps_across(state: RunState) -> int:
    """The last step to show: the planned one while the run goes on."""
    planned = state.planned if state.ended is None else 0
    return max(state.step, planned, 1)


def _finite(losses: Mapping[int, float]) -> list[float]:
    return [loss for loss in losses.values() if math.isfinite(loss) and abs(loss) < _HUGE]


def _still_fit(before: Span, low: float, high: float, told: Collection[float]) -> bool:
    bottom, top = before
    least = _LEAST * (high - low)
    if low - least < bottom or high + least > top:
        return False
    return len(told) < _SETTLED or high == low or high - low > _FILLED * (top - bottom)


def _fitted(low: float, high: float) -> Span:
    span = (high - low) or _ALONE * abs(high) or 1.0
    bottom, top = low - _BELOW * span, high + _ABOVE * span
    return (max(bottom, -_ABOVE * high) if low >= 0 else bottom), top
