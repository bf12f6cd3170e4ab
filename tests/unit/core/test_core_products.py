"""Products with adapters and with quantised weights."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.tuner.lora import LoRALinear

from lora_nb.core.products import adapters_cast, unpack_wide
from lora_nb.core.targets import room_for


class _Two(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.one = layer

    def __call__(self, x: mx.array) -> mx.array:
        y: mx.array = self.one(x)
        return y


def _quantised(mode: str = "affine", bits: int = 4, group: int = 64) -> _Two:
    mx.random.seed(3)
    layer = nn.Linear(128, 96, bias=mode == "affine")
    layer.set_dtype(mx.bfloat16)
    return _Two(nn.QuantizedLinear.from_linear(layer, group, bits, mode=mode))


def _value_and_gradient(model: _Two, x: mx.array) -> tuple[np.ndarray[Any, Any], ...]:
    weight = mx.arange(96, dtype=mx.float32) / 96

    def summed(x: mx.array) -> mx.array:
        return (model(x).astype(mx.float32) * weight).sum()

    return tuple(
        np.array(each.astype(mx.float32)) for each in (model(x), mx.grad(mx.checkpoint(summed))(x))
    )


@pytest.mark.parametrize(("mode", "bits", "group"), [("affine", 4, 64), ("mxfp4", 4, 32)])
def test_unpacked_weights_give_the_same_product_and_gradient(
    mode: str, bits: int, group: int
) -> None:
    x = mx.random.normal((2, 128, 128)).astype(mx.bfloat16)
    model = _quantised(mode, bits, group)
    plain = _value_and_gradient(model, x)
    kind = type(model.one)
    unpack_wide(model)

    # Scales that are no bfloat16 belong to formats whose product is left as it is.
    assert (type(model.one) is kind) == (mode != "affine")
    for ours, theirs in zip(_value_and_gradient(model, x), plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-2, atol=2e-2 * np.abs(theirs).max())


def test_few_rows_are_multiplied_as_before() -> None:
    x = mx.random.normal((1, 5, 128)).astype(mx.bfloat16)
    model = _quantised()
    before = model(x)
    unpack_wide(model)

    assert mx.array_equal(model(x), before)
    assert isinstance(model.one, nn.QuantizedLinear)


def test_adapters_are_cast_within_and_whole_again_after_it() -> None:
    layer = nn.Linear(128, 96)
    layer.set_dtype(mx.bfloat16)
    model = _Two(LoRALinear.from_base(layer))
    model.one.lora_b = mx.random.normal(model.one.lora_b.shape)
    model.freeze()
    model.one.unfreeze(keys=["lora_a", "lora_b"], recurse=False)
    a, b = model.one.lora_a, model.one.lora_b
    x = mx.random.normal((2, 128, 128)).astype(mx.bfloat16)

    def summed(model: _Two) -> mx.array:
        return model(x).astype(mx.float32).sum()

    def cast(model: _Two) -> mx.array:
        with adapters_cast(model):
            assert model.one.lora_a.dtype == model.one.lora_b.dtype == mx.bfloat16
            return summed(model)

    _, plain = nn.value_and_grad(model, summed)(model)
    _, ours = nn.value_and_grad(model, cast)(model)

    assert (model.one.lora_a.dtype, model.one.lora_b.dtype) == (mx.float32, mx.float32)
    assert mx.array_equal(model.one.lora_a, a)
    assert mx.array_equal(model.one.lora_b, b)
    for name in ("lora_a", "lora_b"):
        gradient, wanted = ours["one"][name], plain["one"][name]
        assert gradient.dtype == mx.float32
        assert mx.abs(gradient - wanted).max() < 2e-2 * mx.abs(wanted).max()


def test_adapters_on_float32_layers_stay_as_they_are() -> None:
    model = _Two(LoRALinear.from_base(nn.Linear(128, 96)))

    with adapters_cast(model):
        assert model.one.lora_a.dtype == mx.float32


@pytest.mark.parametrize(
    ("count", "few", "room"),
    [(200, True, 224), (225, True, 336), (448, True, 448), (3, True, 32), (200, False, 224)],
)
def test_targets_are_padded_to_few_sizes_where_shapes_are_dear(
    count: int, few: bool, room: int
) -> None:
    assert room_for(count, 448, few=few) == room
