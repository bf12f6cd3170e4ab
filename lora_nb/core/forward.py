"""The loss of a batch by the shortest way that the model allows.

That is: entered at the first trained block where the trunk's activations are kept, and with
logits for targets alone. Both are checked against the plain loss before they are used, since they
rest on how mlx-lm's models are built.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

import mlx.core as mx
import mlx.nn as nn

from lora_nb.core.batching import TokenBatch
from lora_nb.core.device import on_cuda
from lora_nb.core.loss import summed_loss
from lora_nb.core.packed import FAULTS
from lora_nb.core.products import adapters_cast, unpack_wide
from lora_nb.core.targets import Picks, has_body, picked_loss
from lora_nb.core.trees import value_of
from lora_nb.core.trunk import NOT_ENTERED, Trunk

__all__ = ["Forward", "Inputs"]

# Relative; other shapes of the same products round otherwise in half precision.
_TOLERANCE = 2e-2


class Inputs(NamedTuple):
    """What a step's graph is given of a batch."""

    tokens: mx.array
    trained: mx.array
    picks: Picks | None
    hidden: mx.array | None
    parts: mx.array | None = None

    def targets(self) -> mx.array:
        """The trained tokens."""
        return self.trained[:, 1:].sum() if self.picks is None else self.picks[1].sum()


class Forward:
    """Computes the summed loss of batches of a model."""

    def __init__(self, model: nn.Module, trunk: Trunk | None = None) -> None:
        self.trunk = trunk
        self._picks = has_body(model)
        if on_cuda():
            unpack_wide(model)

    def inputs(self, batch: TokenBatch) -> Inputs:
        """A batch as inputs of `loss`; the frozen part is computed here if it isn't kept yet."""
        trunk = self.trunk
        hidden = trunk.hidden(batch) if trunk is not None and trunk.knows(batch.split) else None
        picks = batch.picks if self._picks else None
        return Inputs(batch.tokens, batch.trained, picks, hidden, batch.parts)

    def loss(self, model: nn.Module, inputs: Inputs) -> mx.array:
        """Cross entropy in nats, summed over the trained targets, as an fp32 scalar."""
        trunk, hidden = self.trunk, inputs.hidden
        way = nullcontext() if trunk is None or hidden is None else trunk.entered(hidden)
        cast = adapters_cast(model) if on_cuda() else nullcontext()
        with way, cast:
            if inputs.picks is None:
                return summed_loss(model, inputs.tokens, inputs.trained, inputs.parts)
            return picked_loss(model, inputs.tokens, inputs.picks, inputs.parts)

    def suit(self, model: nn.Module, batch: TokenBatch) -> list[str]:
        """Compare with the plain loss on a batch and drop what does not fit the model.

        Returns what was dropped, in words.
        """
        plain = value_of(summed_loss(model, batch.tokens, batch.trained, batch.parts))
        dropped = []
        if self._picks and not self._agrees(model, batch, plain, trunk=None):
            self._picks = False
            dropped.append("Logits are computed for every token: this model's head can't be split.")
        if self.trunk is not None and not self._agrees(model, batch, plain, trunk=self.trunk):
            self.trunk = None
            dropped.append(NOT_ENTERED)
        return dropped

    def _agrees(
        self, model: nn.Module, batch: TokenBatch, plain: float, trunk: Trunk | None
    ) -> bool:
        picks = batch.picks if self._picks else None
        before, self.trunk = self.trunk, trunk
        try:
            hidden = None if trunk is None else trunk.compute(batch.tokens, batch.parts)
            inputs = Inputs(batch.tokens, batch.trained, picks, hidden, batch.parts)
            loss = value_of(self.loss(model, inputs))
        except FAULTS:
            return False
        finally:
            self.trunk = before
        return abs(loss - plain) <= _TOLERANCE * max(abs(plain), 1.0)
