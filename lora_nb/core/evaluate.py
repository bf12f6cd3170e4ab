"""Loss of a model on the rows of a split."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import mlx.nn as nn

from lora_nb.core.batching import Split
from lora_nb.core.forward import Forward
from lora_nb.core.trees import value_of

__all__ = ["Evaluated", "Evaluator", "perplexity_of"]


@dataclass(frozen=True)
class Evaluated:
    """Mean loss in nats per trained token, over how many tokens and rows."""

    loss: float
    tokens: int
    rows: int


def perplexity_of(loss: float) -> float:
    """exp(loss), infinite where that is too large for a number."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


class Evaluator:
    """Evaluates a model.

    The forward pass is not compiled: on a CPU that costs a cold start ten seconds, for a gain
    of a tenth.
    """

    def __init__(self, model: nn.Module, forward: Forward | None = None) -> None:
        self._model = model
        self._forward = forward or Forward(model)

    def __call__(
        self, split: Split, limit: int, tick: Callable[[int, int], bool] = lambda done, total: True
    ) -> Evaluated | None:
        """The loss over at most `limit` batches (-1: all), spread over all lengths.

        `tick(done, total)` is called after each batch; None is returned if it says to stop.
        """
        self._model.eval()
        numbers = split.plan.spread(limit)
        summed, tokens, rows = 0.0, 0, 0
        try:
            for done, number in enumerate(numbers, start=1):
                batch = split.batch(number)
                summed += value_of(self._forward.loss(self._model, self._forward.inputs(batch)))
                tokens += batch.count
                rows += len(batch.rows)
                if not tick(done, len(numbers)):
                    return None
        finally:
            self._model.train()
        return Evaluated(summed / tokens if tokens else math.nan, tokens, rows)
