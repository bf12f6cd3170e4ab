"""Choose what of a model is trained: its last blocks, or new adapters on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.tuner.utils import linear_to_lora_layers

from lora_nb.config import TrainConfig
from lora_nb.config.derived import DEFAULT_LAYERS, scale_of
from lora_nb.core.adapter_config import read_adapter_config
from lora_nb.core.adapters import check_shapes, read_weights
from lora_nb.core.peft import is_peft
from lora_nb.core.trees import flat
from lora_nb.errors import LoraError, did_you_mean, listed
from lora_nb.runs.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, find_adapter

__all__ = ["adapter_config", "layers_of", "make_trainable", "start_from"]


def layers_of(config: TrainConfig, model: nn.Module) -> int:
    """How many blocks are trained. Raises LoraError if the model has fewer than asked for."""
    there = len(model.layers)
    wanted = config.num_layers
    if wanted is None:
        return min(DEFAULT_LAYERS, there)
    if wanted == -1:
        return there
    if wanted > there:
        raise LoraError(
            f"num_layers: {wanted} blocks can't be trained, the model has {there}. "
            f"Give at most {there}, or -1 for all."
        )
    return wanted


def make_trainable(model: nn.Module, config: TrainConfig) -> dict[str, Any]:
    """Freeze the model but for what is trained, and say so as an `adapter_config.json`.

    LoRA and DoRA layers are mlx-lm's own. Raises LoraError if the choice of layers doesn't fit.
    """
    model.freeze()
    layers = layers_of(config, model)
    if config.fine_tune_type == "full":
        for block in model.layers[-layers:]:
            block.unfreeze()
        return adapter_config(config, layers, model)
    _check_keys(model, config.lora_parameters.keys)
    mx.random.seed(config.seed)
    described = adapter_config(config, layers, model)
    try:
        linear_to_lora_layers(
            model,
            layers,
            described["lora_parameters"],
            use_dora=config.fine_tune_type == "dora",
        )
    except ValueError as problem:
        raise LoraError(f"fine_tune_type {config.fine_tune_type}: {problem}") from problem
    if not flat(model.trainable_parameters()):
        raise LoraError("lora_parameters.keys: no layer of the trained blocks has these names.")
    return described


def adapter_config(config: TrainConfig, layers: int, model: nn.Module) -> dict[str, Any]:
    """What mlx-lm needs to load the adapter, and what it was made for; no other option."""
    parameters = config.lora_parameters
    described: dict[str, Any] = {
        "model": config.model,
        "model_type": getattr(model, "model_type", None),
        "fine_tune_type": config.fine_tune_type,
        "num_layers": layers,
        "lora_parameters": None,
    }
    if config.fine_tune_type != "full":
        described["lora_parameters"] = {
            "rank": parameters.rank,
            "scale": scale_of(parameters),
            "dropout": parameters.dropout,
            **({"keys": parameters.keys} if parameters.keys else {}),
        }
    return described


def _check_keys(model: nn.Module, keys: list[str] | None) -> None:
    if not keys:
        return
    known = {name for name, _ in model.named_modules()}
    known |= {name for block in model.layers for name, _ in block.named_modules()}
    known.discard("")
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise listed(
            f"lora_parameters.keys: the model has no layer '{key}'.{did_you_mean(key, known)}"
            for key in unknown
        )


def start_from(model: nn.Module, file_or_folder: str, described: Mapping[str, Any]) -> None:
    """Set the trained weights to saved ones (`--resume-adapter-file`).

    `described` is the adapter config of the model as it stands. Raises LoraError if keys, shapes
    or the kind of adapter differ.
    """
    path = Path(file_or_folder).expanduser()
    if not path.is_file():
        folder = find_adapter(file_or_folder, "resume_adapter_file")
        if is_peft(folder):
            raise LoraError(
                f"resume_adapter_file: {folder} is an adapter of PEFT, which can be used and fused "
                "but not trained on. Fuse it (%lora_fuse) and train on the fused model."
            )
        path = folder / ADAPTER_WEIGHTS
    weights = read_weights(path)
    _check_same_kind(path, described)
    check_shapes(path, weights, flat(model.trainable_parameters()))
    model.load_weights(list(weights.items()), strict=False)


def _check_same_kind(file: Path, described: Mapping[str, Any]) -> None:
    """Compare with the config beside the weights, where there is one (a copied file has none)."""
    if not (file.parent / ADAPTER_CONFIG).is_file():
        return
    saved = read_adapter_config(file.parent)
    ours, theirs = described.get("lora_parameters") or {}, saved.get("lora_parameters") or {}
    pairs = {
        "fine_tune_type": (saved.get("fine_tune_type"), described["fine_tune_type"]),
        "scale": (theirs.get("scale"), ours.get("scale")),
        "rank": (theirs.get("rank"), ours.get("rank")),
    }
    differing = [
        f"{key} was {old}, now it is {new}"
        for key, (old, new) in pairs.items()
        if old is not None and old != new
    ]
    base = (saved.get("base_sha256"), described.get("base_sha256"))
    if None not in base and base[0] != base[1]:
        differing.append(
            f"the base model was {saved.get('model')}, now it is {described.get('model')}, with "
            "other weights"
        )
    if differing:
        raise LoraError(
            f"resume_adapter_file: {file} was trained otherwise: {'; '.join(differing)}. "
            "Use the same values, or start without it."
        )
