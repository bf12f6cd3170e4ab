"""Adapters put into the weights that they lie on.

The sum is formed in fp32 and rounded once, to the type of the base model; layers that were
quantised are quantised again with their own bits, group size and mode.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten
from mlx_lm.models.switch_layers import SwitchLinear
from mlx_lm.tuner.dora import DoRAEmbedding, DoRALinear
from mlx_lm.tuner.lora import LoRAEmbedding, LoRALinear, LoRASwitchLinear
from mlx_lm.utils import dequantize_model

from lora_nb.core.adapters import Adapter, put_on, read_adapter
from lora_nb.core.convert import DTYPES, Converted, bits_of, described, said, written
from lora_nb.core.load import Loaded
from lora_nb.core.peft import is_peft
from lora_nb.core.trees import Weights, flat
from lora_nb.errors import LoraError, listed

__all__ = ["fused", "lay_on", "plain_weight"]

_QUANTISATION = ("quantization", "quantization_config")
_NOTHING = mx.zeros((0,))


def fused(loaded: Loaded, adapter: Adapter, *, dequantize: bool) -> Converted:
    """The model with its adapter in its weights, nothing of it computed yet.

    The model must be loaded as it is on disk, with the adapter on it. Raises LoraError if the
    adapter has a layer that can't be fused.
    """
    config = dict(loaded.config)
    usual = _type_of(loaded)
    model = loaded.model
    _in_its_types(model, adapter)
    layers = [
        (name, _fused(name, layer, usual, plain=dequantize))
        for name, layer in adapter.with_adapter.items()
    ]
    if layers:
        model.update_modules(tree_unflatten(layers))
    if dequantize:
        for key in _QUANTISATION:
            config.pop(key, None)
        packed = [name for name, layer in model.named_modules() if "scales" in layer]
        model = dequantize_model(model)
        plain = dict(model.named_modules())
        for name in packed:
            # The block formats come out as bfloat16, whatever lies beside them.
            plain[name].weight = plain[name].weight.astype(usual)
    kind = written(model)
    return Converted(model, described(config, kind), bits_of(model), kind)


def lay_on(loaded: Loaded, folder: Path, *, dequantize: bool) -> Adapter:
    """Put an adapter on a model as it is on disk, where the layers may be quantised.

    Weights of a full fine-tuning are plain: those of quantised layers are quantised here, unless
    all are to be plain (`dequantize`). Raises LoraError that lists what doesn't fit.
    """
    if not loaded.packed or is_peft(folder):
        return put_on(loaded.model, folder)
    config, weights = read_adapter(folder)
    if config.get("fine_tune_type") != "full":
        return put_on(loaded.model, folder)
    modules, there = dict(loaded.model.named_modules()), flat(loaded.model.parameters())
    usual = _type_of(loaded)
    layers: dict[str, nn.Module] = {}
    rest: Weights = {}
    problems = []
    for name, weight in weights.items():
        owner = name.removesuffix(".weight")
        packed = owner != name and owner in modules and "scales" in modules[owner]
        shape = plain_weight(modules[owner]).shape if packed else there.get(name, _NOTHING).shape
        if weight.shape != shape:
            problems.append(f"{folder}: {name} is {tuple(weight.shape)}, not {tuple(shape)}.")
        elif packed:
            layers[owner] = _like(
                modules[owner], weight.astype(mx.float32), usual, plain=dequantize
            )
        else:
            rest[name] = weight
    if problems:
        raise listed(problems[:6])
    adapter = Adapter(loaded.model, layers, {name: modules[name] for name in layers}, rest)
    adapter.original = {name: there[name] for name in rest}
    adapter.on()
    return adapter


def _type_of(loaded: Loaded) -> mx.Dtype:
    """The type of the base model's plain weights: most of them, or what its config says."""
    named = said(loaded.config)
    if loaded.packed and named in DTYPES:
        return _dtype(named)
    found = written(loaded.model)
    return _dtype(found) if found in DTYPES else mx.float32


def _dtype(name: str | None) -> mx.Dtype:
    found: mx.Dtype = getattr(mx, name or "float32")
    return found


