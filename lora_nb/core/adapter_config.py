"""The `adapter_config.json` of a saved adapter, read with suspicion: mlx-lm believes anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_nb.core.model_files import read_json
from lora_nb.errors import LoraError, listed
from lora_nb.runs.adapters import ADAPTER_CONFIG

__all__ = ["read_adapter_config"]

_TYPES = ("lora", "dora", "full")
_LARGEST_RANK = 2**20


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """The config of an adapter folder. Raises LoraError if it is absent, damaged or nonsense."""
    file = folder / ADAPTER_CONFIG
    if not file.exists():
        raise LoraError(f"{folder} has no {ADAPTER_CONFIG}, so its shape is unknown.")
    config = read_json(file, of="adapter")
    if "num_layers" not in config:
        raise LoraError(f"{file} is no adapter config (num_layers is missing).")
    problems = [*_problems(config)]
    if problems:
        raise listed(f"{file}: {problem}" for problem in problems)
    return config


def _problems(config: Mapping[str, Any]) -> list[str]:
    kind, layers = config.get("fine_tune_type", "lora"), config["num_layers"]
    problems = []
    if kind not in _TYPES:
        problems.append(f"fine_tune_type is {kind!r}, not one of {', '.join(_TYPES)}.")
    if type(layers) is not int or layers < -1:
        problems.append(f"num_layers is {layers!r}, which is no count.")
    if kind == "full":
        return problems
    parameters = config.get("lora_parameters")
    if not isinstance(parameters, Mapping):
        return [*problems, "lora_parameters is missing, or no mapping."]
    return [*problems, *_of_parameters(parameters)]


def _of_parameters(parameters: Mapping[str, Any]) -> list[str]:
    rank, scale, keys = (parameters.get(key) for key in ("rank", "scale", "keys"))
    problems = []
    if type(rank) is not int or not 0 < rank < _LARGEST_RANK:
        problems.append(f"lora_parameters.rank is {rank!r}, which is no rank.")
    for key, value in (("scale", scale), ("dropout", parameters.get("dropout", 0.0))):
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            problems.append(f"lora_parameters.{key} is {value!r}, which is no finite number.")
    texts = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if keys is not None and not texts:
        problems.append("lora_parameters.keys is no list of names.")
    return problems
