"""One step on the longest batch, measured: what it takes of the memory, and how long."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

from lora_nb.config import TrainConfig
from lora_nb.core.batching import Split, TokenBatch, multiple_for
from lora_nb.core.fit_plan import Probed
from lora_nb.core.fit_trial import SLOW_SECONDS, TICKS, Prober, Trial
from lora_nb.core.forward import Forward
from lora_nb.core.load import Loaded, on_cpu
from lora_nb.core.loop import steps_of
from lora_nb.core.optimize import make_optimizer
from lora_nb.core.packed import FAULTS
from lora_nb.core.trainable import layers_of
from lora_nb.core.trees import flat
from lora_nb.core.trunk import Trunk, first_trained
from lora_nb.core.trunk_plan import TrunkPlan, plan_trunk
from lora_nb.core.trunk_store import MemoryStore
from lora_nb.data.batches import padded_length

__all__ = ["probe"]

# Batches differ a little from epoch to epoch: so many are looked through for the longest one.
_EPOCHS = 8
_ROWS = 100_000
_PLAIN_BITS = 12


def probe(
    loaded: Loaded,
    config: TrainConfig,
    splits: dict[str, Split],
    *,
    limit: int,
    folder: Path,
    tick: Callable[[int, int], None],
) -> Probed:
    """Measure a model that is ready for training; it is of no use for training afterwards.

    No step is tried that would take more than `limit` bytes, going by that of a single row.
    `tick(done, total)` is called in between.
    """
    load = mx.get_peak_memory()
    model, train = loaded.model, splits["train"]
    model.train()
    steps = steps_of(config, train)
    plan = plan_trunk(model, config, splits, steps=steps, folder=folder)
    forward, entered = Forward(model), _entered(model, train)
    optimizer = make_optimizer(config)
    optimizer.init(model.trainable_parameters())
    mx.eval(model.state, optimizer.state)
    fixed = mx.get_active_memory()
    gradients, kept = _size(model.trainable_parameters()), _size(optimizer.state)
    # Each trial has an optimizer of its own.
    del optimizer
    prober = Prober(model, config)
    number, row, batch = _longest(train, steps)
    rows = len(batch.rows)
    tick(1, TICKS)
    one = train.part(number, row, row + 1)
    single = prober.step(one, forward)
    measured = fixed + rows * single.size <= limit
    planned = plan if isinstance(plan, TrunkPlan) and entered is not None else None
    tried = Trial(prober, batch if measured else one, forward, entered, planned is not None)
    found = tried.run(tick, slow=rows * single.seconds > SLOW_SECONDS)
    times = 1 if measured else rows
    return Probed(
        load=load,
        fixed=fixed,
        base=_size(model.parameters()) - gradients,
        below=_below(model),
        trained=gradients + kept,
        gradients=gradients,
        step=times * found["step"].size,
        less=times * found["less"].size,
        recomputed=times * found["recomputed"].size,
        evaluation=_evaluation(prober, splits, forward) if measured else 0,
        cache=planned.needed if planned else 0,
        cache_place=planned.place if planned else "off",
        cacheable=entered is not None or _could_be_entered(model, config),
        measured=measured,
        blocks=layers_of(config, model),
        rows=rows,
        length=int(batch.tokens.shape[1]),
        shares=_shares(train, steps, batch),
        steps=steps,
        plain_seconds=times * found["plain"].seconds,
        fill_seconds=times * found["fill"].seconds,
        cached_seconds=times * found["cached"].seconds,
        less_seconds=times * found["less"].seconds,
        recomputed_seconds=times * found["recomputed"].seconds,
        row_seconds=single.seconds,
        can_quantise=not on_cpu() and loaded.bits >= _PLAIN_BITS,
    )


def _longest(train: Split, steps: int) -> tuple[int, int, TokenBatch]:
    """The batch with the most padded tokens: its step, its longest row, and itself."""
    epochs = min(_EPOCHS, max(1, _ROWS // len(train.prepared)))
    sizes = _padded(train, min(steps, epochs * train.plan.per_epoch))
    number = max(range(len(sizes)), key=lambda step: sizes[step])
    lengths = [train.prepared.lengths[row] for row in train.plan.batch(number)]
    return number, lengths.index(max(lengths)), train.batch(number)


def _padded(train: Split, steps: int) -> list[int]:
    """Rows times padded length of the first batches."""
    lengths = train.prepared.lengths
    batches = (train.plan.batch(step) for step in range(steps))
    longest = [(len(batch), max(lengths[n] for n in batch)) for batch in batches]
    return [count * padded_length(size, multiple_for(size)) for count, size in longest]


def _shares(train: Split, steps: int, longest: TokenBatch) -> list[float]:
    sizes = _padded(train, min(steps, train.plan.per_epoch))
    return [size / longest.tokens.size for size in sizes]


def _entered(model: nn.Module, train: Split) -> Forward | None:
    """The way that enters the model at the first trained block, where there is one."""
    first = first_trained(model)
    if first == 0:
        return None
    try:
        trunk = Trunk(model, first, {"train": MemoryStore(train.prepared.lengths)})
    except FAULTS:
        return None
    forward = Forward(model, trunk)
    forward.suit(model, train.part(0, 0, 2))
    return None if forward.trunk is None else forward


def _could_be_entered(model: nn.Module, config: TrainConfig) -> bool:
    """Whether there would be something to keep if fewer blocks were trained."""
    whole = layers_of(config, model) == len(model.layers)
    return whole and not config.lora_parameters.keys


def _evaluation(prober: Prober, splits: dict[str, Split], forward: Forward) -> int:
    """Bytes that the longest batch of a validation or of the test takes."""
    model, config = prober.model, prober.config
    wanted = {"valid": config.val_batches != 0, "test": config.test and config.test_batches != 0}
    model.eval()
    largest = 0
    for name, split in splits.items():
        if wanted.get(name):
            inputs = forward.inputs(split.batch(split.plan.per_epoch - 1))
            largest = max(largest, prober.call(partial(forward.loss, model, inputs)).size)
    model.train()
    return largest


def _below(model: nn.Module) -> int:
    return sum(_size(block.parameters()) for block in model.layers[: first_trained(model)])


def _size(tree: object) -> int:
    return sum(weight.nbytes for weight in flat(tree).values())
