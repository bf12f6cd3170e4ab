"""One step on the longest batch, measured: what it takes of the memory, and how long."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

from lora_nb.config import TrainConfig
from lora_nb.core.adapters import layers_of
from lora_nb.core.batching import Split, TokenBatch, multiple_for
from lora_nb.core.fit_plan import Probed
from lora_nb.core.forward import Forward
from lora_nb.core.load import Loaded, on_cpu
from lora_nb.core.loop import steps_of
from lora_nb.core.memory import checkpoint_gradients
from lora_nb.core.optimize import make_optimizer
from lora_nb.core.step import Stepper
from lora_nb.core.trees import flat
from lora_nb.core.trunk import Trunk, first_trained
from lora_nb.core.trunk_plan import TrunkPlan, plan_trunk
from lora_nb.core.trunk_store import MemoryStore
from lora_nb.data.batches import padded_length

__all__ = ["probe"]

# A step that takes longer is measured once, and no variants of it are tried.
_SLOW_SECONDS = 10.0
_MORE = 2
_TICKS = 5
_PLAIN_BITS = 12


@dataclass(frozen=True)
class _Taken:
    """Bytes beside what was there before, and seconds."""

    size: int
    seconds: float


@dataclass
class _Prober:
    """Measures steps of one model on one batch."""

    model: nn.Module
    config: TrainConfig

    def step(self, batch: TokenBatch, forward: Forward) -> _Taken:
        """A step with the loss by some way, its graph being compiled before it is timed."""
        stepper = Stepper(
            self.model,
            make_optimizer(self.config),
            seed=self.config.seed,
            max_grad_norm=self.config.max_grad_norm,
            forward=forward,
        )
        # With gathered gradients, one step that adds to them and one that uses them.
        update = self.config.grad_accumulation_steps == 1
        mx.eval(stepper.state)
        gc.collect()
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        seconds = self._once(stepper, batch, update=update)
        if not update or seconds < _SLOW_SECONDS:
            seconds = self._once(stepper, batch, update=True)
        # The quickest, as other work on the machine only ever makes it slower.
        for _ in range(_MORE if seconds < 1 else 0):
            seconds = min(seconds, self._once(stepper, batch, update=True))
        return _Taken(mx.get_peak_memory() - before, seconds)

    def _once(self, stepper: Stepper, batch: TokenBatch, *, update: bool) -> float:
        started = time.perf_counter()
        result = stepper(batch, 1, update=update)
        mx.eval(stepper.state, result)
        return time.perf_counter() - started

    def call(self, work: Callable[[], mx.array]) -> _Taken:
        """Something without gradients."""
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        started = time.perf_counter()
        mx.eval(work())
        return _Taken(mx.get_peak_memory() - before, time.perf_counter() - started)


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
    prober = _Prober(model, config)
    number, row, batch = _longest(train)
    rows = len(batch.rows)
    tick(1, _TICKS)
    one = train.part(number, row, row + 1)
    single = prober.step(one, forward)
    measured = fixed + rows * single.size <= limit
    planned = plan if isinstance(plan, TrunkPlan) and entered is not None else None
    tried = _Trial(prober, batch if measured else one, forward, entered, planned is not None)
    found = tried.run(tick, slow=rows * single.seconds > _SLOW_SECONDS)
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
        measured=measured,
        blocks=layers_of(config, model),
        rows=rows,
        length=int(batch.tokens.shape[1]),
        shares=_shares(train),
        steps=steps,
        plain_seconds=times * found["plain"].seconds,
        fill_seconds=times * found["fill"].seconds,
        cached_seconds=times * found["cached"].seconds,
        less_seconds=times * found["less"].seconds,
        recomputed_seconds=times * found["recomputed"].seconds,
        row_seconds=single.seconds,
        can_quantise=not on_cpu() and loaded.bits >= _PLAIN_BITS,
    )


@dataclass(frozen=True)
class _Trial:
    """The steps that are tried on a batch: `planned` says whether the run keeps its trunk."""

    prober: _Prober
    batch: TokenBatch
    forward: Forward
    entered: Forward | None
    planned: bool

    def run(self, tick: Callable[[int, int], None], *, slow: bool) -> dict[str, _Taken]:
        """What each way takes; nothing for those that are not tried, as steps are slow."""
        nothing = _Taken(0, 0.0)
        plain = self.prober.step(self.batch, self.forward)
        tick(2, _TICKS)
        fill, cached = nothing, plain
        if self.entered is not None and self.entered.trunk is not None:
            trunk = self.entered.trunk
            fill = self.prober.call(lambda: trunk.compute(self.batch.tokens))
            cached = self.prober.step(self.batch, self.entered)
        tick(3, _TICKS)
        step = _Taken(max(fill.size, cached.size), cached.seconds) if self.planned else plain
        less = recomputed = nothing
        if not slow:
            fewer = self._with_fewer()
            if fewer.size:
                saved = max(0, plain.size - fewer.size)
                less = _Taken(max(1, step.size - saved), fewer.seconds)
            tick(4, _TICKS)
            recomputed = self._recomputed()
        tick(_TICKS, _TICKS)
        return {
            "plain": plain, "fill": fill, "cached": cached, "step": step, "less": less,
            "recomputed": recomputed,
        }  # fmt: skip

    def _with_fewer(self) -> _Taken:
        """A step with the upper half of the trained blocks alone."""
        model, config = self.prober.model, self.prober.config
        blocks = layers_of(config, model)
        lower = model.layers[-blocks : len(model.layers) - (blocks - blocks // 2)]
        if not lower or config.lora_parameters.keys:
            return _Taken(0, 0.0)
        for block in lower:
            block.freeze()
        taken = self.prober.step(self.batch, self.forward)
        keys = None if config.fine_tune_type == "full" else ["lora_a", "lora_b", "m"]
        for block in lower:
            block.unfreeze(keys=keys)
        return taken

    def _recomputed(self) -> _Taken:
        """A step as configured, but with recomputed activations; there is no way back."""
        if self.prober.config.grad_checkpoint:
            return _Taken(0, 0.0)
        checkpoint_gradients(self.prober.model)
        way = self.entered if self.planned else None
        return self.prober.step(self.batch, way or self.forward)


def _longest(train: Split) -> tuple[int, int, TokenBatch]:
    """The batch of an epoch with the most padded tokens: its step, its longest row, and itself."""
    sizes = _padded(train)
    number = max(range(len(sizes)), key=lambda step: sizes[step])
    lengths = [train.prepared.lengths[row] for row in train.plan.batch(number)]
    return number, lengths.index(max(lengths)), train.batch(number)


def _padded(train: Split) -> list[int]:
    """Rows times padded length of an epoch's batches."""
    lengths = train.prepared.lengths
    batches = (train.plan.batch(step) for step in range(train.plan.per_epoch))
    longest = [(len(batch), max(lengths[n] for n in batch)) for batch in batches]
    return [count * padded_length(size, multiple_for(size)) for count, size in longest]


def _shares(train: Split) -> list[float]:
    sizes = _padded(train)
    return [size / max(sizes) for size in sizes]


def _entered(model: nn.Module, train: Split) -> Forward | None:
    """The way that enters the model at the first trained block, where there is one."""
    first = first_trained(model)
    if first == 0:
        return None
    forward = Forward(model, Trunk(model, first, {"train": MemoryStore(train.prepared.lengths)}))
    forward.suit(model, train.part(0, 0, 2))
    return None if forward.trunk is None else forward


def _evaluation(prober: _Prober, splits: dict[str, Split], forward: Forward) -> int:
    """Bytes that the longest batch of a validation takes."""
    if "valid" not in splits or prober.config.val_batches == 0:
        return 0
    valid, model = splits["valid"], prober.model
    batch = valid.batch(valid.plan.per_epoch - 1)
    model.eval()
    taken = prober.call(lambda: forward.loss(model, forward.inputs(batch)))
    model.train()
    return taken.size


def _below(model: nn.Module) -> int:
    return sum(_size(block.parameters()) for block in model.layers[: first_trained(model)])


def _size(tree: object) -> int:
    return sum(weight.nbytes for weight in flat(tree).values())
