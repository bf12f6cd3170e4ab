"""Which device MLX computes on."""

from __future__ import annotations

import mlx.core as mx

__all__ = ["on_cuda"]


def on_cuda() -> bool:
    """Whether MLX computes on an NVIDIA GPU."""
    return bool(mx.default_device() == mx.Device(mx.DeviceType.gpu) and mx.cuda.is_available())
