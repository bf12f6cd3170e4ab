"""Steps that are tried: how much of the memory each way to a loss takes, and how long."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from lora_nb.config import TrainConfig
from lora_nb.core.batching import TokenBatch
from lora_nb.core.forward import Forward
from lora_nb.core.memory import checkpoint_gradients
from lora_nb.core.optimize import make_optimizer
from lora_nb.core.step import Stepper
from lora_nb.core.trainable import layers_of

__all__ = ["SLOW_SECONDS", "TICKS", "Prober", "Taken", "Trial"]

# A step that takes longer is measured once, and no variants of it are tried.
SLOW_SECONDS = 10.0
_MORE = 2
TICKS = 5


@dataclass(frozen=True)
class Taken:
    """Bytes beside what was there before, and seconds."""

    size: int
    seconds: float


@dataclass
class Prober:
    """Measures steps of one model on one batch."""

    model: nn.Module
    config: TrainConfig

    def step(self, batch: TokenBatch, forward: Forward) -> Taken:
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
        if not update or seconds < SLOW_SECONDS:
            seconds = self._once(stepper, batch, update=True)
        # The quickest, as other work on the machine only ever makes it slower.
        for _ in range(_MORE if seconds < 1 else 0):
            seconds = min(seconds, self._once(stepper, batch, update=True))
        return Taken(mx.get_peak_memory() - before, seconds)

    def _once(self, stepper: Stepper, batch: TokenBatch, *, update: bool) -> float:
        started = time.perf_counter()
        result = stepper(batch, 1, update=update)
        mx.eval(stepper.state, result)
        return time.perf_counter() - started

    def call(self, work: Callable[[], mx.array]) -> Taken:
        """Something without gradients."""
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        started = time.perf_counter()
        mx.eval(work())
        return Taken(mx.get_peak_memory() - before, time.perf_counter() - started)


@dataclass(frozen=True)
class Trial:
    """The steps that are tried on a batch: `planned` says whether the run keeps its trunk."""

    prober: Prober
    batch: TokenBatch
    forward: Forward
    entered: Forward | None
    planned: bool

    def run(self, tick: Callable[[int, int], None], *, slow: bool) -> dict[str, Taken]:
        """What each way takes; nothing for those that are not tried, as steps are slow."""
        nothing = Taken(0, 0.0)
        plain = self.prober.step(self.batch, self.forward)
        tick(2, TICKS)
        fill, cached = nothing, plain
        if self.entered is not None and self.entered.trunk is not None:
            trunk = self.entered.trunk
            fill = self.prober.call(lambda: trunk.compute(self.batch.tokens, self.batch.parts))
            cached = self.prober.step(self.batch, self.entered)
        tick(3, TICKS)
        step = Taken(max(fill.size, cached.size), cached.seconds) if self.planned else plain
        less = recomputed = nothing
        if not slow:
            fewer = self._with_fewer()
            if fewer.size:
                saved = max(0, plain.size - fewer.size)
                less = Taken(max(1, step.size - saved), fewer.seconds)
            tick(4, TICKS)
            recomputed = self._recomputed()
        tick(TICKS, TICKS)
        return {
            "plain": plain, "fill": fill, "cached": cached, "step": step, "less": less,
            "recomputed": recomputed,
        }  # fmt: skip

    def _with_fewer(self) -> Taken:
        """A step with the upper half of the trained blocks alone."""
        model, config = self.prober.model, self.prober.config
        blocks = layers_of(config, model)
        lower = model.layers[-blocks : len(model.layers) - (blocks - blocks // 2)]
        if not lower or config.lora_parameters.keys:
            return Taken(0, 0.0)
        for block in lower:
            block.freeze()
        taken = self.prober.step(self.batch, self.forward)
        keys = None if config.fine_tune_type == "full" else ["lora_a", "lora_b", "m"]
        for block in lower:
            block.unfreeze(keys=keys)
        return taken

    def _recomputed(self) -> Taken:
        """A step as configured, but with recomputed activations; there is no way back."""
        if self.prober.config.grad_checkpoint:
            return Taken(0, 0.0)
        checkpoint_gradients(self.prober.model)
        way = self.entered if self.planned else None
        return self.prober.step(self.batch, way or self.forward)
