"""What mlx-lm computes otherwise than a model was trained, mended on the built model.

Where a key in the config can't mend it, single modules of this one model get a class of ours that
is derived from mlx-lm's. Nothing of mlx-lm is changed for other models.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models import gemma
from mlx_lm.models.base import create_attention_mask
from mlx_lm.models.rope_utils import SuScaledRoPE

from lora_nb.errors import LoraError

__all__ = ["correct", "windows_of"]

Config = Mapping[str, Any]

_WINDOW_NOTE = (
    "Attention sees {width} tokens back (sliding_window), as the model was trained; mlx-lm leaves "
    "that out, so it gives other results for longer texts."
)
_LONG_NOTE = (
    "Texts of up to {original} tokens get the positions made for short texts (short_factor); "
    "mlx-lm always takes those for long ones, so it gives other results."
)
_GELU_NOTE = (
    "Gemma's GELU is computed by its tanh form, as the model was trained; mlx-lm takes the exact "
    "one, which differs from the third digit on."
)

_ALL_ALIKE = ("mistral", "mixtral", "phi3")
_BY_LAYER = ("gemma2", "qwen2", "qwen3")


def correct(model: nn.Module, config: Config) -> list[str]:
    """Mend a model in place; returns what was mended, in words.

    Raises LoraError for a combination that can't be mended.
    """
    notes = [*_windows(model, config), *_long_positions(model, config)]
    if config.get("model_type") == "gemma":
        notes += _gelu_by_tanh(model)
    return notes


# Windows


def windows_of(config: Config) -> list[int | None]:
    """How many tokens the attention of each block sees (None: all), where mlx-lm leaves that out.

    Empty if no block has a window, or if mlx-lm sees to it. Source: the configuration files and
    models of these families in transformers.
    """
    family, blocks = config.get("model_type"), config.get("num_hidden_layers", 0)
    default = 4096 if family == "gemma2" else None
    width = config.get("sliding_window", default)
    if not isinstance(width, int) or width >= config.get("max_position_embeddings", math.inf):
        return []
    kinds = config.get("layer_types")
    if family in _ALL_ALIKE:
        # With these, mlx-lm's llama, which serves mistral too, has windows of its own.
        return [] if family == "mistral" and kinds else [width] * blocks
    if family not in _BY_LAYER or (family != "gemma2" and not config.get("use_sliding_window")):
        return []
    if kinds:
        slides = [kind == "sliding_attention" for kind in kinds]
    elif family == "gemma2":
        slides = [number % 2 == 0 for number in range(blocks)]
    else:
        slides = [number >= config.get("max_window_layers", 28) for number in range(blocks)]
    return [width if one else None for one in slides] if any(slides) else []


def _windows(model: nn.Module, config: Config) -> list[str]:
    windows = windows_of(config)
    if not windows:
        return []
    if len(windows) != len(model.layers):
        raise LoraError(
            f"model: its config tells the attention of {len(windows)} blocks (layer_types), but "
            f"the model has {len(model.layers)}."
        )
    as_array = config["model_type"] == "gemma2"
    for block, width in zip(model.layers, windows, strict=True):
        if width is not None:
            block.__class__ = _windowed(_Kind(type(block)), width, as_array)
    width = next(width for width in windows if width is not None)
    return [_WINDOW_NOTE.format(width=width)]


@dataclass(frozen=True)
class _Kind:
    """A class of blocks."""

    kind: type[nn.Module]


@functools.cache
def _windowed(given: _Kind, width: int, as_array: bool) -> type[nn.Module]:
    """A class of blocks like the given one that sees `width` tokens back.

    `as_array` is for blocks that want their mask as an array at all times.
    """
    kind = given.kind
    plain: Callable[..., mx.array] = kind.__call__

    def call(block: nn.Module, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        return plain(block, x, _mask(x, mask, cache, width, as_array), cache)

    return type(f"Windowed{kind.__name__}", (kind,), {"__call__": call})


def _mask(x: mx.array, mask: Any, cache: Any, width: int, as_array: bool) -> Any:
    """The mask of a block with a window; the model's own while the window holds everything."""
    before = 0 if cache is None else cache.offset
    if isinstance(before, int) and before + x.shape[1] <= width:
        return mask
    return create_attention_mask(x, cache, window_size=width, return_array=as_array)


# Positions of long texts


def _long_positions(model: nn.Module, config: Config) -> list[str]:
    found = [
        (owner, name, rope)
        for owner in model.modules()
        for name, rope in owner.children().items()
        if isinstance(rope, SuScaledRoPE)
    ]
    scaling = config.get("rope_scaling")
    if not found or not isinstance(scaling, Mapping) or "long_mscale" in scaling:
        return []
    original = scaling.get("original_max_position_embeddings") or config.get(
        "original_max_position_embeddings"
    )
    if original is None:
        raise LoraError(
            "model: its config asks for longrope without original_max_position_embeddings, so "
            "nobody can say which texts are long."
        )
    for owner, name, rope in found:
        setattr(owner, name, LongRoPE(rope.dim, config, scaling, int(original)))
    return [_LONG_NOTE.format(original=original)]


class LongRoPE(nn.Module):
    """Rotary positions with one set of factors for short texts and one for long ones.

    Source: LongRoPE (arXiv 2402.13753), with the scale of Phi-3's own code: the root of
    1 + ln(longest / original) / ln(original).
    """

    def __init__(self, dims: int, config: Config, scaling: Config, original: int) -> None:
        super().__init__()
        self.dims, self.original = dims, original
        theta = config.get("rope_theta") or 10_000.0
        plain = theta ** (mx.arange(0, dims, 2, dtype=mx.float32) / dims)
        self._short = mx.array(scaling["short_factor"], dtype=mx.float32) * plain
        self._long = mx.array(scaling["long_factor"], dtype=mx.float32) * plain
        times = scaling.get("factor") or config.get("max_position_embeddings", original) / original
        own = math.sqrt(1 + math.log(times) / math.log(original)) if times > 1 else 1.0
        self.scale = float(scaling.get("attention_factor") or own)

    def __call__(self, x: mx.array, offset: int | mx.array = 0) -> mx.array:
        end = offset + x.shape[-2]
        if isinstance(end, int):
            factors = self._long if end > self.original else self._short
        else:
            factors = mx.where(end.max() > self.original, self._long, self._short)
        if self.scale != 1.0:
            turned = self.scale * x[..., : self.dims]
            x = mx.concatenate([turned, x[..., self.dims :]], axis=-1)
        return mx.fast.rope(
            x, self.dims, traditional=False, base=None, scale=1.0, offset=offset, freqs=factors
        )


# Gemma


class _TanhMLP(gemma.MLP):
    """Gemma's feed-forward layer with the GELU that it was trained with."""

    def __call__(self, x: mx.array) -> mx.array:
        out: mx.array = self.down_proj(nn.gelu_approx(self.gate_proj(x)) * self.up_proj(x))
        return out


def _gelu_by_tanh(model: nn.Module) -> list[str]:
    for block in model.layers:
        block.mlp.__class__ = _TanhMLP
    return [_GELU_NOTE]
