"""Ways to need less memory, as in mlx-lm's guide, and what each of them changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_nb.config import ConvertConfig
from lora_nb.config.derived import DEFAULT_ITERS
from lora_nb_widgets.recipe import recipe_of

__all__ = ["PRESETS", "Change", "Preset"]

_FEW_LAYERS = 4
_SHORT = 512


@dataclass(frozen=True)
class Change:
    """New values of options, and a sentence on what else there is to do."""

    values: dict[str, Any]
    note: str = ""


@dataclass(frozen=True)
class Preset:
    """A button's words, its hint, and the change it makes to the options as they are."""

    name: str
    hint: str
    change: Callable[[Mapping[str, Any]], Change]


def _quantised(now: Mapping[str, Any]) -> Change:
    model = str(now["model"])
    if model.endswith("-4bit"):
        return Change({}, f"{model} is a model of 4 bits already.")
    folder = f"{Path(model).name}-4bit"
    if Path(folder).is_dir():
        return Change({"model": folder})
    values = {"model": model, "quantize": True, "mlx_path": folder}
    line = recipe_of("convert", ConvertConfig, values).magic
    return Change({"model": folder}, f"Make the model of 4 bits first, in a cell: {line}")


def _smaller_batch(now: Mapping[str, Any]) -> Change:
    size, steps = int(now["batch_size"]), int(now["grad_accumulation_steps"])
    if size == 1:
        return Change({}, "The batch has one row already.")
    values: dict[str, Any] = {"batch_size": 1, "grad_accumulation_steps": size * steps}
    # As many updates as before, and as many rows in all.
    if now["epochs"] is None:
        values["iters"] = int(now["iters"] or DEFAULT_ITERS) * size
    return Change(values, f"{size} steps now do what one did, also between reports.")


def _fewer_layers(now: Mapping[str, Any]) -> Change:
    layers = now["num_layers"]
    if layers is not None and 0 < layers <= _FEW_LAYERS:
        return Change({}, f"Only {layers} blocks are trained already.")
    return Change({"num_layers": _FEW_LAYERS})


def _split_rows(now: Mapping[str, Any]) -> Change:
    length = int(now["max_seq_length"])
    if now["long_rows"] == "split" and length <= _SHORT:
        return Change({}, f"Rows over {length} tokens are split already.")
    return Change({"max_seq_length": min(length, _SHORT), "long_rows": "split"})


def _checkpointed(_: Mapping[str, Any]) -> Change:
    return Change({"grad_checkpoint": True})


def _cached_on_disk(_: Mapping[str, Any]) -> Change:
    return Change({"trunk_cache": "disk"})


PRESETS = (
    Preset("QLoRA", "A base model of 4 bits needs about a quarter of the memory.", _quantised),
    Preset(
        "Smaller batch",
        "One row at a time, with the gradients of as many steps gathered for an update.",
        _smaller_batch,
    ),
    Preset("Fewer layers", f"Train the last {_FEW_LAYERS} blocks only.", _fewer_layers),
    Preset(
        "Split long rows",
        f"Rows over {_SHORT} tokens become several; activations grow with the longest row.",
        _split_rows,
    ),
    Preset(
        "Recompute activations",
        "Gradient checkpoints: slower steps, far smaller activations.",
        _checkpointed,
    ),
    Preset(
        "Trunk cache on disk",
        "What the frozen blocks compute is kept in a file, and these blocks leave memory.",
        _cached_on_disk,
    ),
)
