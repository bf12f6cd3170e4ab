"""Training in this process: models, rows of token numbers, and an outside that can be steered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from lora_nb.config import ModelOptions, TrainConfig
from lora_nb.core.batching import Split, TokenBatch
from lora_nb.core.forward import Forward
from lora_nb.core.load import load_base
from lora_nb.core.loop import Trainer
from lora_nb.core.optimize import make_optimizer
from lora_nb.core.trainable import make_trainable
from lora_nb.core.trees import value_of
from lora_nb.data.batches import collate
from lora_nb.data.prepare import Prepared
from lora_nb.data.tokens import Encoded
from lora_nb.runs.control import Pause, Request
from lora_nb.runs.events import Event, TrainLoss, ValidLoss
from tests.tiny import VOCAB

Weights = dict[str, mx.array]


def config_of(**options: Any) -> TrainConfig:
    """Options for a tiny model."""
    usual: dict[str, Any] = {
        "model": "m",
        "data": "d",
        "batch_size": 2,
        "num_layers": 2,
        "learning_rate": 1e-3,
    }
    return TrainConfig(**(usual | options))


def loaded(folder: Path) -> nn.Module:
    """The model of a folder as it is."""
    return load_base(folder, ModelOptions(model=str(folder))).model


def trainable(folder: Path, config: TrainConfig) -> nn.Module:
    """The model of a folder, made ready for training, its adapter no longer zero."""
    model = loaded(folder)
    make_trainable(model, config)
    stir(model)
    model.train()
    return model


def stir(model: nn.Module) -> None:
    """Give `lora_b` values, so that every part of an adapter has a gradient."""
    random = np.random.default_rng(5)
    model.load_weights(
        [
            (name, mx.array(random.standard_normal(weight.shape).astype(np.float32) / 20))
            for name, weight in sorted(weights_of(model).items())
            if name.endswith("lora_b")
        ],
        strict=False,
    )


def weights_of(model: nn.Module) -> Weights:
    """The trained weights by name."""
    return dict(tree_flatten(model.trainable_parameters()))


def copied(model: nn.Module) -> Weights:
    """The trained weights as they are now."""
    weights = {name: mx.array(weight) for name, weight in weights_of(model).items()}
    mx.eval(weights)
    return weights


def distance(one: Weights, other: Weights) -> float:
    """The largest difference between two sets of weights."""
    assert one.keys() == other.keys()
    return max(value_of(mx.abs(one[name] - other[name]).max()) for name in one)


def encoded(length: int, seed: int, masked: int = 1) -> Encoded:
    """A row of random tokens, the first `masked` of them no targets."""
    random = np.random.default_rng(seed)
    ids = random.integers(3, VOCAB, length).astype(np.int32)
    return Encoded(ids, np.arange(length) >= max(masked, 1), "text")


def batch_of(rows: Sequence[Encoded]) -> TokenBatch:
    """Rows as one batch."""
    made = collate(rows)
    names = [f"train.jsonl:{number}" for number in range(1, len(rows) + 1)]
    count = int(made.trained[:, 1:].sum())
    return TokenBatch(mx.array(made.tokens), mx.array(made.trained), count, names)


def split_of(
    lengths: Sequence[int], config: TrainConfig, *, masked: int = 1, shuffle: bool = True
) -> Split:
    """A split of random rows of these lengths."""
    rows = [encoded(length, seed, masked) for seed, length in enumerate(lengths)]
    prepared = Prepared(
        encoded=rows,
        where=[f"train.jsonl:{number}" for number in range(1, len(rows) + 1)],
        row=list(range(len(rows))),
        tokens=sum(lengths),
        trained=sum(row.targets for row in rows),
    )
    return Split.of(prepared, config.batch_size, config.seed, shuffle=shuffle)


@dataclass
class Outside:
    """Wishes by step, and what was told and saved."""

    stop_at: int | None = None
    asked: dict[int, list[Request]] = field(default_factory=dict)
    paused: bool = False
    at_step: Callable[[int], None] = lambda step: None
    events: list[Event] = field(default_factory=list)
    saved: list[tuple[int, bool]] = field(default_factory=list)
    now: int = 0

    def stop_wanted(self, step: int, *, pause: Pause = "wait") -> bool:
        self.now = step
        self.at_step(step)
        return self.stop_at is not None and step >= self.stop_at

    def wishes(self) -> list[Request]:
        return self.asked.pop(self.now, [])

    def save(self, step: int, best: bool) -> None:
        self.saved.append((step, best))

    @property
    def losses(self) -> list[float]:
        return [event.loss for event in self.events if isinstance(event, TrainLoss)]

    @property
    def reports(self) -> list[TrainLoss]:
        return [event for event in self.events if isinstance(event, TrainLoss)]

    @property
    def validations(self) -> list[ValidLoss]:
        return [event for event in self.events if isinstance(event, ValidLoss)]


def trainer_of(
    model: nn.Module,
    config: TrainConfig,
    train: Split,
    outside: Outside,
    valid: Split | None = None,
    forward: Forward | None = None,
) -> Trainer:
    """A loop that tells `outside` everything."""
    return Trainer(
        model=model,
        optimizer=make_optimizer(config),
        config=config,
        train=train,
        valid=valid,
        emit=outside.events.append,
        save=outside.save,
        requests=outside,
        forward=forward,
    )
