"""The trunk's cache: the same losses, and blocks that are not needed any more."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from lora_nb.config import LoraParameters, TrainConfig
from lora_nb.core import trunk_store
from lora_nb.core.batching import Split
from lora_nb.core.forward import Forward
from lora_nb.core.loop import Trainer
from lora_nb.core.optimize import make_optimizer
from lora_nb.core.step import Stepper
from lora_nb.core.trainable import make_trainable
from lora_nb.core.trees import value_of
from lora_nb.core.trunk import Trunk, first_trained
from lora_nb.core.trunk_plan import TrunkPlan, plan_trunk
from lora_nb.core.trunk_store import DiskStore, MemoryStore, Store
from lora_nb.runs.events import TrainLoss, ValidLoss
from tests.unit.core.kit import Outside, config_of, copied, distance, split_of, trainable

LENGTHS = (9, 30, 12, 17, 25, 8, 14)


def named(split: Split, name: str) -> Split:
    return Split(split.prepared, split.plan, name)


def train_with(folder: Path, config: TrainConfig, scratch: Path) -> tuple[list[float], object]:
    """Losses and weights of a training, with the cache that the config asks for."""
    net = trainable(folder, config)
    train = named(split_of(LENGTHS, config), "train")
    valid = named(split_of((11, 21, 6), config, shuffle=False), "valid")
    outside = Outside()
    plan = plan_trunk(net, config, {"train": train, "valid": valid}, steps=12, folder=scratch)
    trunk = plan.trunk if isinstance(plan, TrunkPlan) else None
    forward = Forward(net, trunk)
    assert forward.suit(net, train.batch(0)) == []
    said: list[str] = []

    def after(_step: int) -> None:
        if isinstance(plan, TrunkPlan):
            said.extend(filter(None, [plan.release_when_complete()]))

    trainer = Trainer(
        net, make_optimizer(config), config, train, valid, outside.events.append,
        lambda step, best: None, outside, forward, after,
    )  # fmt: skip
    trainer.run()
    assert len(said) == (0 if trunk is None else 1)
    losses = [e.loss for e in outside.events if isinstance(e, TrainLoss | ValidLoss)]
    return losses, copied(net)


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize("kind", ["lora", "dora", "full"])
def test_losses_and_weights_are_bit_equal(
    model: Path, tmp_path: Path, kind: str, place: str
) -> None:
    options = {"fine_tune_type": kind, "iters": 12, "steps_per_report": 3, "steps_per_eval": 4}
    without = train_with(model, config_of(**options, trunk_cache="off"), tmp_path)
    with_it = train_with(model, config_of(**options, trunk_cache=place), tmp_path)

    assert len(without[0]) == 8
    assert with_it[0] == without[0]
    assert distance(with_it[1], without[1]) == 0  # type: ignore[arg-type]
    assert not list(tmp_path.glob("trunk-*.bin"))


def test_released_blocks_are_gone_and_the_rest_still_computes(model: Path) -> None:
    config = config_of()
    net = trainable(model, config)
    split = named(split_of(LENGTHS, config), "train")
    trunk = Trunk(net, 2, {"train": MemoryStore(split.prepared.lengths)})
    forward = Forward(net, trunk)
    batch = split.batch(0)
    before = value_of(forward.loss(net, forward.inputs(batch)))
    parameters = len(dict(net.named_modules()))

    trunk.fill(split, list(range(split.plan.per_epoch)))
    freed = trunk.release()

    assert freed > 0
    assert len(dict(net.named_modules())) < parameters
    assert value_of(forward.loss(net, forward.inputs(batch))) == before


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "muon"},
        {"fine_tune_type": "full", "num_layers": 1, "optimizer": "muon"},
        {"fine_tune_type": "full", "num_layers": 1, "optimizer": "adafactor"},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "joined",
)
def test_after_the_release_batches_of_new_shapes_train_too(
    options: dict[str, Any], model: Path
) -> None:
    config = config_of(**options)
    net = trainable(model, config)
    split = named(split_of(LENGTHS, config), "train")
    trunk = Trunk(net, first_trained(net), {"train": MemoryStore(split.prepared.lengths)})
    stepper = Stepper(net, make_optimizer(config), seed=0, forward=Forward(net, trunk))
    before = copied(net)
    by_length = sorted(range(split.plan.per_epoch), key=lambda n: split.batch(n).tokens.shape[1])
    shapes = [split.batch(number).tokens.shape for number in by_length]
    assert shapes[0] != shapes[-1]
    stepper(split.batch(by_length[0]), 1, update=False)
    trunk.fill(split, by_length)
    trunk.release()
    result = stepper(split.batch(by_length[-1]), 2, update=True)
    assert np.isfinite(value_of(result.loss))
    assert distance(copied(net), before) > 0


def test_where_training_begins(model: Path) -> None:
    assert first_trained(trainable(model, config_of(num_layers=1))) == 3
    assert first_trained(trainable(model, config_of(num_layers=-1))) == 0
    embedding = LoraParameters(keys=["self_attn.q_proj", "model.embed_tokens"])
    assert first_trained(trainable(model, config_of(lora_parameters=embedding))) == 0


def test_no_cache_where_it_is_no_use_or_too_large(model: Path, tmp_path: Path) -> None:
    def planned(steps: int = 20, **options: object) -> object:
        config = config_of(**options)
        split = named(split_of(LENGTHS, config), "train")
        net = trainable(model, config)
        return plan_trunk(net, config, {"train": split}, steps=steps, folder=tmp_path)

    assert planned(trunk_cache="off") == ""
    assert planned(num_layers=-1) == ""
    told = planned(num_layers=-1, trunk_cache="memory")
    assert str(told).startswith("No trunk cache: no block is frozen below all that is trained.")
    assert planned(steps=2) == "No trunk cache: every row is trained at most once."
    small = planned(trunk_cache_limit="10K")
    assert isinstance(small, str)
    assert small.startswith("No trunk cache: it would take 0.0 GB, more than there is room for")
    made = planned()
    assert isinstance(made, TrunkPlan)
    assert made.note.startswith("Trunk cache: what the 2 frozen blocks compute is kept in memory")


def test_a_model_that_cannot_be_entered_is_trained_without(model: Path) -> None:
    config = config_of()
    net = trainable(model, config)
    split = named(split_of(LENGTHS, config), "train")
    trunk = Trunk(net, 2, {"train": MemoryStore(split.prepared.lengths)})
    nothing = mx.zeros((*split.batch(0).tokens[:, :-1].shape, 64))
    trunk.compute = lambda *_: nothing  # type: ignore[method-assign]
    forward = Forward(net, trunk)

    notes = forward.suit(net, split.batch(0))

    assert notes == ["No trunk cache: this model can't be entered at a block."]
    assert forward.trunk is None


class Halves(nn.Module):
    """A model whose blocks are in two lists."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.embed = nn.Embedding(384, 8)
        self.lower, self.upper = [nn.Linear(8, 8)], [nn.Linear(8, 8)]

    @property
    def layers(self) -> list[nn.Module]:
        return [*self.lower, *self.upper]

    def __call__(self, tokens: mx.array) -> mx.array:
        return self.upper[0](self.lower[0](self.embed(tokens)))


