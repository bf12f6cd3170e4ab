"""An adapter of mlx-lm as PEFT loads it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.tuner.dora import DoRALinear
from mlx_lm.tuner.lora import LoRAEmbedding, LoRALinear

from lora_nb.core.adapters import Adapter
from lora_nb.core.peft import PREFIX
from lora_nb.core.trees import Weights
from lora_nb.errors import LoraError, listed
from lora_nb.export.card_text import public_name
from lora_nb.runs.adapters import ADAPTER_CONFIG, PEFT_WEIGHTS
from lora_nb.runs.part import part_folder, real_place
from lora_nb.runs.whole_file import sync_all, sync_folder

__all__ = ["as_peft", "check_peft_folder", "write_peft"]

_OPTION = "export_peft"
# What mlx-lm calls the mixture of experts in a block, and transformers no longer does.
_MIXTURE = ".block_sparse_moe."


def check_peft_folder(path: str, kept: list[Path]) -> Path:
    """The folder to write, absolute.

    Raises LoraError if something is there, or if it is or holds one of `kept`.
    """
    target = real_place(path)
    real = target.resolve()
    if any(real in (origin := folder.resolve(), *origin.parents) for folder in kept):
        raise LoraError(f"{_OPTION}: {target} is needed for something else. Name another folder.")
    if os.path.lexists(target) and (not target.is_dir() or any(target.iterdir())):
        raise LoraError(f"{_OPTION}: {target} is already there. Name another folder.")
    return target


def as_peft(model: nn.Module, adapter: Adapter, base: str) -> tuple[dict[str, Any], Weights]:
    """Config and weights for PEFT of an adapter that lies on a model.

    Raises LoraError that lists the layers PEFT can't have.
    """
    if adapter.tuned or not adapter.with_adapter:
        raise LoraError(f"{_OPTION}: a full fine-tuning is no adapter, so PEFT can't load it.")
    layers = adapter.with_adapter
    problems = [
        f"{_OPTION}: {name}: {wrong}"
        for name, layer in layers.items()
        if (wrong := _beyond(name, layer, model))
    ]
    if problems:
        raise listed(problems[:6])
    dora = any(isinstance(layer, DoRALinear) for layer in layers.values())
    weights: Weights = {}
    for name, layer in layers.items():
        weights |= {f"{PREFIX}{name}.{key}": value for key, value in _parts(layer).items()}
    ranks = {name: int(layer.lora_b.shape[0]) for name, layer in layers.items()}
    alphas = {name: _alpha(layer) for name, layer in layers.items()}
    rank, alpha = _usual(list(ranks.values())), _usual(list(alphas.values()))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": public_name(base),
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted(layers),
        "rank_pattern": _others(ranks, rank),
        "alpha_pattern": _others(alphas, alpha),
        "use_dora": dora,
        "use_rslora": False,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
    }
    return config, weights


def _beyond(name: str, layer: nn.Module, model: nn.Module) -> str:
    if not isinstance(layer, (LoRALinear, DoRALinear, LoRAEmbedding)):
        return f"PEFT has no such layer as {type(layer).__name__}."
    if isinstance(layer, LoRAEmbedding) and "lm_head" not in model:
        return "the embedding is the head, too, which PEFT adapts otherwise than mlx-lm."
    if name != "lm_head" and (not name.startswith("model.") or _MIXTURE in name):
        return "transformers has the layer under another name."
    return ""


def _alpha(layer: nn.Module) -> float:
    alpha = float(layer.scale) * int(layer.lora_b.shape[0])
    return int(alpha) if alpha == int(alpha) else alpha


def _usual(values: list[Any]) -> Any:
    return max(set(values), key=values.count)


def _others(values: dict[str, Any], usual: Any) -> dict[str, Any]:
    """What differs from the usual value, by exact names: PEFT takes the keys for patterns."""
    return {
        "^" + name.replace(".", r"\.") + "$": value
        for name, value in values.items()
        if value != usual
    }


def _parts(layer: nn.Module) -> Weights:
    a, b = layer.lora_a.astype(mx.float32).T, layer.lora_b.astype(mx.float32).T
    if isinstance(layer, LoRAEmbedding):
        return {"lora_embedding_A": a, "lora_embedding_B": b}
    parts = {"lora_A.weight": a, "lora_B.weight": b}
    if isinstance(layer, DoRALinear):
        parts["lora_magnitude_vector"] = layer.m.astype(mx.float32)
    return parts


def write_peft(
    config: dict[str, Any],
    weights: Weights,
    target: Path,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write the adapter, complete or not at all, with `texts` beside it by name.

    Raises LoraError if it can't be written.
    """
    try:
        with part_folder(target) as part:
            content = {name: mx.contiguous(weight) for name, weight in weights.items()}
            mx.save_safetensors(str(part / PEFT_WEIGHTS), content, metadata={"format": "pt"})
            text = json.dumps(config, indent=2, sort_keys=True) + "\n"
            for name, told in {ADAPTER_CONFIG: text, **(texts or {})}.items():
                (part / name).write_text(told, encoding="utf-8")
            sync_all(part)
            if target.is_dir():
                target.rmdir()
            part.rename(target)
            sync_folder(target.parent)
    except (OSError, RuntimeError) as problem:
        raise LoraError(f"{_OPTION}: {target} can't be written: {problem}.") from problem
