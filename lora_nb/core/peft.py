"""Adapters as PEFT saves them, on the models of mlx-lm.

PEFT computes `x W.T + scale * x A.T B.T` with A [rank, in], B [out, rank] and scale = alpha / rank;
mlx-lm's layers hold both transposed. Source: peft's tuners/lora (config.py, layer.py, dora.py).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.tuner.dora import DoRALinear
from mlx_lm.tuner.lora import LoRAEmbedding, LoRALinear

from lora_nb.core.trees import Weights, value_of
from lora_nb.errors import LoraError, listed
from lora_nb.runs.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, PEFT_WEIGHTS

__all__ = ["PREFIX", "is_peft", "peft_layers", "read_peft_config"]

PREFIX = "base_model.model."

_LINEAR = (nn.Linear, nn.QuantizedLinear)
_EMBEDDING = (nn.Embedding, nn.QuantizedEmbedding)
_PARTS = {
    "lora_A.weight": "a",
    "lora_B.weight": "b",
    "lora_embedding_A": "a",
    "lora_embedding_B": "b",
    "lora_magnitude_vector": "m",
    "lora_magnitude_vector.weight": "m",
    # Of adapted embeddings and heads, PEFT also saves the base model's own weight.
    "base_layer.weight": "base",
}
# A copy of the base model's weight may have been rounded to 16 bits, by this share at most.
_ROUNDING = 1e-2
# Beginnings of weights that leave the base model as it is; the others subtract them from it.
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
# What a config may ask for beside the layers, with what has to stand there.
_UNUSED: dict[str, tuple[Any, ...]] = {
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    "lora_bias": (False, None),
    "modules_to_save": (None, []),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, [], {}),
    "layer_replication": (None, []),
    "use_qalora": (False, None),
    "alora_invocation_tokens": (None, []),
    "arrow_config": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
    "use_bdlora": (False, None),
}


def is_peft(folder: Path) -> bool:
    """Whether a folder holds an adapter of PEFT, and none of mlx-lm."""
    return (folder / PEFT_WEIGHTS).is_file() and not (folder / ADAPTER_WEIGHTS).is_file()


def read_peft_config(folder: Path) -> dict[str, Any]:
    """The config of an adapter of PEFT.

    Raises LoraError if it is damaged, or lists what it asks for that can't be had here.
    """
    file = folder / ADAPTER_CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise LoraError(f"{file} can't be read: {problem}.") from None
    if not isinstance(config, dict) or "peft_type" not in config:
        raise LoraError(f"{file} is no config of PEFT (peft_type is missing).")
    if config["peft_type"] != "LORA":
        kind = config["peft_type"]
        raise LoraError(f"{file}: an adapter of the kind {kind}; only LORA is known.")
    if problems := list(_beyond(config)):
        raise listed(f"{file}: {text}" for text in problems)
    return config


def _beyond(config: Mapping[str, Any]) -> Iterator[str]:
    for key, usual in _UNUSED.items():
        if config.get(key) not in usual:
            yield f"{key} = {json.dumps(config[key])} can't be put on a model here."
    start = config.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        yield (
            f"init_lora_weights = {json.dumps(start)} changes the base model, so the adapter does "
            "not fit the original; let PEFT save it as a plain one (path_initial_model_for_weight_"
            "conversion)."
        )
    for key in ("r", "lora_alpha"):
        if not _is_above_0(value := config.get(key)):
            yield f"{key} is {json.dumps(value)}, not a number above 0."
    for key in ("rank_pattern", "alpha_pattern"):
        if wrong := _no_pattern(config.get(key) or {}):
            yield f"{key} {wrong}"
    for key in ("target_modules", "exclude_modules"):
        if wrong := _no_names(config.get(key)):
            yield f"{key} {wrong}"


def _is_above_0(value: Any) -> bool:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return known and math.isfinite(value) and value > 0


def _no_pattern(patterns: Any) -> str:
    """What keeps patterns of names from giving numbers."""
    if not isinstance(patterns, Mapping):
        return "is no mapping of names to numbers."
    for pattern, value in patterns.items():
        if wrong := _no_regex(f"({pattern})"):
            return f"has a pattern that is none: {pattern} ({wrong})."
        if not _is_above_0(value):
            return f"has {json.dumps(value)} for {pattern}, not a number above 0."
    return ""


def _no_names(names: Any) -> str:
    """What keeps a pattern, or a list of names, from naming layers."""
    if names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        return ""
    if not isinstance(names, str):
        return f"is {json.dumps(names)}, neither a pattern nor a list of names."
    wrong = _no_regex(names)
    return f"is a pattern that is none: {names} ({wrong})." if wrong else ""


def _no_regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as problem:
        return str(problem)
    return ""


@dataclass(frozen=True)
class _Layer:
    """The weights of one layer, as PEFT has them."""

    name: str
    parts: Weights

    def part(self, key: str) -> mx.array:
        return self.parts[key]

    @property
    def rank(self) -> int:
        return int(self.parts["a"].shape[0])


def peft_layers(
    model: nn.Module, folder: Path, config: Mapping[str, Any], weights: Weights
) -> dict[str, nn.Module]:
    """The adapted layers of a model by their names, ready to take the place of the plain ones.

    The weights say which layers these are. Raises LoraError that lists what doesn't fit.
    """
    there = dict(model.named_modules())
    layers, problems = _grouped(weights)
    made: dict[str, nn.Module] = {}
    for layer in layers:
        wrong = _misfit(layer, there.get(layer.name), config, model)
        if wrong:
            problems.append(f"{layer.name}: {wrong}")
        else:
            made[layer.name] = _adapted(layer, there[layer.name], config)
    found = {layer.name for layer in layers}
    problems += [
        f"{name}: target_modules names it, but the file has no weights for it"
        for name, module in there.items()
        if isinstance(module, _LINEAR) and name not in found and _is_target(name, config)
    ]
    if problems:
        shown = [f"{folder}: {text}." for text in problems[:6]]
        more = len(problems) - len(shown)
        raise listed([*shown, *([f"and {more} more"] if more else [])])
    return made


def _grouped(weights: Weights) -> tuple[list[_Layer], list[str]]:
    """The weights by layer, and what is wrong with their names."""
    layers: dict[str, Weights] = {}
    problems = []
    for name, weight in weights.items():
        inner = name.removeprefix(PREFIX)
        part = next((part for part in _PARTS if inner.endswith(f".{part}")), None)
        if part is None:
            problems.append(f"{name}: is no weight of LoRA or DoRA")
            continue
        layers.setdefault(inner.removesuffix(f".{part}"), {})[_PARTS[part]] = weight
    return [_Layer(name, parts) for name, parts in sorted(layers.items())], problems


def _misfit(
    layer: _Layer, module: nn.Module | None, config: Mapping[str, Any], model: nn.Module
) -> str:
    if not isinstance(module, (*_LINEAR, *_EMBEDDING)):
        return "this model has no linear layer of this name"
    missing = {"a", "b", *("m" if config.get("use_dora") else "")} - layer.parts.keys()
    if missing:
        return f"its weights are incomplete ({', '.join(sorted(missing))} is missing)"
    if "m" in layer.parts and not config.get("use_dora"):
        return "it has weights of DoRA, but the config says use_dora = false"
    if isinstance(module, _EMBEDDING):
        if config.get("use_dora"):
            return "DoRA on an embedding can't be had here"
        if "lm_head" not in model:
            return "the embedding is the head, too, which PEFT adapts otherwise than mlx-lm"
    if "base" in layer.parts and not _is_copy(layer.part("base"), module):
        return "its base weight, which is saved along, is not this model's"
    a, b = layer.part("a").shape, layer.part("b").shape
    wide, high = _sizes(module)
    if len(a) != 2 or len(b) != 2 or (a[1], b[0], b[1]) != (wide, high, a[0]):
        return f"A is {tuple(a)} and B {tuple(b)}, but the layer turns {wide} into {high} numbers"
    if "m" in layer.parts and layer.part("m").size != high:
        return f"its lora_magnitude_vector has {layer.part('m').size} numbers, not {high}"
    return ""


def _is_copy(weight: mx.array, module: nn.Module) -> bool:
    """Whether a weight is the module's own; of a quantised one only the shape can be compared."""
    wide, high = _sizes(module)
    if weight.shape != ((wide, high) if isinstance(module, _EMBEDDING) else (high, wide)):
        return False
    if "scales" in module:
        return True
    own, saved = module.weight.astype(mx.float32), weight.astype(mx.float32)
    return value_of(mx.abs(own - saved).max()) <= _ROUNDING * value_of(mx.abs(own).max())


