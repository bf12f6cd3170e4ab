"""What lies in a model folder, looked at before anything loads it.

Nothing here runs or unpacks what it reads, and no path leads out of the folder.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_nb.errors import LoraError

__all__ = ["Weights", "check_folder", "read_json", "weights_of"]

# What loaders open.
_READ = (".json", ".jsonl", ".jinja", ".model", ".py", ".safetensors", ".tiktoken", ".txt")
_LARGEST_JSON = 512_000_000
_LARGEST_HEADER = 100_000_000
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_INDEX = "model.safetensors.index.json"
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
}
# Whole numbers may hold packed weights of two bits each.
_PACKED = ("I32", "U32", "I8", "U8")
_LEAST_BITS = 2


@dataclass(frozen=True)
class Weights:
    """How many tensors the weight files of a folder hold, and at most how many numbers."""

    tensors: int = 0
    numbers: int = 0


def check_folder(folder: Path) -> None:
    """Raise LoraError if a file that would be opened is none, or lies somewhere else."""
    for path in sorted(folder.iterdir()):
        if path.suffix not in _READ:
            continue
        if path.is_symlink() and not _stays(folder, path):
            raise LoraError(
                f"model: {path} is a link that leads out of the model folder. Only files inside "
                "are read; copy the file into the folder if it belongs there."
            )
        if not path.is_file():
            raise LoraError(f"model: {path} can't be read: it is a folder, pipe or device.")
    _check_index(folder)


def _stays(folder: Path, path: Path) -> bool:
    """Whether a link ends inside the folder, or among the files of Hugging Face's cache."""
    try:
        target, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError):
        return False
    if target.is_relative_to(home):
        return True
    # snapshots/<revision>/ of a cached repository is made of links to its blobs.
    own = home.parent.parent / "blobs"
    if home.parent.name == "snapshots" and target.parent == own:
        return True
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE).resolve()
    return target.parent.name == "blobs" and target.is_relative_to(cache)


def _check_index(folder: Path) -> None:
    index = folder / _INDEX
    if not index.is_file():
        return
    told = read_json(index)
    names = told.get("weight_map")
    if not isinstance(names, Mapping):
        raise LoraError(f"model: {index} is damaged: it has no weight_map.")
    for name in set(map(str, names.values())):
        if Path(name).name != name:
            raise LoraError(
                f"model: {index} names the file '{name}', which is outside the model folder."
            )


def read_json(path: Path, of: str = "model") -> dict[str, Any]:
    """A JSON object in a file. Raises LoraError if it is damaged, too large or something else."""
    unread = f"{of}: {path} can't be read"
    if path.exists() and not path.is_file():
        raise LoraError(f"{unread}: it is a folder, pipe or device.")
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise LoraError(f"{unread}: it is too large to be right (over 512 MB).")
        told = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise LoraError(f"{unread}: it is nested too deeply.") from None
    except OSError as problem:
        raise LoraError(f"{unread}: {problem.strerror}.") from None
    except ValueError as problem:
        raise LoraError(f"{unread}: {problem}.") from None
    if not isinstance(told, dict):
        raise LoraError(f"{unread}: it holds no JSON object.")
    return told


def weights_of(folder: Path) -> Weights:
    """What the headers of the weight files say.

    Raises LoraError if there are none, or if one is damaged or was not fetched to its end.
    """
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise _no_weights(folder)
    if re.search(r"[*?\[\]]", str(folder)):
        raise LoraError(f"model: rename {folder}: mlx-lm finds no weights in a path with * ? [ ].")
    held = [_counted(file) for file in files]
    return Weights(sum(tensors for tensors, _ in held), sum(numbers for _, numbers in held))


def _no_weights(folder: Path) -> LoraError:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        return LoraError(
            f"model: {folder} has its weights only as {pickles[0]}. Such files can run code when "
            "they are read, so they are not. Take a version of the model with .safetensors files."
        )
    return LoraError(f"model: {folder} has no weights (model*.safetensors).")


def _counted(file: Path) -> tuple[int, int]:
    """Tensors of a safetensors file, and at most how many numbers are in them."""
    header, room = _header(file)
    tensors = numbers = 0
    for name, about in header.items():
        if name == "__metadata__":
            continue
        count, bits, bytes_ = _tensor(file, name, about, room)
        tensors += 1
        numbers += count * bits // _LEAST_BITS if about["dtype"] in _PACKED else count
        if bits and bytes_ * 8 != count * bits:
            raise _damaged(file, f"the size of {name} is not that of its shape")
    return tensors, numbers


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """The header and how many bytes follow it (8 bytes of length, then JSON, then the data)."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(size - 8, _LARGEST_HEADER):
                raise _damaged(file, "its header does not fit into it")
            header = json.loads(stream.read(length))
    except OSError as problem:
        raise LoraError(f"model: {file} can't be read: {problem.strerror}.") from None
    except (ValueError, RecursionError):
        raise _damaged(file, "its header is not valid JSON") from None
    if not isinstance(header, dict):
        raise _damaged(file, "its header is no JSON object")
    return header, size - 8 - length


def _tensor(file: Path, name: str, about: Any, room: int) -> tuple[int, int, int]:
    """Count, bits of one number (0 if unknown) and bytes of a tensor, if they make sense."""
    try:
        shape, (start, end) = about["shape"], about["data_offsets"]
        bits = _BITS.get(about["dtype"], 0)
        whole = all(type(side) is int and side >= 0 for side in (*shape, start, end))
    except (KeyError, TypeError, ValueError):
        raise _damaged(file, f"its header does not describe {name} rightly") from None
    if not whole or start > end:
        raise _damaged(file, f"its header does not describe {name} rightly")
    if end > room:
        raise LoraError(
            f"model: {file} is damaged: {name} ends behind the end of the file. Was it fetched "
            "completely?"
        )
    return math.prod(shape), bits, end - start


def _damaged(file: Path, why: str) -> LoraError:
    return LoraError(f"model: {file} is damaged: {why}.")
