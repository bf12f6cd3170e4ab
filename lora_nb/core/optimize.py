"""Learning-rate schedules and optimizers, by mlx-lm's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import mlx.optimizers as optim

from lora_nb.config import LrSchedule, TrainConfig
from lora_nb.config.rules import arguments_of
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
    try:
        return _OPTIMIZERS[config.optimizer](learning_rate=learning_rate_of(config), **arguments)
    except (TypeError, ValueError) as problem:
        raise LoraError(f"optimizer_config.{config.optimizer}: {_words(problem)}") from None


def _words(problem: Exception) -> str:
    text = str(problem)
    return text.split("__init__() ", 1)[-1] + ("" if text.endswith(".") else ".")


def learning_rate_of(config: TrainConfig) -> float | Schedule:
    """The constant learning rate, or the schedule as a function of the update count."""
    return _schedule(config.lr_schedule) if config.lr_schedule else config.learning_rate


def _schedule(schedule: LrSchedule) -> Schedule:
    # As mlx-lm's build_schedule: the warm-up reaches the initial rate at its last step, and the
    # schedule proper begins one step later.
    arguments = arguments_of(schedule)
    body: Schedule = getattr(optim.schedulers, schedule.name)(*arguments)
    if not schedule.warmup:
        return body
    warmup = optim.schedulers.linear_schedule(schedule.warmup_init, arguments[0], schedule.warmup)
    joined: Schedule = optim.schedulers.join_schedules([warmup, body], [schedule.warmup + 1])
    return joined
