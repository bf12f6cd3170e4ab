"""Rotary positions that turn with the length of the whole text, and so with that of a batch."""

from __future__ import annotations

import mlx.nn as nn
from mlx_lm.models.rope_utils import DynamicNTKScalingRoPE

from lora_nb.core.corrections import LongRoPE

__all__ = ["fixed_up_to"]


def fixed_up_to(model: nn.Module) -> int | None:
    """The longest batch in tokens up to which a token's position is always the same; None: any."""
    limits = [limit for module in model.modules() if (limit := _limit(module)) is not None]
    return min(limits, default=None)


def _limit(module: nn.Module) -> int | None:
    if isinstance(module, LongRoPE):
        return module.original
    if isinstance(module, DynamicNTKScalingRoPE):
        return int(module.max_position_embeddings)
    return None
