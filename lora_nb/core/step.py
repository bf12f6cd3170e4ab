"""One training step: loss, gradient, and every few steps an update."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_map

from lora_nb.core.batching import TokenBatch
from lora_nb.core.forward import Forward, Inputs
from lora_nb.core.trees import flat, value_of

__all__ = ["Carried", "StepResult", "Stepper"]


class Carried(NamedTuple):
    """Gradients summed over the steps since the last update, and their trained tokens."""

    gradients: Any
    tokens: mx.array


class StepResult(NamedTuple):
    """Summed loss of a batch, and the norm of the gradient (0 where no update was made)."""

    loss: mx.array
    norm: mx.array


class Stepper:
    """Runs compiled steps on a model and its optimizer.

    Gradients are summed over tokens and divided once by the trained tokens of the whole update,
    so that accumulating over n steps equals one batch n times as large.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: optim.Optimizer,
        *,
        seed: int,
        max_grad_norm: float | None = None,
        forward: Forward | None = None,
    ) -> None:
        self._model = model
        self._forward = forward or Forward(model)
        self._max_grad_norm = max_grad_norm
        self._optimizer = optimizer
        self._seed = seed
        optimizer.init(model.trainable_parameters())
        self.carried: Carried | None = None
        self.rebuild()

    def rebuild(self) -> None:
        """Compile anew; needed once blocks were taken out of the model."""
        self._state = [self._model.state, self._optimizer.state, mx.random.state]
        self._compiled = mx.compile(self._make(), inputs=self._state, outputs=self._state)

    def _make(self) -> Any:
        model, optimizer, max_grad_norm = self._model, self._optimizer, self._max_grad_norm
        loss_and_gradient = nn.value_and_grad(model, self._forward.loss)

        def step(
            inputs: Inputs, carried: Carried | None, update: bool
        ) -> tuple[StepResult, Carried | None]:
            loss, gradients = loss_and_gradient(model, inputs)
            count = inputs.targets()
            if carried is not None:
                gradients = tree_map(lambda a, b: a + b, gradients, carried.gradients)
                count = count + carried.tokens
            if not update:
                # A sum over an array depends on its layout, and one from a checkpoint is plain.
                plain = tree_map(mx.contiguous, gradients)
                return StepResult(loss, mx.array(0.0)), Carried(plain, count)
            gradients = tree_map(lambda g: g / count, gradients)
            norm = _norm(gradients)
            # Whatever is no number must not get into the weights: the rows are looked at next.
            good = mx.isfinite(loss) & mx.isfinite(norm)
            gradients = tree_map(lambda g: mx.where(good, g, 0), gradients)
            if max_grad_norm is not None:
                factor = mx.minimum(1.0, max_grad_norm / (norm + 1e-6))
                gradients = tree_map(lambda g: g * factor.astype(g.dtype), gradients)
            optimizer.update(model, gradients)
            return StepResult(loss, norm), None

        return step

    def __call__(self, batch: TokenBatch, number: int, *, update: bool) -> StepResult:
        """Start the step with this number; its results are computed while Python goes on."""
        # Dropout follows from the seed and the step alone, so that a resumed run repeats it.
        mx.random.seed(_mixed(self._seed, number))
        result: StepResult
        inputs = self._forward.inputs(batch)
        result, self.carried = self._compiled(inputs, self.carried, update)
        mx.async_eval(self._state, result, self.carried)
        return result

    def set_learning_rate(self, value: float) -> None:
        """Use this learning rate from the next update on, in place of a schedule as well."""
        # Held by the optimizer, a schedule would win against the rate.
        self._optimizer._schedulers.pop("learning_rate", None)  # noqa: SLF001 (no public way)
        self._optimizer.learning_rate = value
        self.rebuild()

    def restore(self, optimizer_state: Any, carried: Carried | None) -> None:
        """Go on from the optimizer state and the gathered gradients of a checkpoint."""
        self._optimizer.state = optimizer_state
        self.carried = carried
        self.rebuild()

    @property
    def optimizer_state(self) -> Any:
        """The tree of the optimizer's state."""
        return self._optimizer.state

    @property
    def state(self) -> list[Any]:
        """All arrays that a step changes."""
        return self._state

    def is_finite(self, batch: TokenBatch, number: int) -> bool:
        """Whether loss and gradient of a batch alone are finite, in the step with this number."""
        mx.random.seed(_mixed(self._seed, number))
        found = nn.value_and_grad(self._model, self._forward.loss)
        loss, gradients = found(self._model, self._forward.inputs(batch))
        return math.isfinite(value_of(loss)) and math.isfinite(value_of(_norm(gradients)))

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last update."""
        return value_of(self._optimizer.learning_rate)


def _norm(gradients: Any) -> mx.array:
    squares = [g.astype(mx.float32).square().sum() for g in flat(gradients).values()]
    return mx.sqrt(sum(squares[1:], squares[0]))


def _mixed(seed: int, number: int) -> int:
    """A 63-bit number from seed and step (splitmix64's finaliser), far apart for neighbours."""
    z = (seed * 0x9E3779B97F4A7C15 + number + 1) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) >> 1
