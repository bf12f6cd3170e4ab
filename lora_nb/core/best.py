"""Which validation was the best, and when waiting for a better one is over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Best"]


@dataclass
class Best:
    """The lowest validation loss so far, and the lowest that a checkpoint holds.

    Step 0, before training, counts for the first alone: there is nothing to save yet. `patience`
    validations in a row that are not lower by more than `delta` end the waiting.
    """

    patience: int | None = None
    delta: float = 0.0
    loss: float = math.inf
    step: int = -1
    saved_loss: float = math.inf
    saved_step: int = -1
    waited: int = 0
    to_beat: float = math.inf

    def take(self, step: int, loss: float) -> bool:
        """Take in the loss of a validation; whether none was lower before."""
        if loss < self.to_beat - self.delta:
            self.to_beat, self.waited = loss, 0
        else:
            # A loss that is no number is none that has fallen.
            self.waited += 1
        if step > 0 and loss < self.saved_loss:
            self.saved_loss, self.saved_step = loss, step
        if not loss < self.loss:
            return False
        self.loss, self.step = loss, step
        return True

    @property
    def gave_up(self) -> bool:
        """Whether the loss has not fallen for as long as one was willing to wait."""
        return self.patience is not None and self.waited >= self.patience

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `as_state` gave, but for `patience` and `delta`, which may be new."""
        for key in ("loss", "step", "saved_loss", "saved_step", "waited", "to_beat"):
            value = state[key]
            setattr(self, key, math.inf if value is None else value)

    def as_state(self) -> dict[str, Any]:
        """All of it for a checkpoint's state; JSON has no infinity, so that becomes None."""
        return {key: None if value == math.inf else value for key, value in asdict(self).items()}
