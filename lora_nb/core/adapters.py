"""Put adapters on a model: new ones for training, saved ones for use, and take them off again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten
from mlx_lm.tuner.utils import linear_to_lora_layers

from lora_nb.config import TrainConfig
from lora_nb.config.rules import DEFAULT_LAYERS, scale_of
from lora_nb.core.adapter_config import read_adapter_config
from lora_nb.core.peft import is_peft, peft_layers, read_peft_config
from lora_nb.core.trees import Weights, flat
from lora_nb.errors import LoraError, did_you_mean, listed
from lora_nb.runs.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    PEFT_WEIGHTS,
    find_adapter,
)

__all__ = [
    "Adapter",
    "adapter_config",
    "check_shapes",
    "make_trainable",
    "put_on",
    "read_weights",
    "start_from",
]


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