def _sizes(module: nn.Module) -> tuple[int, int]:
    """Numbers in and out: of an embedding, the tokens and the width."""
    rows, columns = module.weight.shape
    if "scales" in module:
        columns = columns * 32 // module.bits
    return (rows, columns) if isinstance(module, _EMBEDDING) else (columns, rows)


def _adapted(layer: _Layer, module: nn.Module, config: Mapping[str, Any]) -> nn.Module:
    rank = layer.rank
    alpha = _matching(config.get("alpha_pattern"), layer.name, config["lora_alpha"])
    scale = float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)
    kind: Any = LoRAEmbedding if isinstance(module, _EMBEDDING) else LoRALinear
    if config.get("use_dora"):
        kind = DoRALinear
    try:
        made: nn.Module = kind.from_base(module, r=rank, scale=scale)
    except ValueError as problem:
        raise LoraError(f"{layer.name}: {problem}") from None
    parts = {key: weight.astype(mx.float32) for key, weight in layer.parts.items()}
    made.lora_a, made.lora_b = parts["a"].T, parts["b"].T
    if "m" in parts:
        made.m = parts["m"].reshape(-1)
    return made


def _matching(patterns: Mapping[str, Any] | None, name: str, usual: Any) -> Any:
    """The value of the first pattern that the end of a layer's name fits."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return value
    return usual


def _is_target(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a layer is meant by `target_modules` (a pattern, or the ends of names)."""
    targets, left_out = config.get("target_modules"), config.get("exclude_modules")
    if targets == "all-linear" or config.get("layers_to_transform") is not None:
        # What these mean depends on the model's class in transformers: the weights tell.
        return False
    return _fits(name, targets) and not _fits(name, left_out)


def _fits(name: str, patterns: Any) -> bool:
    if not patterns:
        return False
    if isinstance(patterns, str):
        return re.fullmatch(patterns, name) is not None
    return any(name == end or name.endswith(f".{end}") for end in patterns)
