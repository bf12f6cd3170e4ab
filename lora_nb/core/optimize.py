"""Learning-rate schedules and optimizers, by mlx-lm's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import mlx.optimizers as optim
from mlx.optimizers import schedulers

from lora_nb.config import LrSchedule, TrainConfig
from lora_nb.config.derived import arguments_of
from lora_nb.errors import LoraError

__all__ = ["learning_rate_of", "make_optimizer"]

Schedule = Callable[[mx.array], mx.array]

_OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "muon": optim.Muon,
    "sgd": optim.SGD,
    "adafactor": optim.Adafactor,
}


def make_optimizer(config: TrainConfig) -> optim.Optimizer:
    """The optimizer of a config. Raises LoraError for arguments that it doesn't take."""
    arguments: dict[str, Any] = dict(config.optimizer_config.get(config.optimizer, {}))

    def made() -> optim.Optimizer:
        return _OPTIMIZERS[config.optimizer](learning_rate=learning_rate_of(config), **arguments)

    try:
        # Some arguments are only used, and found to be of a wrong kind, in a step.
        _step(made())
        return made()
    except (TypeError, ValueError, RuntimeError) as problem:
        raise LoraError(f"optimizer_config.{config.optimizer}: {_words(problem)}") from None


def _step(optimizer: optim.Optimizer) -> None:
    mx.eval(optimizer.apply_gradients({"w": mx.ones((2, 2))}, {"w": mx.ones((2, 2))}))


def _words(problem: Exception) -> str:
    text = str(problem)
    return text.split("__init__() ", 1)[-1] + ("" if text.endswith(".") else ".")


def learning_rate_of(config: TrainConfig) -> float | Schedule:
    """The constant learning rate, or the schedule as a function of the update count."""
    return _schedule(config.lr_schedule) if config.lr_schedule else config.learning_rate


def _schedule(schedule: LrSchedule) -> Schedule:
    # The warm-up leads to the initial rate, which is the schedule's own step 0. mlx-lm joins them
    # one step later, so that the initial rate comes twice and the schedule ends a step late.
    arguments = arguments_of(schedule)
    body: Schedule = getattr(schedulers, schedule.name)(*arguments)
    if not schedule.warmup:
        return body
    length = schedule.warmup
    rise: Schedule = schedulers.linear_schedule(schedule.warmup_init, arguments[0], length)

    def joined(step: mx.array) -> mx.array:
        # Steps are counted without a sign: below 0 there is nothing.
        return mx.where(step < length, rise(step), body(mx.maximum(step, length) - length))

    return joined
