"""One training step: loss, gradient, and every few steps an update."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_map, tree_unflatten

from lora_nb.core.batching import TokenBatch
from lora_nb.core.device import on_cuda
from lora_nb.core.forward import Forward, Inputs
from lora_nb.core.joined import layout_of
from lora_nb.core.products import halves
from lora_nb.core.trees import Weights, flat, value_of

__all__ = ["StepResult", "Stepper"]

_ROW = 1024


class _Carried(NamedTuple):
    """Gradients summed over the steps since the last update, and their trained tokens."""

    gradients: Any
    tokens: mx.array


class StepResult(NamedTuple):
    """Summed loss of a batch, and the norm of the gradient as it is gathered by then."""

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
        self._carried: _Carried | None = None
        trained = model.trainable_parameters()
        self._layout = layout_of(trained, optimizer, halves(model) if on_cuda() else set())
        self._owners = _owners(model)
        # The model's own arrays are parts of these, or the same.
        self._held: dict[str, Any] = {}
        self.take_weights()
        optimizer.init(self._held["weights"])
        self._build()

    def take_weights(self) -> None:
        """Go on from the weights that the model has been given by now."""
        weights = self._layout.join(self._model.trainable_parameters())
        self._held["weights"] = weights
        self._model.update(self._layout.split(weights))

    def _build(self) -> None:
        """Compile, anew for each new shape of a batch."""
        # Frozen weights are constants of the graph: so a step does not have to look at thousands
        # of them, and blocks that were not in it may leave the model without its being built anew.
        self._state = [self._held, self._owners, self._optimizer.state, mx.random.state]
        self._compiled = mx.compile(self._make(), inputs=self._state, outputs=self._state)

    def _make(self) -> Any:
        model, layout, held = self._model, self._layout, self._held
        loss_and_gradient = nn.value_and_grad(model, self._forward.loss)

        def step(
            inputs: Inputs, carried: _Carried | None, update: bool
        ) -> tuple[StepResult, _Carried | None]:
            model.update(layout.split(held["weights"], half=True))
            loss, gradients = loss_and_gradient(model, inputs)
            gradients = layout.join(gradients)
            count = inputs.targets()
            if carried is not None:
                gradients = tree_map(lambda a, b: a + b, gradients, carried.gradients)
                count = count + carried.tokens
            if update:
                gradients = tree_map(lambda g: g / count, gradients)
            norm = _norm(gradients)
            if update:
                held["weights"] = self._updated(gradients, loss, norm)
            model.update(layout.split(held["weights"]))
            if update:
                return StepResult(loss, norm), None
            # A sum over an array depends on its layout, and one from a checkpoint is plain.
            return StepResult(loss, norm), _Carried(tree_map(mx.contiguous, gradients), count)

        return step

    def _updated(self, gradients: Any, loss: mx.array, norm: mx.array) -> Any:
        """The weights after an update."""
        # Whatever is no number must not get into the weights: the rows are looked at next.
        good = mx.isfinite(loss) & mx.isfinite(norm)
        gradients = tree_map(lambda g: mx.where(good, g, 0), gradients)
        if self._max_grad_norm is not None:
            factor = mx.minimum(1.0, self._max_grad_norm / (norm + 1e-6))
            gradients = tree_map(lambda g: g * factor.astype(g.dtype), gradients)
        return self._optimizer.apply_gradients(gradients, self._held["weights"])

    def __call__(self, batch: TokenBatch, number: int, *, update: bool) -> StepResult:
        """Start the step with this number; its results are computed while Python goes on."""
        # Dropout follows from the seed and the step alone, so that a resumed run repeats it.
        mx.random.seed(_mixed(self._seed, number))
        result: StepResult
        inputs = self._forward.inputs(batch)
        result, self._carried = self._compiled(inputs, self._carried, update)
        mx.async_eval(self._state, result, self._carried)
        return result

    def set_learning_rate(self, value: float) -> None:
        """Use this learning rate from the next update on, in place of a schedule as well."""
        # Held by the optimizer, a schedule would win against the rate.
        self._optimizer._schedulers.pop("learning_rate", None)  # noqa: SLF001 (no public way)
        self._optimizer.learning_rate = value
        self._build()

    def restore(self, optimizer_state: Weights, carried: Weights) -> None:
        """Go on with the model's present weights, and what the two properties gave with them."""
        layout, optimizer = self._layout, self._optimizer
        self.take_weights()
        optimizer.state = layout.join_state(optimizer.state, optimizer_state)
        if carried:
            found = tree_unflatten(list(carried.items()))
            self._carried = _Carried(layout.join(found["gradients"]), found["tokens"])
        self._build()

    @property
    def optimizer_state(self) -> Weights:
        """The optimizer's state by names."""
        return self._layout.split_state(self._optimizer.state)

    @property
    def carried(self) -> Weights:
        """Gradients gathered since the last update and their trained tokens, by names; or none."""
        if self._carried is None:
            return {}
        gradients, tokens = self._carried
        return flat({"gradients": self._layout.split(gradients), "tokens": tokens})

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


def _owners(model: nn.Module) -> list[nn.Module]:
    """The modules of a model that have trained arrays of their own."""
    trained = flat(model.trainable_parameters()).keys()
    return [
        module
        for path, module in model.named_modules()
        if trained & {f"{path}.{name}".removeprefix(".") for name in module}
    ]


def _norm(gradients: Any) -> mx.array:
    squares = [_sum(g.astype(mx.float32).square().reshape(-1)) for g in flat(gradients).values()]
    return mx.sqrt(sum(squares[1:], squares[0]))


def _sum(values: mx.array) -> mx.array:
    """The sum of a vector, added up row by row.

    MLX's CPU adds one number after the other: of 20 million squares, 4 % were lost.
    """
    while values.size > _ROW:
        end = values.size - values.size % _ROW
        rows = values[:end].reshape(-1, _ROW).sum(axis=1)
        rest = [values[end:].sum(keepdims=True)] if end < values.size else []
        values = mx.concatenate([rows, *rest])
    return values.sum()


def _mixed(seed: int, number: int) -> int:
    """A 63-bit number from seed and step (splitmix64's finaliser), far apart for neighbours."""
    z = (seed * 0x9E3779B97F4A7C15 + number + 1) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) >> 1
