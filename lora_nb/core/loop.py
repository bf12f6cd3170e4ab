"""The training loop: steps, reports, validations, checkpoints, and requests in between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim

from lora_nb.config import TrainConfig
from lora_nb.config.derived import DEFAULT_ITERS, bytes_of
from lora_nb.core.batching import Split, TokenBatch
from lora_nb.core.best import Best
from lora_nb.core.diverged import diverged
from lora_nb.core.evaluate import Evaluator, perplexity_of
from lora_nb.core.forward import Forward
from lora_nb.core.meter import Meter
from lora_nb.core.outside import Outcome, Requests
from lora_nb.core.step import Stepper, StepResult
from lora_nb.core.trees import value_of
from lora_nb.errors import LoraError
from lora_nb.runs.control import Pause, Request
from lora_nb.runs.events import Event, LearningRateSet, Notice, Progress, ValidLoss

__all__ = ["Outcome", "Requests", "Trainer", "steps_of"]


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
    """Trains a model that is ready for it. `save(step, best)` keeps what has been learnt.

    `start` is the step behind which a resumed run goes on; `rates` are learning rates that hold
    from the step after the one they are keyed by; `sample(step, request)` generates text.
    """

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
    sample: Callable[[int, Request], None] = lambda step, request: None
    start: int = 0
    rates: dict[int, float] = field(default_factory=dict)
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
        self._told = 0
        self._owed = False
        self._validated = -1

    def as_state(self) -> dict[str, Any]:
        """All that a checkpoint needs beside weights, optimizer and gathered gradients."""
        return {
            "best": self.best.as_state(),
            "meter": self.meter.as_state(),
            "validation_owed": self._owed,
        }

    def restore(self, step: int, state: Mapping[str, Any]) -> None:
        """Go on behind a step with what `as_state` gave there."""
        self.start = self._saved = step
        self.best.restore(state["best"])
        self.meter.restore(state["meter"])
        self._owed = bool(state["validation_owed"])

    def set_learning_rate(self, step: int, value: float, *, again: bool = False) -> None:
        """Use another learning rate from the step after `step` on."""
        if not again:
            # What was set later in an earlier life is not wanted any more.
            self.rates.clear()
        self.emit(LearningRateSet(step=step, value=value, again=again))
        self.stepper.set_learning_rate(value)

    def run(self) -> Outcome:
        """Train to the end, or until a stop is wanted. What has been learnt is saved either way.

        Raises LoraError if the loss is no longer a number; checkpoints before that stay.
        """
        total = self.meter.steps
        self.model.train()
        first = self.start
        if not self._begin(first):
            return self._finish("stopped", first)
        if first > 0 and self.best.gave_up:
            return self._finish("completed", first, early=first < total)
        self.meter.start()
        for step in range(first + 1, total + 1):
            if self._stop_wanted(step - 1):
                return self._finish("stopped", step - 1)
            self._take(step, total)
            self.after_step(step)
            if self._due(step, total) and not self._after(step, total):
                return self._finish("stopped", step)
            if self.best.gave_up:
                return self._finish("completed", step, early=step < total)
        return self._finish("completed", total)

    def _begin(self, first: int) -> bool:
        """Validate before the first step, or make up for a validation that a stop had cut off.

        False if a stop came in between.
        """
        if first > 0 and not self._owed:
            return True
        if not self._validate(first):
            return False
        if first > 0 and (first == self.best.saved_step or self.best.gave_up):
            self._save(first)
        return True

    def _carry_out(self, step: int) -> None:
        """Do what was asked for since the step, whose results are looked at."""
        rate = self.rates.pop(step, None)
        if rate is not None:
            self.set_learning_rate(step, rate, again=True)
        for wish in self.requests.wishes():
            match wish.name:
                case "evaluate":
                    self._validate_now(step)
                case "learning_rate":
                    self.set_learning_rate(step, float(wish.values["value"]))
                case "sample":
                    self._settle()
                    self.sample(step, wish)

    def _keep_rates(self, step: int) -> None:
        """Set the rates that were promised just before a stop: they hold when the run goes on."""
        for wish in self.requests.wishes():
            if wish.name == "learning_rate":
                self.set_learning_rate(step, float(wish.values["value"]))

    def _validate_now(self, step: int) -> None:
        if self._validated == step:
            return
        if not self._validates:
            text = "Nothing is validated: there are no validation rows, or val_batches is 0."
            self.emit(Notice(level="warning", message=text))
            return
        self._settle()
        if self._validate(step, "pass") and step == self.best.saved_step:
            self._save(step)

    @property
    def _validates(self) -> bool:
        return self.valid is not None and self.config.val_batches != 0

    def _stop_wanted(self, step: int) -> bool:
        """Whether to stop; what was asked for is done first, a pause waited for."""
        self.meter.pause()
        try:
            while not self.requests.stop_wanted(step, pause="wishes"):
                self._carry_out(step)
                if not self.requests.paused:
                    return False
            return True
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
            raise LoraError(diverged(pending.step, pending.batch, loss, self.train, self.stepper))
        self.meter.add(loss, pending.batch.count, norm, updated=pending.updated)

    def _due(self, step: int, total: int) -> bool:
        config = self.config
        every = (config.steps_per_report, config.steps_per_eval, config.save_every)
        return step == total or any(step % n == 0 for n in every)

    def _after(self, step: int, total: int) -> bool:
        """Report, validate and save where that is due; False if a stop came in between."""
        self._settle()
        last = step == total
        if last or step % self.config.steps_per_report == 0:
            self._report(step)
        if last or step % self.config.steps_per_eval == 0:
            going_on = self._between(partial(self._validate, step))
            if not going_on and not last:
                return False
        # The best one can't be had later; whatever ends the loop here is saved at the end.
        due = step % self.config.save_every == 0 or step == self.best.saved_step
        if due and not last and not self.best.gave_up:
            self._between(partial(self._save, step))
        return True

    def _report(self, step: int) -> None:
        """Tell of the steps since the last report, once for each step."""
        if step == self._told or not self.meter.has_steps:
            return
        # A last step may lie within an interval, which goes on if the run is resumed.
        whole = step % self.config.steps_per_report == 0
        tell = self.meter.report if whole else self.meter.interim
        self.emit(tell(step, self.stepper.learning_rate))
        self._told = step

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

    def _validate(self, step: int, pause: Pause = "wait") -> bool:
        if self.valid is None or not self._validates:
            return True
        started = time.perf_counter()

        def tick(done: int, total: int) -> bool:
            self.emit(Progress(stage="validating", done=done, total=total))
            return not self.requests.stop_wanted(step, pause=pause)

        self._owed = True
        found = self._evaluate(self.valid, self.config.val_batches, tick)
        if found is None:
            return False
        self._owed, self._validated = False, step
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
        self._report(step)
        self.meter.pause()
        if status == "stopped":
            self._keep_rates(step)
        if step != self._saved:
            self._save(step)
        return Outcome(status, step, early)
