"""One step: the gradient over tokens, accumulation, dropout, clipping."""

from __future__ import annotations

import math
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest

from lora_nb.config import LoraParameters
from lora_nb.core.loss import summed_loss
from lora_nb.core.memory import checkpoint_gradients
from lora_nb.core.step import Stepper, _norm
from lora_nb.core.trees import value_of
from tests.unit.core.kit import batch_of, config_of, copied, distance, encoded, trainable

ROWS = [encoded(length, seed) for seed, length in enumerate((5, 17, 9, 30, 12, 7))]


def test_only_trained_targets_count_and_padding_does_not(model: Path) -> None:
    net = trainable(model, config_of())
    short, long = encoded(5, 1, masked=2), encoded(30, 2, masked=20)
    alone = [batch_of([row]) for row in (short, long)]
    together = batch_of([short, long])

    losses = [value_of(summed_loss(net, batch.tokens, batch.trained)) for batch in alone]
    both = value_of(summed_loss(net, together.tokens, together.trained))

    assert (alone[0].count, alone[1].count, together.count) == (3, 10, 13)
    assert both == pytest.approx(sum(losses), rel=1e-5)
    log_probabilities = nn.log_softmax(net(mx.array(short.ids)[None, :-1]), axis=-1)[0]
    wanted = -sum(value_of(log_probabilities[j - 1, int(short.ids[j])]) for j in (2, 3, 4))
    assert losses[0] == pytest.approx(wanted, rel=1e-5)


def test_accumulating_equals_one_batch_as_large(model: Path) -> None:
    config = config_of()
    results = []
    for parts in ([ROWS], [ROWS[:1], ROWS[1:4], ROWS[4:]]):
        net = trainable(model, config)
        before = copied(net)
        stepper = Stepper(net, optim.SGD(learning_rate=0.1), seed=0)
        for number, rows in enumerate(parts, start=1):
            last = number == len(parts)
            result = stepper(batch_of(rows), number, update=last)
            if not last:
                assert distance(copied(net), before) == 0
                assert stepper.carried
                assert 0 < value_of(result.norm) < math.inf
        assert not stepper.carried
        assert distance(copied(net), before) > 1e-3
        results.append((copied(net), value_of(result.norm)))

    (whole, whole_norm), (parted, parted_norm) = results
    assert distance(whole, parted) < 1e-5
    assert parted_norm == pytest.approx(whole_norm, rel=1e-5)


def test_dropout_is_a_function_of_seed_and_step_alone(model: Path) -> None:
    config = config_of(lora_parameters=LoraParameters(dropout=0.4))
    batch = batch_of(ROWS)

    def losses(seed: int, steps: tuple[int, ...], noise: int = 0) -> dict[int, float]:
        stepper = Stepper(trainable(model, config), optim.SGD(learning_rate=0.0), seed=seed)
        found = {}
        for step in steps:
            mx.random.seed(noise + step)
            found[step] = value_of(stepper(batch, step, update=True).loss)
        return found

    first = losses(0, (1, 2, 3))
    assert losses(0, (3,), noise=99) == {3: first[3]}
    assert len(set(first.values())) == 3
    assert losses(1, (1, 2, 3)) != first


def test_checkpointed_gradients_are_those_of_the_loss_also_with_dropout(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(lora_parameters=LoraParameters(dropout=0.4))
    results = []
    for recompute in (True, False):
        net = trainable(model, config)
        block = type(net.layers[0])
        monkeypatch.setattr(block, "__call__", block.__call__)
        if not recompute:
            monkeypatch.setattr(mx, "checkpoint", lambda function: function)
        checkpoint_gradients(net)
        stepper = Stepper(net, optim.SGD(learning_rate=0.1), seed=0)
        loss = value_of(stepper(batch_of(ROWS), 1, update=True).loss)
        results.append((loss, copied(net)))
        monkeypatch.undo()

    (loss, kept), (wanted, plain) = results
    assert loss == wanted
    assert distance(kept, plain) < 1e-6


def test_the_norm_of_millions_of_numbers_is_exact() -> None:
    gradient = mx.random.normal((3_000_017,), key=mx.random.key(0))
    wanted = np.linalg.norm(np.array(gradient).astype(np.float64))
    assert value_of(_norm({"a": gradient})) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("limit", [0.01, 1e6])
def test_the_gradient_is_clipped_to_its_norm(limit: float, model: Path) -> None:
    net = trainable(model, config_of())
    before = copied(net)
    stepper = Stepper(net, optim.SGD(learning_rate=1.0), seed=0, max_grad_norm=limit)
    norm = value_of(stepper(batch_of(ROWS), 1, update=True).norm)

    moved = {name: weight - before[name] for name, weight in copied(net).items()}
    squares = sum((move.square().sum() for move in moved.values()), mx.array(0.0))
    length = value_of(mx.sqrt(squares))
    assert norm > 0.1
    assert length == pytest.approx(min(limit, norm), rel=1e-3)
