"""Convert a model: quantise, dequantise or cast it, and write it as a folder that mlx-lm loads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.convert import mixed_quant_predicate_builder
from mlx_lm.utils import dequantize_model, get_total_parameters, quantize_model, save_config

from lora_nb.config import ConvertConfig
from lora_nb.config.rules import quantisation_of
from lora_nb.core.load import Loaded
from lora_nb.core.olmo_layout import is_ai2, plain_tokenizer, with_its_ids
from lora_nb.core.trees import Weights, flat
from lora_nb.errors import LoraError
from lora_nb.runs.whole_file import sync_all, sync_folder

__all__ = [
    "DTYPES",
    "Converted",
    "Skipped",
    "bits_of",
    "cast",
    "check_folder",
    "check_target",
    "converted",
    "described",
    "said",
    "write_model",
    "written",
]

Tick = Callable[[int, int], None]

DTYPES = ("float16", "bfloat16", "float32")
_FILE_BYTES = 5_000_000_000
_WEIGHTS_INDEX = "model.safetensors.index.json"
# What belongs to the tokenizer, or to the model but for its weights and their description.
_COMPANIONS = ("*.json", "*.jsonl", "*.jinja", "*.model", "*.tiktoken", "*.txt")
_CODE = "*.py"
_OWN = ("config.json", "hf_quant_config.json", "adapter_config.json")


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


def check_target(source: Path, options: ConvertConfig) -> Path:
    """The folder to write, absolute. Raises LoraError if it must not be written."""
    kept = {"the model that is converted": source}
    return check_folder("mlx_path", options.mlx_path, kept, overwrite=options.overwrite)


def check_folder(option: str, path: str, kept: Mapping[str, Path], *, overwrite: bool) -> Path:
    """The folder for a model that an option names, absolute; `kept` has folders in words.

    Raises LoraError if it must not be written: it is there, or is or holds one of `kept`.
    """
    target = Path(path).expanduser().absolute()
    real = target.resolve()
    for what, folder in kept.items():
        origin = folder.resolve()
        if real == origin or real in origin.parents:
            raise LoraError(f"{option}: {target} is, or holds, {what}. Name another folder.")
    if not os.path.lexists(target):
        return target
    if not target.is_dir():
        raise LoraError(f"{option}: {target} is a file. Name a folder.")
    if not any(target.iterdir()):
        return target
    if not overwrite:
        raise LoraError(
            f"{option}: {target} is already there. Name another folder, or add --overwrite."
        )
    if not (target / "config.json").is_file():
        raise LoraError(
            f"{option}: {target} is no model folder (it has no config.json), so it is not "
            "overwritten. Name another folder."
        )
    return target


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


def write_model(
    made: Converted,
    source: Path,
    target: Path,
    tick: Tick,
    *,
    with_code: bool = False,
    option: str = "mlx_path",
    texts: Mapping[str, str] | None = None,
) -> int:
    """Write the model with its tokenizer, complete or not at all; returns its size in bytes.

    `tick(done, total)` is called after each tensor, and may raise to give up. The model is used up
    on the way, so that no more than one file's worth of it is in memory. Code that the model
    brings is left behind unless `with_code`; `texts` are written beside, by name. Raises LoraError,
    in the name of `option`, if it can't be written.
    """
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        _write_weights(made.model, part, tick)
        save_config(dict(made.config), part / "config.json")
        _copy_companions(source, part, with_code)
        for name, text in (texts or {}).items():
            (part / name).write_text(text, encoding="utf-8")
        sync_all(part)
        size = sum(path.stat().st_size for path in part.iterdir())
        _put_in_place(part, target)
    except (OSError, RuntimeError) as problem:
        raise LoraError(
            f"{option}: {target} can't be written: {problem}. Nothing was changed."
        ) from problem
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return size


def _write_weights(model: nn.Module, folder: Path, tick: Tick) -> None:
    weights = dict(tree_flatten(model.parameters()))
    total, parameters = len(weights), sum(weight.size for weight in weights.values())
    files = _files(weights)
    size = sum(weight.nbytes for weight in weights.values())
    # From here on the files alone hold the tensors, and each is let go once it is written.
    model.update(tree_map_with_path(lambda _, __: mx.array([]), model.parameters()))
    weights.clear()
    names: dict[str, str] = {}
    done = 0
    for number in range(len(files)):
        content, files[number] = files[number], {}
        name = _file_name(number, len(files))
        for tensor in content:
            mx.eval(content[tensor])
            names[tensor] = name
            done += 1
            tick(done, total)
        mx.save_safetensors(str(folder / name), content, metadata={"format": "mlx"})
        content.clear()
        mx.clear_cache()
    index = {
        "metadata": {"total_size": size, "total_parameters": parameters},
        "weight_map": dict(sorted(names.items())),
    }
    (folder / _WEIGHTS_INDEX).write_text(json.dumps(index, indent=4) + "\n", encoding="utf-8")


def _files(weights: Weights) -> list[Weights]:
    """The tensors in groups of at most 5 GB, in the model's order."""
    files: list[Weights] = [{}]
    room = _FILE_BYTES
    for name, weight in weights.items():
        if files[-1] and weight.nbytes > room:
            files.append({})
            room = _FILE_BYTES
        files[-1][name] = weight
        room -= weight.nbytes
    return files


def _file_name(number: int, count: int) -> str:
    return "model.safetensors" if count == 1 else f"model-{number + 1:05}-of-{count:05}.safetensors"


def _copy_companions(source: Path, folder: Path, with_code: bool) -> None:
    foreign = is_ai2(json.loads((source / "config.json").read_text(encoding="utf-8")))
    for pattern in (*_COMPANIONS, *([_CODE] if with_code else [])):
        for path in sorted(source.glob(pattern)):
            if path.name in _OWN or path.name.endswith(".index.json") or not path.is_file():
                continue
            if foreign and path.suffix == ".py":
                continue
            shutil.copyfile(path, folder / path.name)
    settings = folder / "tokenizer_config.json"
    if foreign and settings.is_file():
        told = json.loads(settings.read_text(encoding="utf-8"))
        settings.write_text(json.dumps(plain_tokenizer(told), indent=2), encoding="utf-8")


def _put_in_place(part: Path, target: Path) -> None:
    """Rename the new folder to its name; an old one is taken away only once the new one is."""
    old = target.with_name(f".{target.name}.old-{os.getpid()}")
    replaced = os.path.lexists(target)
    if replaced:
        target.rename(old)
    try:
        part.rename(target)
    except OSError:
        if replaced:
            old.rename(target)
        raise
    sync_folder(target.parent)
    if replaced:
        shutil.rmtree(old, ignore_errors=True)
