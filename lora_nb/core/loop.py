"""The training loop: steps, reports, validations, checkpoints, and requests in between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim

from lora_nb.config import TrainConfig
from lora_nb.config.rules import DEFAULT_ITERS, bytes_of
from lora_nb.core.batching import Split, TokenBatch
from lora_nb.core.best import Best
from lora_nb.core.evaluate import Evaluator, perplexity_of
from lora_nb.core.forward import Forward
from lora_nb.core.meter import Meter
from lora_nb.core.step import Stepper, StepResult
from lora_nb.core.trees import value_of
from lora_nb.errors import LoraError
from lora_nb.runs.events import Event, Progress, ValidLoss

__all__ = ["Outcome", "Requests", "Trainer", "steps_of"]

_FEW = 4


class Requests(Protocol):
    """What the loop asks of the outside between two steps."""

    def stop_wanted(self, step: int) -> bool:
        """Whether to stop now; returns only when the loop may go on (a pause waits inside)."""
        ...

    def evaluation_wanted(self) -> bool:
        """Whether somebody asked for a validation since the last call."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How the loop ended, after how many steps, and whether it gave up waiting (`early`)."""

    status: Literal["completed", "stopped"]
    step: int
    early: bool = False


@dataclass(frozen=True)
class _Running:
    """A step whose results are not looked at yet."""

    step: int
    batch: TokenBatch
    result: StepResult
    updated: bool


def steps_of(config: TrainConfig, train: Split) -> int:
    """The steps of a run: `iters`, or as many as `epochs` take."""
    if config.epochs is not None:
        return max(1, math.ceil(config.epochs * train.plan.per_epoch))
    return config.iters or DEFAULT_ITERS