def _in_its_types(model: nn.Module, adapter: Adapter) -> None:
    """Weights that a full fine-tuning has taken the place of get the types of the original."""
    tuned = {
        name: weight.astype(adapter.original[name].dtype)
        for name, weight in adapter.tuned.items()
        if adapter.original[name].dtype != weight.dtype
    }
    if tuned:
        model.load_weights(list(tuned.items()), strict=False)


def plain_weight(layer: nn.Module) -> mx.array:
    """The numbers of a layer's weight, quantised or not, as fp32."""
    weight = layer.weight
    if "scales" in layer:
        weight = mx.dequantize(
            weight,
            layer.scales,
            layer.get("biases"),
            group_size=layer.group_size,
            bits=layer.bits,
            mode=layer.mode,
        )
    plain: mx.array = weight.astype(mx.float32)
    return plain


def _fused(name: str, layer: nn.Module, usual: mx.Dtype, *, plain: bool) -> nn.Module:
    make = next((make for kind, make in _KINDS if type(layer) is kind), None)
    if make is None:
        if hasattr(layer, "lora_a"):
            kind = type(layer).__name__
            raise LoraError(f"{name}: an adapter of the class {kind} can't be fused.")
        return layer
    base, weight = make(layer)
    if base.get("global_scale") is not None:
        raise LoraError(f"{name}: layers of nvfp4 with a scale over all can't be fused.")
    return _like(base, weight, usual, plain=plain)


def _scaled(layer: Any) -> tuple[mx.array, mx.array]:
    return layer.lora_a.astype(mx.float32), layer.scale * layer.lora_b.astype(mx.float32)


def _linear(layer: Any) -> tuple[nn.Module, mx.array]:
    a, b = _scaled(layer)
    return layer.linear, plain_weight(layer.linear) + b.T @ a.T


def _experts(layer: Any) -> tuple[nn.Module, mx.array]:
    a, b = _scaled(layer)
    return layer.linear, plain_weight(layer.linear) + b @ a


def _embedding(layer: Any) -> tuple[nn.Module, mx.array]:
    a, b = _scaled(layer)
    return layer.embedding, plain_weight(layer.embedding) + a @ b


def _dora_linear(layer: Any) -> tuple[nn.Module, mx.array]:
    base, weight = _linear(layer)
    return base, _of_length(weight, layer.m)


def _dora_embedding(layer: Any) -> tuple[nn.Module, mx.array]:
    base, weight = _embedding(layer)
    return base, _of_length(weight, layer.m)


def _of_length(weight: mx.array, lengths: mx.array) -> mx.array:
    """Rows of the same direction, with these lengths."""
    norms = mx.linalg.norm(weight, axis=1)
    return (lengths.astype(mx.float32) / norms)[:, None] * weight


_Make = Callable[[Any], tuple[nn.Module, mx.array]]
_KINDS: tuple[tuple[type[nn.Module], _Make], ...] = (
    (LoRALinear, _linear),
    (LoRASwitchLinear, _experts),
    (LoRAEmbedding, _embedding),
    (DoRALinear, _dora_linear),
    (DoRAEmbedding, _dora_embedding),
)


def _like(base: nn.Module, weight: mx.array, usual: mx.Dtype, *, plain: bool) -> nn.Module:
    """A layer like `base` with another weight, given as fp32; not quantised if `plain`."""
    if "scales" not in base:
        return _plain(base, weight.astype(base.weight.dtype))
    floating = mx.issubdtype(base.scales.dtype, mx.floating)
    whole: Any = _plain(base, weight.astype(base.scales.dtype if floating else usual))
    packed: nn.Module = (
        whole
        if plain
        else whole.to_quantized(group_size=base.group_size, bits=base.bits, mode=base.mode)
    )
    return packed


def _plain(base: nn.Module, weight: mx.array) -> nn.Module:
    if weight.ndim == 3:
        experts, high, wide = weight.shape
        made: nn.Module = SwitchLinear(wide, high, experts, bias="bias" in base)
    elif hasattr(base, "as_linear"):
        made = nn.Embedding(*weight.shape)
    else:
        made = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in base)
    made["weight"] = weight
    if "bias" in base:
        made["bias"] = base["bias"]
    return made
