"""Write a model as a folder that mlx-lm loads: complete, or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.utils import save_config

from lora_nb.config import ConvertConfig
from lora_nb.core.convert import Converted
from lora_nb.core.olmo_layout import is_ai2, plain_tokenizer
from lora_nb.core.trees import Weights
from lora_nb.errors import LoraError
from lora_nb.runs.part import clear, part_folder, real_place, set_aside
from lora_nb.runs.whole_file import sync_all, sync_folder

__all__ = ["check_folder", "check_target", "write_model"]

Tick = Callable[[int, int], None]

_FILE_BYTES = 5_000_000_000
_WEIGHTS_INDEX = "model.safetensors.index.json"
# What belongs to the tokenizer, or to the model but for its weights and their description. Licences
# have to go with what is made of a model.
_COMPANIONS = (
    *("*.json", "*.jsonl", "*.jinja", "*.model", "*.tiktoken", "*.txt"),
    *("LICENSE*", "NOTICE*"),
)
_CODE = "*.py"
_OWN = ("config.json", "hf_quant_config.json", "adapter_config.json")


def check_target(source: Path, options: ConvertConfig) -> Path:
    """The folder to write, absolute. Raises LoraError if it must not be written."""
    kept = {"the model that is converted": source}
    return check_folder("mlx_path", options.mlx_path, kept, overwrite=options.overwrite)


def check_folder(option: str, path: str, kept: Mapping[str, Path], *, overwrite: bool) -> Path:
    """The folder for a model that an option names, absolute; `kept` has folders in words.

    Raises LoraError if it must not be written: it is there, or is or holds one of `kept`.
    """
    target = real_place(path)
    real = Path(os.path.realpath(target))
    for what, folder in kept.items():
        origin = folder.resolve()
        if real in (origin, *origin.parents):
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
    in the name of `option`, if it can't be written, or if float16 can't hold its numbers.
    """
    try:
        with part_folder(target) as part:
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
            _check_range(tensor, content[tensor])
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


def _check_range(name: str, weight: mx.array) -> None:
    if weight.dtype == mx.float16 and not mx.isfinite(weight).all().item():
        raise LoraError(
            f"dtype: {name} holds numbers beyond 65,504, which float16 can't hold, so nothing is "
            "written. Convert with --dtype bfloat16."
        )


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
    old = set_aside(target)
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
    clear(target, "old")