@dataclass
class Trainer:
    """Trains a model that is ready for it. `save(step, best)` keeps what has been learnt."""

    model: nn.Module
    optimizer: optim.Optimizer
    config: TrainConfig
    train: Split
    valid: Split | None
    emit: Callable[[Event], None]
    save: Callable[[int, bool], None]
    requests: Requests
    forward: Forward | None = None
    after_step: Callable[[int], None] = lambda step: None
    best: Best = field(init=False)
    stepper: Stepper = field(init=False)
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        self.stepper = Stepper(
            self.model,
            self.optimizer,
            seed=self.config.seed,
            max_grad_norm=self.config.max_grad_norm,
            forward=self.forward,
        )
        self.meter = Meter(steps_of(self.config, self.train), self.train.plan.per_epoch)
        self.best = Best(self.config.early_stop, self.config.early_stop_delta)
        self._evaluate = Evaluator(self.model, self.forward)
        size = self.config.clear_cache_threshold
        self._cache_limit = None if size is None else bytes_of(size)
        self._pending: _Running | None = None
        self._saved = 0

    def run(self) -> Outcome:
        """Train to the end, or until a stop is wanted. What has been learnt is saved either way.

        Raises LoraError if the loss is no longer a number; checkpoints before that stay.
        """
        total = self.meter.steps
        self.model.train()
        if not self._validate(0):
            return self._finish("stopped", 0)
        self.meter.start()
        for step in range(1, total + 1):
            if self._stop_wanted(step - 1):
                return self._finish("stopped", step - 1)
            self._take(step, total)
            self.after_step(step)
            asked = self.requests.evaluation_wanted()
            if (asked or self._due(step, total)) and not self._after(step, total, asked=asked):
                return self._finish("stopped", step)
            if self.best.gave_up:
                return self._finish("completed", step, early=step < total)
        return self._finish("completed", total)

    def _stop_wanted(self, step: int) -> bool:
        # A pause waits in here, and is no training time.
        self.meter.pause()
        try:
            return self.requests.stop_wanted(step)
        finally:
            self.meter.start()

    def _take(self, step: int, total: int) -> None:
        update = step % self.config.grad_accumulation_steps == 0 or step == total
        batch = self.train.batch(step - 1)
        result = self.stepper(batch, step, update=update)
        self._settle()
        self._pending = _Running(step, batch, result, update)
        if self._cache_limit is not None and mx.get_cache_memory() > self._cache_limit:
            mx.clear_cache()

    def _settle(self) -> None:
        """Look at the results of the step before, which the device has by now."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        loss, norm = value_of(pending.result.loss), value_of(pending.result.norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise LoraError(self._diverged(pending, loss))
        self.meter.add(loss, pending.batch.count, norm, updated=pending.updated)

    def _diverged(self, at: _Running, loss: float) -> str:
        what = f"the loss is {loss}" if not math.isfinite(loss) else "the gradient is not finite"
        first = f"Step {at.step}: {what}. Training was stopped, checkpoints before it are kept."
        rows = at.batch.rows
        alone = [self.train.part(at.step - 1, n, n + 1) for n in range(len(rows))]
        guilty = [row.rows[0] for row in alone if not self.stepper.is_finite(row, at.step)]
        if 0 < len(guilty) < len(rows):
            return f"{first} Alone, too, these rows give no number: {_named(guilty)}. Look at them."
        why = "Each of its rows alone gives none either" if guilty else "Alone they give numbers"
        return (
            f"{first} {why}: {_named(rows)}. Try a smaller learning_rate, max_grad_norm 1.0, "
            "or look at these rows."
        )

    def _due(self, step: int, total: int) -> bool:
        config = self.config
        every = (config.steps_per_report, config.steps_per_eval, config.save_every)
        return step == total or any(step % n == 0 for n in every)

    def _after(self, step: int, total: int, *, asked: bool) -> bool:
        """Report, validate (also if `asked`) and save where that is due.

        False if a stop came in between.
        """
        self._settle()
        last = step == total
        if last or step % self.config.steps_per_report == 0:
            self.emit(self.meter.report(step, self.stepper.learning_rate))
        if last or asked or step % self.config.steps_per_eval == 0:
            going_on = self._between(partial(self._validate, step))
            if not going_on and not last:
                return False
        # The best one can't be had later; whatever ends the loop here is saved at the end.
        due = step % self.config.save_every == 0 or step == self.best.saved_step
        if due and not last and not self.best.gave_up:
            self._between(partial(self._save, step))
        return True

    def _between(self, work: Callable[[], bool]) -> bool:
        """Do something that is no training step; its time doesn't count as training."""
        self._settle()
        self.meter.pause()
        try:
            return work()
        finally:
            self.meter.start()

    def _save(self, step: int) -> bool:
        self.save(step, step == self.best.saved_step)
        self._saved = step
        return True

    def _validate(self, step: int) -> bool:
        if self.valid is None or self.config.val_batches == 0:
            return True
        started = time.perf_counter()

        def tick(done: int, total: int) -> bool:
            self.emit(Progress(stage="validating", done=done, total=total))
            return not self.requests.stop_wanted(step)

        found = self._evaluate(self.valid, self.config.val_batches, tick)
        if found is None:
            return False
        best = self.best.take(step, found.loss)
        self.emit(
            ValidLoss(
                step=step,
                loss=found.loss,
                perplexity=perplexity_of(found.loss),
                tokens=found.tokens,
                seconds=time.perf_counter() - started,
                best=best,
            )
        )
        return True

    def _finish(
        self, status: Literal["completed", "stopped"], step: int, *, early: bool = False
    ) -> Outcome:
        self._settle()
        if self.meter.has_steps:
            self.emit(self.meter.report(step, self.stepper.learning_rate))
        if step != self._saved:
            self._save(step)
        return Outcome(status, step, early)


def _named(rows: Sequence[str]) -> str:
    more = f" and {len(rows) - _FEW} more" if len(rows) > _FEW else ""
    return ", ".join(rows[:_FEW]) + more
