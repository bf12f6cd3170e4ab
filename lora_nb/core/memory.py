"""Memory: gradient checkpointing, and keeping the model in fast memory on a Mac."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.utils import maybe_set_recommended_wired_limit

__all__ = ["checkpoint_gradients", "wire_memory"]


def checkpoint_gradients(model: nn.Module) -> None:
    """Recompute every block's activations in the backward pass.

    As `mlx_lm.tuner.trainer.grad_checkpoint`, but for every class of blocks that the model has,
    and with the same dropout in both passes: drawn anew in the second one, it would make the
    gradient that of another function.
    """
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = _Dropout
    for kind in {type(block) for block in model.layers}:
        _checkpoint_class(kind)


class _Dropout(nn.Dropout):
    """Dropout that draws from `key` where there is one, and else as usual."""

    key: ClassVar[mx.array | None] = None

    def __call__(self, x: mx.array) -> mx.array:
        if _Dropout.key is None or not self.training or self._p_1 == 1:
            return super().__call__(x)
        _Dropout.key, own = mx.random.split(_Dropout.key)
        mask = mx.random.bernoulli(self._p_1, x.shape, key=own)
        return (mask * x) / self._p_1


def _checkpoint_class(kind: type[nn.Module]) -> None:
    plain: Callable[..., Any] = kind.__call__

    def call(block: nn.Module, *arguments: Any, **named: Any) -> Any:
        def inner(weights: Any, key: mx.array, *arguments: Any, **named: Any) -> Any:
            block.update(weights)
            _Dropout.key = mx.stop_gradient(key)
            try:
                return plain(block, *arguments, **named)
            finally:
                _Dropout.key = None

        key = mx.random.randint(0, 2**31 - 1, [2], mx.uint32)
        return mx.checkpoint(inner)(block.trainable_parameters(), key, *arguments, **named)

    kind.__call__ = call  # type: ignore[method-assign]


def wire_memory() -> None:
    """Let MLX keep as much memory wired as the device recommends, where it says so."""
    maybe_set_recommended_wired_limit()
