"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.optimizers as optim
import pytest
from mlx_lm.tuner.utils import build_schedule

from lora_nb.config import LrSchedule
from lora_nb.core.optimize import learning_rate_of, make_optimizer
from lora_nb.core.step import Stepper
from lora_nb.core.trees import value_of
from lora_nb.errors import LoraError
from tests.unit.core.kit import batch_of, config_of, encoded, trainable

ROWS = [encoded(length, seed) for seed, length in enumerate((9, 12))]


@pytest.mark.parametrize("warmup", [0, 4])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cosine_decay", [1e-3, 20]),
        ("cosine_decay", [1e-3, 20, 1e-5]),
        ("exponential_decay", [1e-3, 0.9]),
        ("linear_schedule", [1e-3, 1e-5, 15]),
        ("step_decay", [1e-3, 0.5, 6]),
    ],
)
def test_schedules_are_those_of_mlx_lm(name: Any, arguments: list[float], warmup: int) -> None:
    ours = learning_rate_of(
        config_of(
            lr_schedule=LrSchedule(name=name, arguments=arguments, warmup=warmup, warmup_init=1e-7)
        )
    )
    theirs = build_schedule(
        {"name": name, "arguments": arguments, "warmup": warmup, "warmup_init": 1e-7}
    )
    assert callable(ours)
    # mlx-lm gives the initial rate twice after a warm-up, and is a step late from there on.
    late = 1 if warmup else 0
    rates = [value_of(ours(mx.array(step, mx.uint64))) for step in range(30)]
    wanted = [value_of(theirs(mx.array(step))) for step in range(31)]
    assert rates == [*wanted[:warmup], *wanted[warmup + late : 30 + late]]
    assert len(set(rates)) > 4


_LENGTH, _FIRST, _START = 5, 1e-5, 1e-3


@pytest.mark.parametrize(
    ("name", "arguments", "defined"),
    [
        (
            "cosine_decay",
            [_START, 20, 1e-4],
            lambda s: 1e-4 + (_START - 1e-4) * (1 + math.cos(math.pi * min(s, 20) / 20)) / 2,
        ),
        ("linear_schedule", [_START, 1e-4, 8], lambda s: _START + (1e-4 - _START) * min(s, 8) / 8),
        ("exponential_decay", [_START, 0.9], lambda s: _START * 0.9**s),
        ("step_decay", [_START, 0.5, 3], lambda s: _START * 0.5 ** (s // 3)),
    ],
)
def test_a_warm_up_leads_to_the_schedules_own_step_0(
    name: Any, arguments: list[float], defined: Callable[[int], float], model: Path
) -> None:
    """Every update around the joint, as the optimizer in a compiled step has it."""
    schedule = LrSchedule(name=name, arguments=arguments, warmup=_LENGTH, warmup_init=_FIRST)
    config = config_of(lr_schedule=schedule, optimizer="sgd")
    stepper = Stepper(trainable(model, config), make_optimizer(config), seed=0)
    rates = []
    for step in range(_LENGTH + 12):
        stepper(batch_of(ROWS), step, update=True)
        rates.append(stepper.learning_rate)
    rise = [_FIRST + (_START - _FIRST) * s / _LENGTH for s in range(_LENGTH)]
    assert rates == pytest.approx([*rise, *(defined(s) for s in range(12))], rel=1e-5)


@pytest.mark.parametrize("name", ["adam", "adamw", "muon", "sgd", "adafactor"])
def test_every_optimizer_lowers_the_loss(name: Any, model: Path) -> None:
    rate = {"sgd": 0.05, "muon": 0.02}.get(name, 1e-3)
    config = config_of(optimizer=name, learning_rate=rate)
    stepper = Stepper(trainable(model, config), make_optimizer(config), seed=0)
    losses = [value_of(stepper(batch_of(ROWS), step, update=True).loss) for step in range(1, 7)]

    assert losses[-1] < losses[0]
    assert stepper.learning_rate == pytest.approx(rate)


def test_an_optimizers_arguments_reach_it() -> None:
    config = config_of(
        optimizer="adamw", optimizer_config={"adamw": {"weight_decay": 0.5}, "sgd": {"x": 1}}
    )
    optimizer = make_optimizer(config)
    assert isinstance(optimizer, optim.AdamW)
    assert optimizer.weight_decay == 0.5


def test_arguments_that_it_does_not_take_are_named() -> None:
    config = config_of(optimizer="sgd", optimizer_config={"sgd": {"betas": [0.9, 0.99]}})
    with pytest.raises(LoraError) as caught:
        make_optimizer(config)
    assert str(caught.value) == (
        "optimizer_config.sgd: got an unexpected keyword argument 'betas'."
    )


def test_the_rate_of_a_schedule_is_that_of_the_update(model: Path) -> None:
    schedule = LrSchedule(name="step_decay", arguments=[1e-3, 0.5, 1])
    config = config_of(lr_schedule=schedule)
    stepper = Stepper(trainable(model, config), make_optimizer(config), seed=0)
    rates = []
    for step in range(1, 7):
        stepper(batch_of(ROWS), step, update=step % 2 == 0)
        rates.append(stepper.learning_rate)
    assert rates[1::2] == pytest.approx([1e-3, 5e-4, 2.5e-4])
