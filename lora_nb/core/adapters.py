"""Put saved adapters on a model, and take them off again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten
from mlx_lm.tuner.utils import linear_to_lora_layers

from lora_nb.core.adapter_config import read_adapter_config
from lora_nb.core.peft import is_peft, peft_layers, read_peft_config
from lora_nb.core.trees import Weights, flat
from lora_nb.errors import LoraError
from lora_nb.runs.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    PEFT_WEIGHTS,
)

__all__ = [
    "Adapter",
    "check_shapes",
    "put_on",
    "read_adapter",
    "read_weights",
]


def read_adapter(folder: Path) -> tuple[dict[str, Any], Weights]:
    """Config and weights of an adapter folder. Raises LoraError if either is damaged."""
    return read_adapter_config(folder), read_weights(folder / ADAPTER_WEIGHTS)


def read_weights(file: Path) -> Weights:
    """The tensors of a safetensors file. Raises LoraError if it is damaged, empty or not finite."""
    try:
        weights = flat(mx.load(str(file)))
        mx.eval(weights)
    except (RuntimeError, OSError, ValueError) as problem:
        raise LoraError(f"{file} can't be read: {problem}. Is it complete?") from None
    if not weights:
        raise LoraError(f"{file} holds no weights.")
    whole = [
        name for name, weight in weights.items() if not mx.issubdtype(weight.dtype, mx.floating)
    ]
    if whole:
        raise LoraError(f"{file} holds no weights of an adapter: {whole[0]} is of whole numbers.")
    broken = [name for name, weight in weights.items() if not mx.isfinite(weight).all().item()]
    if broken:
        raise LoraError(f"{file} holds NaN or infinite weights, e.g. in {broken[0]}.")
    return weights


@dataclass
class Adapter:
    """An adapter on a model, which `off` and `on` take away and bring back without a copy."""

    model: nn.Module
    with_adapter: dict[str, nn.Module] = field(default_factory=dict)
    without: dict[str, nn.Module] = field(default_factory=dict)
    tuned: Weights = field(default_factory=dict)
    original: Weights = field(default_factory=dict)

    def on(self) -> None:
        """The model with the adapter."""
        self._swap(self.with_adapter, self.tuned)

    def off(self) -> None:
        """The base model."""
        self._swap(self.without, self.original)

    def _swap(self, modules: Mapping[str, nn.Module], weights: Weights) -> None:
        if modules:
            self.model.update_modules(tree_unflatten(list(modules.items())))
        if weights:
            self.model.load_weights(list(weights.items()), strict=False)


def put_on(model: nn.Module, folder: Path) -> Adapter:
    """Put a saved adapter on the model, one of ours (mlx-lm's) or one of PEFT.

    Raises LoraError that lists what doesn't fit, before anything is changed for good.
    """
    if is_peft(folder):
        return _put_on_layers(model, folder)
    config, weights = read_adapter(folder)
    _check_family(folder, config, model)
    if config.get("fine_tune_type", "lora") == "full":
        return _put_on_full(model, folder, weights)
    before = dict(model.named_modules())
    try:
        linear_to_lora_layers(
            model,
            config["num_layers"],
            config["lora_parameters"],
            use_dora=config.get("fine_tune_type") == "dora",
        )
    except (KeyError, TypeError, ValueError) as problem:
        _since(before, model).off()
        raise LoraError(f"{folder / ADAPTER_CONFIG} does not fit this model: {problem}") from None
    adapter = _since(before, model)
    try:
        check_shapes(folder, weights, _adapter_parameters(model))
    except LoraError:
        adapter.off()
        raise
    model.load_weights(list(weights.items()), strict=False)
    model.eval()
    return adapter


def _check_family(folder: Path, config: Mapping[str, Any], model: nn.Module) -> None:
    """Families may have layers of the same names and shapes, and compute different things."""
    made_for, ours = config.get("model_type"), getattr(model, "model_type", None)
    if made_for and ours and made_for != ours:
        raise LoraError(
            f"{folder} was trained on a model of the family {made_for}, this one is of {ours}."
        )


def _put_on_layers(model: nn.Module, folder: Path) -> Adapter:
    """Put on an adapter of PEFT, each layer with its own rank and scale."""
    config = read_peft_config(folder)
    layers = peft_layers(model, folder, config, read_weights(folder / PEFT_WEIGHTS))
    before = {name: module for name, module in model.named_modules() if name in layers}
    adapter = Adapter(model, dict(layers), before)
    adapter.on()
    model.eval()
    return adapter


def _since(before: Mapping[str, nn.Module], model: nn.Module) -> Adapter:
    """What has been put on the model since it had the modules `before`."""
    after = dict(model.named_modules())
    changed = _outermost(name for name, module in after.items() if before.get(name) is not module)
    return Adapter(
        model,
        {name: after[name] for name in changed},
        {name: before[name] for name in changed},
    )


def _put_on_full(model: nn.Module, folder: Path, weights: Weights) -> Adapter:
    there = flat(model.parameters())
    check_shapes(folder, weights, {name: there[name] for name in weights if name in there})
    adapter = Adapter(model, tuned=weights, original={name: there[name] for name in weights})
    adapter.on()
    return adapter


def _outermost(names: Iterable[str]) -> list[str]:
    """The names that lie below no other one of them."""
    kept: list[str] = []
    for name in sorted(names):
        if name and not (kept and name.startswith(kept[-1] + ".")):
            kept.append(name)
    return kept


def _adapter_parameters(model: nn.Module) -> Weights:
    return {
        name: weight
        for name, weight in flat(model.parameters()).items()
        if name.rsplit(".", 1)[-1] in ("lora_a", "lora_b", "m")
    }


def check_shapes(folder: Path | str, weights: Weights, wanted: Weights) -> None:
    """Raise LoraError that lists where saved weights differ from those that the model needs."""
    problems = [f"{name} has no place in this model" for name in sorted(weights.keys() - wanted)]
    problems += [f"{name} is missing" for name in sorted(wanted.keys() - weights)]
    problems += [
        f"{name} is {tuple(weights[name].shape)}, this model needs {tuple(wanted[name].shape)}"
        for name in sorted(weights.keys() & wanted)
        if weights[name].shape != wanted[name].shape
    ]
    if problems:
        shown = "\n".join(f"  - {text}" for text in problems[:6])
        more = f"\n  - and {len(problems) - 6} more" if len(problems) > 6 else ""
        raise LoraError(
            f"{folder} does not fit this model. Was it trained on another model, or with another "
            f"rank or other layers?\n{shown}{more}"
        )
