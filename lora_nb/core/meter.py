"""What a training run reports: losses over an interval, rates, and the time left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from lora_nb.runs.events import TrainLoss

__all__ = ["Meter"]

_KEPT = (
    "trained_tokens",
    "elapsed",
    "reported",
    "_summed",
    "_tokens",
    "_count",
    "_norm",
    "_busy",
)


@dataclass
class Meter:
    """Gathers the steps since the last report. Only time in training steps counts.

    `reported` is the step of the last report that began a new interval.
    """

    steps: int
    per_epoch: int
    trained_tokens: int = 0
    elapsed: float = 0.0
    reported: int = 0
    _summed: float = 0.0
    _tokens: int = 0
    _count: int = 0
    _norm: float = 0.0
    _busy: float = 0.0
    _started: float | None = None

    def start(self) -> None:
        """Training (again) takes the device."""
        self._started = time.perf_counter()

    def pause(self) -> None:
        """Something else takes it."""
        if self._started is not None:
            self._busy += time.perf_counter() - self._started
            self._started = None

    def add(self, loss: float, tokens: int, norm: float, *, updated: bool) -> None:
        """A step is done: its summed loss, trained tokens and gradient norm."""
        self._summed += loss
        self._tokens += tokens
        self._count += 1
        if updated:
            self._norm = norm

    @property
    def has_steps(self) -> bool:
        """Whether steps came in since the last report."""
        return self._count > 0

    def report(self, step: int, learning_rate: float) -> TrainLoss:
        """The report of the steps since the last one; a new interval begins."""
        event = self.interim(step, learning_rate)
        self.trained_tokens += self._tokens
        self.elapsed += self._busy
        self.reported = step
        self._summed, self._tokens, self._count, self._busy = 0.0, 0, 0, 0.0
        self.start()
        return event

    def interim(self, step: int, learning_rate: float) -> TrainLoss:
        """A report in the midst of an interval, which goes on: of a last step between reports."""
        self.pause()
        busy = max(self._busy, 1e-9)
        rate = self._count / busy
        return TrainLoss(
            step=step,
            steps=self.steps,
            epoch=round(step / self.per_epoch, 4),
            loss=self._summed / max(self._tokens, 1),
            learning_rate=learning_rate,
            tokens_per_second=self._tokens / busy,
            iterations_per_second=rate,
            trained_tokens=self.trained_tokens + self._tokens,
            peak_memory=mx.get_peak_memory() / 1e9,
            grad_norm=self._norm,
            elapsed=self.elapsed + self._busy,
            eta=(self.steps - step) / rate,
        )

    def as_state(self) -> dict[str, Any]:
        """What a checkpoint needs of it; read it while the meter is paused."""
        return {key: getattr(self, key) for key in _KEPT}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `as_state` gave."""
        for key in _KEPT:
            setattr(self, key, state[key])
