"""Matrix products as the device does them best, with the weights staying as they are.

Both are for NVIDIA GPUs. LoRA's own matrices are held as float32, and mlx-lm multiplies them with
activations of bfloat16: so every one of them makes a float32 copy of its input, which the backward
pass then keeps. In bfloat16 models they are cast instead, each time anew, while what is trained
stays float32: as in mixed precision, products are rounded to what activations are rounded to.

MLX's product with quantised weights is several times slower than one with
bfloat16 weights as soon as there are more than a few rows. So for many rows the weights of a layer
are unpacked just before they are used, once in the forward and once in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.tuner.lora import LoRALinear, LoRASwitchLinear

__all__ = ["adapters_cast", "halves", "unpack_wide"]

# Tokens of a batch from which on unpacking pays.
_MANY = 192


def halves(model: nn.Module) -> set[str]:
    """The names of the LoRA matrices on bfloat16 layers, which are multiplied as bfloat16."""
    return {f"{path}.{name}" for path, _, name in _matrices(model)}


@contextmanager
def adapters_cast(model: nn.Module) -> Iterator[None]:
    """Within it, the LoRA matrices on bfloat16 layers are bfloat16; gradients pass the cast."""
    before = [(module, name, module[name]) for _, module, name in _matrices(model)]
    for module, name, weight in before:
        module[name] = weight.astype(mx.bfloat16)
    try:
        yield
    finally:
        for module, name, weight in before:
            module[name] = weight


def _matrices(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Path, module and name of each."""
    for path, module in model.named_modules():
        if isinstance(module, LoRALinear | LoRASwitchLinear) and _is_bfloat16(module.linear):
            for name in ("lora_a", "lora_b"):
                yield path, module, name


def _is_bfloat16(layer: nn.Module) -> bool:
    kind = layer["scales"].dtype if "scales" in layer else layer["weight"].dtype
    return bool(kind == mx.bfloat16)


def unpack_wide(model: nn.Module) -> None:
    """Have the quantised layers of a model unpack their weights where there are many rows."""
    for module in model.modules():
        if type(module) is nn.QuantizedLinear and module["scales"].dtype == mx.bfloat16:
            module.__class__ = _Unpacked


class _Unpacked(nn.QuantizedLinear):
    """A quantised layer that multiplies with unpacked weights where there are many rows."""

    def __call__(self, x: mx.array) -> mx.array:
        if x.size < _MANY * x.shape[-1]:
            few: mx.array = super().__call__(x)  # type: ignore[no-untyped-call]
            return few
        packed = [self[name] for name in ("weight", "scales", "biases") if name in self]
        y = _product(self.group_size, self.bits, self.mode)(x, *packed)
        return y + self["bias"] if "bias" in self else y  # type: ignore[no-any-return]


def _product(group_size: int, bits: int, mode: str) -> Callable[..., Any]:
    """x times the transposed weights, of which nothing unpacked is kept for the backward pass."""

    def unpacked(
        dtype: mx.Dtype, weight: mx.array, scales: mx.array, biases: mx.array | None = None
    ) -> mx.array:
        plain = mx.dequantize(weight, scales, biases, group_size=group_size, bits=bits, mode=mode)
        return plain.astype(dtype)

    @mx.custom_function
    def product(x: mx.array, *packed: mx.array) -> mx.array:
        return x @ unpacked(x.dtype, *packed).T

    @product.vjp
    def backward(primals: Any, cotangent: mx.array, _: mx.array) -> list[mx.array]:
        x, *packed = primals
        gradient = cotangent @ unpacked(x.dtype, *packed)
        return [gradient, *(mx.zeros_like(each) for each in packed)]

    return product
