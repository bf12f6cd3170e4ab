"""The loop: reports, validations, checkpoints, stops, and a loss that is no number."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest

from lora_nb.core.evaluate import Evaluated, Evaluator, perplexity_of
from lora_nb.core.forward import Forward, Inputs
from lora_nb.core.loop import Outcome, steps_of
from lora_nb.errors import LoraError
from lora_nb.runs.control import Request
from lora_nb.runs.events import Progress
from tests.unit.core.kit import (
    Outside,
    Weights,
    config_of,
    copied,
    distance,
    split_of,
    trainable,
    trainer_of,
    weights_of,
)

LENGTHS = [9] * 8


def test_reports_validations_and_checkpoints_come_when_they_are_due(model: Path) -> None:
    config = config_of(iters=7, steps_per_report=3, steps_per_eval=4, save_every=2, val_batches=2)
    train, valid = split_of(LENGTHS, config), split_of([9] * 5, config, shuffle=False)
    outside = Outside()
    outcome = trainer_of(trainable(model, config), config, train, outside, valid).run()

    assert (outcome.status, outcome.step) == ("completed", 7)
    assert [report.step for report in outside.reports] == [3, 6, 7]
    assert [report.trained_tokens for report in outside.reports] == [48, 96, 112]
    assert [found.step for found in outside.validations] == [0, 4, 7]
    assert [step for step, _ in outside.saved] == [2, 4, 6, 7]
    assert outside.saved[-1] == (7, True)
    assert [found.best for found in outside.validations] == [True, True, True]
    assert outside.reports[-1].eta == 0
    assert outside.reports[-1].epoch == 1.75


def test_the_tail_of_an_accumulation_is_applied(model: Path) -> None:
    config = config_of(iters=6, grad_accumulation_steps=8)
    net = trainable(model, config)
    before = copied(net)
    trainer_of(net, config, split_of(LENGTHS, config), Outside()).run()
    assert distance(copied(net), before) > 1e-4


def test_every_row_is_used_once_an_epoch(model: Path) -> None:
    config = config_of(epochs=1.5, batch_size=3, steps_per_report=1)
    train = split_of([5, 6, 7, 8, 9, 10, 11], config)
    assert steps_of(config, train) == 5
    seen = [name for step in range(3) for name in train.batch(step).rows]
    assert sorted(seen) == sorted(train.prepared.where)


def test_without_a_number_of_steps_there_are_a_thousand() -> None:
    config = config_of()
    assert steps_of(config, split_of(LENGTHS, config)) == 1000


def test_the_same_seed_gives_the_same_weights(model: Path) -> None:
    ends = []
    for seed in (3, 3, 4):
        config = config_of(iters=4, seed=seed)
        net = trainable(model, config)
        trainer_of(net, config, split_of([5, 9, 14, 20, 7], config), Outside()).run()
        ends.append(copied(net))
    assert distance(ends[0], ends[1]) == 0
    assert distance(ends[0], ends[2]) > 0


def test_a_stop_saves_what_there_is(model: Path) -> None:
    config = config_of(iters=50, steps_per_report=20)
    outside = Outside(stop_at=3)
    net = trainable(model, config)
    outcome = trainer_of(net, config, split_of(LENGTHS, config), outside).run()

    assert (outcome.status, outcome.step) == ("stopped", 3)
    assert outside.saved == [(3, False)]
    assert [report.step for report in outside.reports] == [3]


def test_a_stop_before_the_first_step_saves_nothing(model: Path) -> None:
    config = config_of(iters=50)
    outside = Outside(stop_at=0)
    outcome = trainer_of(
        trainable(model, config), config, split_of(LENGTHS, config), outside,
        split_of([9] * 4, config, shuffle=False),
    ).run()  # fmt: skip
    assert (outcome.status, outcome.step) == ("stopped", 0)
    assert outside.saved == []


def test_a_stop_right_after_a_checkpoint_does_not_write_it_again(model: Path) -> None:
    config = config_of(iters=50, save_every=2)
    outside = Outside(stop_at=2)
    trainer_of(trainable(model, config), config, split_of(LENGTHS, config), outside).run()
    assert outside.saved == [(2, False)]


@pytest.mark.parametrize("report_every", [1, 100])
def test_a_validation_that_is_asked_for_comes_at_once(report_every: int, model: Path) -> None:
    config = config_of(iters=4, steps_per_report=report_every, steps_per_eval=100)
    valid = split_of([9] * 2, config, shuffle=False)
    outside = Outside(asked={2: [Request("evaluate"), Request("evaluate")]})
    trainer_of(trainable(model, config), config, split_of(LENGTHS, config), outside, valid).run()
    assert [found.step for found in outside.validations] == [0, 2, 4]
    assert 2 in [step for step, best in outside.saved if best]


def test_waiting_in_a_pause_is_no_training_time(model: Path) -> None:
    config = config_of(iters=4, steps_per_report=2)
    outside = Outside(at_step=lambda step: time.sleep(1.0) if step == 3 else None)
    trainer_of(trainable(model, config), config, split_of(LENGTHS, config), outside).run()
    first, second = outside.reports
    assert second.elapsed - first.elapsed < 1.0


def test_a_loss_that_is_no_number_ends_it_and_names_the_rows(model: Path) -> None:
    config = config_of(iters=9, save_every=2, batch_size=2)
    net = trainable(model, config)

    def poison(step: int) -> None:
        if step == 3:
            name = next(iter(copied(net)))
            net.load_weights([(name, mx.full(copied(net)[name].shape, mx.nan))], strict=False)
            trainer.stepper.take_weights()

    outside = Outside(at_step=poison)
    train = split_of([9, 9, 9, 9, 9], config)
    trainer = trainer_of(net, config, train, outside)
    with pytest.raises(LoraError) as caught:
        trainer.run()

    rows = ", ".join(train.batch(3).rows)
    assert str(caught.value) == (
        f"Step 4: the loss is nan. Training was stopped, checkpoints before it are kept. "
        f"Each of its rows alone gives none either: {rows}. Try a smaller learning_rate, "
        "max_grad_norm 1.0, or look at these rows."
    )
    assert outside.saved == [(2, False)]


def test_the_one_row_that_gives_no_number_is_named(model: Path) -> None:
    config = config_of(iters=9, save_every=2, batch_size=4)
    net = trainable(model, config)
    train = split_of([9] * 16, config)
    before: list[Weights] = []
    bad = train.plan.batch(2)[1]
    token = 383
    for number, row in enumerate(train.prepared.encoded):
        row.ids[row.ids == token] = 5
        if number == bad:
            row.ids[4] = token

    def look(step: int) -> None:
        if step == 2:
            before.append(copied(net))

    # The embedding of one token alone.
    table = net.model.embed_tokens
    table.weight = mx.where(mx.arange(384)[:, None] == token, mx.nan, table.weight)
    outside = Outside(at_step=look)
    net.model.embed_tokens.freeze()
    # A head of its own: tied to the embedding, every row would have a logit that is no number.
    net.args.tie_word_embeddings = False
    net.lm_head = nn.Linear(64, 384, bias=False)
    net.lm_head.freeze()
    with pytest.raises(LoraError) as caught:
        trainer_of(net, config, train, outside).run()
    assert str(caught.value) == (
        f"Step 3: the loss is nan. Training was stopped, checkpoints before it are kept. "
        f"Alone, too, these rows give no number: {train.prepared.where[bad]}. Look at them."
    )
    assert distance(copied(net), before[0]) < 0.1


def test_a_gradient_that_is_no_number_is_told_of_in_its_own_step(model: Path) -> None:
    """Also where it is gathered with others, and its loss is a number."""
    config = config_of(iters=8, save_every=1, batch_size=2, grad_accumulation_steps=4)
    net = trainable(model, config)
    train = split_of([9] * 16, config)
    bad = train.plan.batch(1)[1]
    token = 383
    for number, row in enumerate(train.prepared.encoded):
        row.ids[row.ids == token] = 5
        if number == bad:
            row.ids[4] = token

    class Steep(Forward):
        def loss(self, model: nn.Module, inputs: Inputs) -> mx.array:
            # The root's slope is infinite at 0.
            weight = next(iter(weights_of(model).values())).sum()
            there = (inputs.tokens == token).any()
            return super().loss(model, inputs) + mx.sqrt(mx.where(there, 0 * weight, 1.0))

    outside = Outside()
    with pytest.raises(LoraError) as caught:
        trainer_of(net, config, train, outside, forward=Steep(net)).run()
    assert str(caught.value) == (
        "Step 2: the gradient is not finite. Training was stopped, checkpoints before it are kept. "
        f"Alone, too, these rows give no number: {train.prepared.where[bad]}. Look at them."
    )
    assert outside.saved == [(1, False)]


def stopping_at(losses: list[float], **options: Any) -> tuple[Outside, Outcome]:
    """A run whose validations, one a step, have these losses."""
    config = config_of(iters=len(losses) - 1, steps_per_eval=1, save_every=100, **options)
    given = iter(losses)
    outside = Outside()
    trainer = trainer_of(
        trainable(MODEL[0], config), config, split_of(LENGTHS, config), outside,
        split_of([9] * 2, config, shuffle=False),
    )  # fmt: skip
    trainer._evaluate = lambda *_: Evaluated(next(given), 10, 2)  # type: ignore[assignment]
    return outside, trainer.run()


MODEL: list[Path] = []


@pytest.fixture(autouse=True)
def _model(model: Path) -> None:
    MODEL[:] = [model]


@pytest.mark.parametrize(
    ("losses", "delta", "end", "early"),
    [
        ([5, 4, 3, 3.1, 3.2, 3, 2, 1], 0, 5, True),
        ([5, 4, 3, 3.1, 3.2, 2.9, 2, 1], 0, 7, False),
        ([5, 4, 3.95, 3.92, 3.91, 3.9, 3], 0.1, 4, True),
        ([5, 4, 3.95, 3.92, 3.89, 3.8, 3], 0.1, 6, False),
        ([1, 2, 3, 4, 5], 0, 3, True),
        ([5, math.nan, math.nan, math.nan, 4], 0, 3, True),
        ([5, 4, 4, 4, 4], 0, 4, False),
    ],
)
def test_it_stops_once_the_validation_loss_falls_no_more(
    losses: list[float], delta: float, end: int, early: bool
) -> None:
    outside, outcome = stopping_at(losses, early_stop=3, early_stop_delta=delta)
    assert outcome == Outcome("completed", end, early)
    assert outside.saved[-1][0] == end
    assert outside.reports[-1].step == end


def test_every_best_validation_makes_a_checkpoint() -> None:
    outside, _ = stopping_at([5, 4, 4.5, 3, 3.5, 3.6])
    assert outside.saved == [(1, True), (3, True), (5, False)]
    assert [found.best for found in outside.validations] == [True, True, False, True, False, False]


def test_before_training_there_is_no_checkpoint_to_be_the_best() -> None:
    outside, _ = stopping_at([1, 4, 4.5, 3, 3.5, 3.6])
    assert outside.saved == [(1, True), (3, True), (5, False)]
    assert [found.best for found in outside.validations] == [True, *[False] * 5]


def test_evaluating_weighs_every_token_alike(model: Path) -> None:
    config = config_of()
    net = trainable(model, config)
    split = split_of([4, 30, 9, 17, 6], config, shuffle=False)
    one_by_one = split_of([4, 30, 9, 17, 6], config_of(batch_size=1), shuffle=False)
    evaluate = Evaluator(net)

    whole = evaluate(split, -1)
    apart = evaluate(one_by_one, -1)
    assert whole is not None
    assert apart is not None
    assert (whole.rows, whole.tokens) == (5, 61)
    assert whole.loss == pytest.approx(apart.loss, rel=1e-5)
    assert evaluate(split, -1, lambda done, total: done < 2) is None
    assert net.training


def test_validating_says_how_far_it_is_and_a_stop_ends_it(model: Path) -> None:
    config = config_of(iters=3, steps_per_eval=1, val_batches=-1)
    valid = split_of([9] * 6, config, shuffle=False)
    outside = Outside()
    trainer = trainer_of(
        trainable(model, config), config, split_of(LENGTHS, config), outside, valid
    )
    trainer.run()
    told = [e for e in outside.events if isinstance(e, Progress)]
    assert [(e.stage, e.done, e.total) for e in told[:3]] == [
        ("validating", 1, 3),
        ("validating", 2, 3),
        ("validating", 3, 3),
    ]


def test_perplexity_has_no_bounds() -> None:
    assert perplexity_of(math.log(7)) == pytest.approx(7)
    assert perplexity_of(1e6) == math.inf
    assert math.isnan(perplexity_of(math.nan))
