"""Memory: gradient checkpointing, and keeping the model in fast memory on a Mac."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import mlx.core as mx
import mlx.nn as nn
import psutil
from mlx_lm.utils import maybe_set_recommended_wired_limit

from lora_nb.config.derived import bytes_of
from lora_nb.core.device import on_cuda
from lora_nb.core.load import on_cpu

__all__ = [
    "VARIABLE",
    "checkpoint_gradients",
    "free_memory",
    "give_back",
    "total_memory",
    "wire_memory",
]

VARIABLE = "LORA_NB_MEMORY"
"""Environment variable: the most that training is to take, such as 8GB."""

# Shares of a GPU's memory: what arrays take before unused ones are given back, and what unused
# ones take. CUDA needs some for itself, and fails without.
_TAKEN_SHARE = 0.85
_UNUSED_SHARE = 0.25

# As devices call what may be used of them, the most cautious first.
_TOTAL_KEYS = ("max_recommended_working_set_size", "total_memory", "memory_size")


def total_memory() -> int:
    """Bytes of the device's memory that may be used, at most what `VARIABLE` says."""
    about = {} if on_cpu() else mx.device_info()
    total = next((about[key] for key in _TOTAL_KEYS if key in about), psutil.virtual_memory().total)
    return min(int(total), _allowed())


def free_memory() -> int:
    """Bytes that are still free; of a GPU, those that this process has not taken itself."""
    if not on_cpu():
        return total_memory() - mx.get_active_memory()
    own = psutil.Process().memory_info().rss
    return max(0, min(psutil.virtual_memory().available, _allowed() - own))


def _allowed() -> int:
    try:
        return bytes_of(os.environ[VARIABLE])
    except (KeyError, ValueError):
        return sys.maxsize


def give_back() -> None:
    """Hand back to the system what arrays have held that are gone.

    MLX keeps some of it for the next ones, and on a CPU so does the C library's allocator, which
    may keep all of it.
    """
    gc.collect()
    mx.clear_cache()
    # Of glibc alone; others give memory back by themselves.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


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
    """Let MLX keep as much memory wired as the device recommends, where it says so.

    On an NVIDIA GPU it would keep unused arrays until the card is full: that is limited.
    """
    maybe_set_recommended_wired_limit()
    if on_cuda():
        total = total_memory()
        mx.set_memory_limit(int(_TAKEN_SHARE * total))
        mx.set_cache_limit(int(_UNUSED_SHARE * total))
