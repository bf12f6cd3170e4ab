"""Our training beside mlx-lm's own functions: the same losses on the same batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx_lm.convert import convert
from mlx_lm.tuner.trainer import default_loss, grad_checkpoint
from mlx_lm.utils import load_model

from lora_nb.config import LoraParameters, LrSchedule, TrainConfig
from lora_nb.core.batching import Split
from lora_nb.core.memory import checkpoint_gradients
from lora_nb.core.optimize import make_optimizer
from lora_nb.core.trainable import make_trainable
from lora_nb.data.batches import collate
from tests.tiny import model_folder
from tests.unit.core.kit import (
    Outside,
    config_of,
    copied,
    distance,
    loaded,
    split_of,
    stir,
    trainable,
    trainer_of,
)

STEPS = 20
LENGTHS = [9, 14, 20, 11, 17, 8, 25, 13, 10, 16]


def theirs(net: nn.Module, config: TrainConfig, train: Split) -> Iterator[float]:
    """mlx-lm's loss at every step, its optimizer's update after each one."""
    optimizer = make_optimizer(config)
    loss_and_gradient = nn.value_and_grad(net, default_loss)
    for step in range(STEPS):
        rows = [train.prepared.encoded[number] for number in train.plan.batch(step)]
        tokens = collate(rows).tokens
        # Both ends count in mlx-lm: the first target, and the last one (not the pad behind it).
        ends = np.array([(int(row.trained.argmax()), len(row) - 1) for row in rows])
        (loss, count), gradient = loss_and_gradient(net, mx.array(tokens), mx.array(ends))
        assert int(count.item()) == sum(row.targets for row in rows)
        optimizer.update(net, gradient)
        mx.eval(net.state, optimizer.state)
        yield float(loss.item())


def compare(
    folder: Path, config: TrainConfig, masked: int, *, reference: nn.Module | None = None
) -> list[float]:
    train = split_of(LENGTHS, config, masked=masked)
    outside = Outside()
    ours = trainable(folder, config)
    before = copied(ours)
    trainer_of(ours, config, train, outside).run()

    upstream = reference or load_model(folder)[0]
    make_trainable(upstream, config)
    stir(upstream)
    upstream.train()
    assert distance(copied(upstream), before) == 0
    wanted = list(theirs(upstream, config, train))

    np.testing.assert_allclose(outside.losses, wanted, rtol=0, atol=1e-5)
    learnt = distance(copied(ours), before)
    assert distance(copied(ours), copied(upstream)) < learnt / 50
    assert learnt > 1e-4
    return wanted


@pytest.mark.parametrize("masked", [1, 5], ids=["all", "masked"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("kind", ["lora", "dora", "full"])
def test_losses_are_those_of_mlx_lm(kind: Any, optimizer: Any, masked: int, model: Path) -> None:
    config = config_of(
        fine_tune_type=kind,
        optimizer=optimizer,
        learning_rate={"adam": 1e-4, "sgd": 1e-3}[optimizer],
        iters=STEPS,
        steps_per_report=1,
        batch_size=3,
    )
    assert len(set(compare(model, config, masked))) == STEPS


@pytest.mark.parametrize("family", ["qwen2", "gemma"])
def test_losses_of_other_families(family: str, home: Path) -> None:
    config = config_of(iters=STEPS, steps_per_report=1, batch_size=3, learning_rate=2e-5)
    folder = model_folder(home, family)
    # Of mlx-lm's gemma we correct the activation, so here only its training is the reference.
    compare(folder, config, 5, reference=loaded(folder) if family == "gemma" else None)


def test_losses_with_a_schedule_keys_and_alpha(model: Path) -> None:
    config = config_of(
        iters=STEPS,
        steps_per_report=1,
        num_layers=-1,
        lora_parameters=LoraParameters(rank=4, alpha=16, keys=["self_attn.q_proj", "mlp.up_proj"]),
        lr_schedule=LrSchedule(name="cosine_decay", arguments=[1e-3, 15, 1e-5], warmup=3),
    )
    compare(model, config, 5)


def test_initial_adapters_are_those_of_mlx_lm(model: Path) -> None:
    from mlx_lm.tuner.utils import linear_to_lora_layers

    config = config_of(seed=7)
    ours = loaded(model)
    described = make_trainable(ours, config)
    upstream = loaded(model)
    upstream.freeze()
    mx.random.seed(7)
    linear_to_lora_layers(upstream, 2, described["lora_parameters"])
    assert distance(copied(ours), copied(upstream)) == 0


def test_checkpointing_gradients_gives_the_losses_of_mlx_lms_own(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(iters=3, steps_per_report=1)
    losses = []
    for checkpoint in (checkpoint_gradients, lambda net: grad_checkpoint(net.layers[0])):
        net = trainable(model, config)
        block = type(net.layers[0])
        monkeypatch.setattr(block, "__call__", block.__call__)
        checkpoint(net)
        outside = Outside()
        trainer_of(net, config, split_of(LENGTHS, config), outside).run()
        losses.append(outside.losses)
        monkeypatch.undo()
    assert losses[0] == losses[1]


@pytest.fixture(scope="module")
def quantised(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny llama in four bits."""
    folder = tmp_path_factory.mktemp("quantised") / "model"
    convert(str(model), str(folder), quantize=True, q_group_size=32, q_bits=4)
    return folder


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_quantised_model_learns_and_its_losses_are_mlx_lms(kind: Any, quantised: Path) -> None:
    config = config_of(
        fine_tune_type=kind, iters=STEPS, steps_per_report=1, batch_size=5, learning_rate=3e-4
    )
    upstream = load_model(quantised)[0]
    assert isinstance(upstream.layers[0].self_attn.q_proj, nn.QuantizedLinear)
    losses = compare(quantised, config, 1)
    assert np.mean(losses[-2:]) < np.mean(losses[:2]) - 0.3


def test_plain_sgd_is_the_gradient_itself(model: Path) -> None:
    """The step below the optimizer: weights move by the rate times mlx-lm's gradient."""
    config = config_of(optimizer="sgd", learning_rate=0.5, iters=1)
    train = split_of(LENGTHS, config)
    net = trainable(model, config)
    before = copied(net)
    trainer_of(net, config, train, Outside()).run()

    other = trainable(model, config)
    rows = [train.prepared.encoded[number] for number in train.plan.batch(0)]
    ends = mx.array([(1, len(row) - 1) for row in rows])
    _, gradient = nn.value_and_grad(other, default_loss)(
        other, mx.array(collate(rows).tokens), ends
    )
    optim.SGD(learning_rate=0.5).update(other, gradient)
    moved = distance(copied(net), before)
    assert moved > 1e-4
    assert distance(copied(net), copied(other)) < 1e-5 * moved