def test_a_model_whose_blocks_can_not_be_exchanged_is_trained_without(tmp_path: Path) -> None:
    config = config_of(num_layers=1, fine_tune_type="full")
    net = Halves()
    make_trainable(net, config)
    assert first_trained(net) == 1
    splits = {"train": named(split_of(LENGTHS, config), "train")}
    said = plan_trunk(net, config, splits, steps=20, folder=tmp_path)
    assert said == "No trunk cache: this model can't be entered at a block."


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16])
@pytest.mark.parametrize("make", [MemoryStore, None], ids=["memory", "disk"])
def test_a_store_gives_back_what_it_got(
    tmp_path: Path, dtype: mx.Dtype, make: Callable[[list[int]], Store] | None
) -> None:
    lengths = [4, 6, 3]
    store = make(lengths) if make else DiskStore(lengths, tmp_path / "trunk.bin")
    values = mx.array(np.random.default_rng(0).standard_normal((3, 8, 5)).astype(np.float32))
    values = values.astype(dtype)

    store.put([0, 2], values[[0, 2]])
    there = [store.has([0, 2]), store.has([1]), store.is_complete]
    early = store.take([2, 0], 4)
    store.put([1], values[1:2])
    late = store.take([1, 0, 2], 7)

    assert there == [True, False, False]
    assert store.is_complete
    assert early.dtype == late.dtype == dtype
    for batch, rows in ((early, [2, 0]), (late, [1, 0, 2])):
        for place, row in enumerate(rows):
            count = min(lengths[row] - 1, batch.shape[1])
            assert mx.array_equal(batch[place, :count], values[row, :count]).item()


@pytest.mark.parametrize("by_the_system", [True, False])
def test_a_file_has_room_on_the_disk_before_it_is_mapped(
    by_the_system: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_the_system:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
        monkeypatch.setattr(trunk_store, "_PIECE", 30_000)
    trunk_store.take_room(tmp_path / "file", 100_000)
    told = (tmp_path / "file").stat()
    assert told.st_size == 100_000
    assert told.st_blocks * 512 >= 100_000


def test_a_full_disk_is_told_of_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    store = DiskStore([4, 3], tmp_path / "trunk.bin")
    with pytest.raises(OSError, match="No space left"):
        store.put([0, 1], mx.ones((2, 3, 8)))
    assert list(tmp_path.iterdir()) == []
