"""Convert a model: quantise, dequantise or cast it. `model_folder` writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map_with_path
from mlx_lm.convert import mixed_quant_predicate_builder
from mlx_lm.utils import dequantize_model, get_total_parameters, quantize_model

from lora_nb.config import ConvertConfig
from lora_nb.config.derived import quantisation_of
from lora_nb.core.load import Loaded
from lora_nb.core.olmo_layout import is_ai2, with_its_ids
from lora_nb.core.trees import flat
from lora_nb.errors import LoraError

__all__ = [
    "DTYPES",
    "Converted",
    "Skipped",
    "bits_of",
    "cast",
    "converted",
    "described",
    "said",
    "written",
]


DTYPES = ("float16", "bfloat16", "float32")


@dataclass(frozen=True)
class Skipped:
    """Layers that were not quantised, and why."""

    names: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        shown = ", ".join(self.names[:4])
        more = f" and {len(self.names) - 4} more" if len(self.names) > 4 else ""
        return f"Not quantised: {shown}{more} ({self.why})."


@dataclass(frozen=True)
class Converted:
    """A converted model before it is written; nothing of it is computed yet."""

    model: nn.Module
    config: dict[str, Any]
    bits: float
    dtype: str
    skipped: list[Skipped] = field(default_factory=list)


def converted(loaded: Loaded, options: ConvertConfig) -> Converted:
    """The model as the options want it; it must be loaded as it is on disk.

    Raises LoraError if the options don't fit the model.
    """
    model, config = loaded.model, dict(loaded.config)
    if options.quantize and loaded.packed:
        raise LoraError(
            f"model: {options.model} is quantised already ({loaded.bits:.1f} bits per weight). "
            "Quantise the original, or turn it back first with --dequantize."
        )
    if options.dequantize and not loaded.packed:
        raise LoraError(f"model: {options.model} is not quantised.")
    dtype = options.dtype or said(config)
    if dtype in DTYPES:
        cast(model, getattr(mx, dtype))
    skipped: list[Skipped] = []
    if options.dequantize:
        for key in ("quantization", "quantization_config"):
            config.pop(key, None)
        model = dequantize_model(model)
        # Some modes hold no type of their own: their numbers come out as bfloat16.
        if dtype in DTYPES:
            cast(model, getattr(mx, dtype))
    if options.quantize:
        before = {name: module for name, module in model.named_modules() if _can(module)}
        model, config = quantised(model, config, options)
        skipped = list(_skipped(before, dict(model.named_modules()), options))
    kind = written(model)
    return Converted(model, described(config, kind), bits_of(model), kind, skipped)


def bits_of(model: nn.Module) -> float:
    """Bits per weight of what is written; mlx-lm's own count has tables of positions in it."""
    size = sum(weight.nbytes for weight in flat(model.parameters()).values())
    return 8 * size / float(get_total_parameters(model))


def quantised(
    model: nn.Module, config: dict[str, Any], options: ConvertConfig
) -> tuple[nn.Module, dict[str, Any]]:
    """The quantised model and its config. Raises LoraError if nothing could be quantised."""
    bits, group = quantisation_of(options)
    recipe = None
    if options.quant_predicate:
        try:
            recipe = mixed_quant_predicate_builder(options.quant_predicate, model, group)
        except ValueError:
            raise LoraError(
                f"quant_predicate: the recipes of mlx-lm know no model of this family "
                f"({config.get('model_type')}): it has no layers named down_proj."
            ) from None
    for key in ("quantization", "quantization_config"):
        config.pop(key, None)
    model, config = quantize_model(
        model,
        config,
        group,
        bits,
        mode=options.q_mode,
        quant_predicate=recipe,  # type: ignore[arg-type]  # a recipe leaves its third one out
    )
    if not any(_is_packed(module) for module in model.modules()):
        raise LoraError(
            f"q_group_size: no layer of this model can be divided into groups of {group}. "
            "Give a smaller one (32)."
        )
    return model, config


def _can(module: nn.Module) -> bool:
    return hasattr(module, "to_quantized") and not _is_packed(module)


def _is_packed(module: nn.Module) -> bool:
    return "scales" in module


def _skipped(
    before: Mapping[str, nn.Module], after: Mapping[str, nn.Module], options: ConvertConfig
) -> Iterator[Skipped]:
    _, group = quantisation_of(options)
    reasons: dict[str, list[str]] = {}
    for name, module in before.items():
        if _is_packed(after[name]):
            continue
        width = module.weight.shape[-1]
        why = "its family keeps them as they are"
        if width % group:
            why = f"their input width {width} is no multiple of the group size {group}"
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        yield Skipped(tuple(sorted(names)), why)


def said(config: Mapping[str, Any]) -> str | None:
    """The type of weights that a config names, under transformers' older or newer key."""
    inner = config.get("text_config")
    for source in (config, inner if isinstance(inner, Mapping) else {}):
        for key in ("dtype", "torch_dtype"):
            if isinstance(source.get(key), str):
                return str(source[key]).removeprefix("torch.")
    return None


def cast(model: nn.Module, dtype: mx.Dtype) -> None:
    """Turn all weights into a type, but packed ones and those that the family keeps."""
    wanted: Callable[[str], bool] = getattr(model, "cast_predicate", lambda _: True)

    def as_wanted(name: str, weight: mx.array) -> mx.array:
        plain = mx.issubdtype(weight.dtype, mx.floating) and wanted(name)
        return weight.astype(dtype) if plain else weight

    model.update(tree_map_with_path(as_wanted, model.parameters()))


def written(model: nn.Module) -> str:
    """The type of most of the numbers that are no packed ones."""
    counts: dict[str, int] = {}
    for weight in flat(model.parameters()).values():
        if mx.issubdtype(weight.dtype, mx.floating):
            name = str(weight.dtype).removeprefix("mlx.core.")
            counts[name] = counts.get(name, 0) + weight.size
    return max(counts, key=lambda name: counts[name], default="")


def described(config: dict[str, Any], dtype: str) -> dict[str, Any]:
    """The config of what is written: its type, and Hugging Face's names for its layers."""
    if is_ai2(config):
        config = with_its_ids(config)
    keys = [key for key in ("dtype", "torch_dtype") if key in config] or ["dtype"]
    return {**config, **dict.fromkeys(keys, dtype)} if dtype else config
