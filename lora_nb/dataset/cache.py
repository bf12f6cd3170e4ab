"""Measurements kept between looks, under a key of all that they depend on."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from lora_nb.config import DataConfig
from lora_nb.data.measure import Measured
from lora_nb.data.sources import Splits
from lora_nb.runs.cache import age_of, cache_folder

__all__ = ["Key", "find", "folder", "keep", "key_of", "model_folder", "tidy"]

_KEPT = 200
_LARGEST = 256 << 20
# A model's weights do not change its tokens.
_WEIGHTS = {".safetensors", ".bin", ".gguf", ".npz", ".pt", ".pth", ".h5", ".onnx", ".msgpack"}
# What else these options say is in the rows' fingerprints and in the files that are read.
_NOT_IN_KEY = ("data", "hf_dataset", "model", "chat_template")


@dataclasses.dataclass(frozen=True)
class Key:
    """The name of a measurement, and the fingerprints of the rows that it is of."""

    name: str
    rows: dict[str, str]


def folder() -> Path:
    """Where measurements lie, and the runs that make them."""
    return cache_folder() / "data"


def key_of(config: DataConfig, splits: Splits) -> Key | None:
    """The key of data, tokenizer and options; None while the model is not on this machine."""
    place = None if config.model is None else model_folder(config.model)
    if place is None:
        return None
    rows = {name: each.fingerprint() for name, each in splits.items()}
    values = dataclasses.asdict(config)
    parts = {
        "version": _version(),
        "rows": rows,
        # Findings name the places of rows.
        "where": [each.where(0) for _, each in splits.items() if len(each)],
        "unreadable": splits.unreadable,
        "options": {key: values[key] for key in sorted(values) if key not in _NOT_IN_KEY},
        "template": _of_file(Path(config.chat_template)) if config.chat_template else "",
        "tokenizer": {path.name: _of_file(path) for path in _word_files(place)},
    }
    name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    return Key(name, rows)


def model_folder(name: str) -> Path | None:
    """The folder of a model if it is on this machine: embedded, local, or fetched before."""
    if name == "demo":
        from lora_nb.demo import MODEL_PATH

        return MODEL_PATH
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def find(key: Key) -> Measured | None:
    """What was measured under this key, or None."""
    path = _path(key)
    try:
        found = Measured.from_json(path.read_text(encoding="utf-8"))
        # The oldest are removed first, by when they were last of use.
        os.utime(path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def keep(key: Key, measured: Measured) -> None:
    """Put a measurement away, unless the rows have changed while they were measured."""
    if {name: split.fingerprint for name, split in measured.splits.items()} != key.rows:
        return
    path = _path(key)
    part = path.with_suffix(f".{os.getpid()}.part")
    # A full disk costs the next look some time, nothing else.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(measured.to_json(), encoding="utf-8")
        part.rename(path)
    with contextlib.suppress(OSError):
        part.unlink()


def tidy() -> None:
    """Remove the measurements that were longest of no use."""
    kept = sorted(_files(folder() / "reports"), key=age_of)
    for path in kept[_KEPT:]:
        path.unlink(missing_ok=True)


def _files(place: Path) -> Iterator[Path]:
    try:
        yield from place.iterdir()
    except OSError:
        return


def _path(key: Key) -> Path:
    return folder() / "reports" / f"{key.name}.json"


def _word_files(place: Path) -> list[Path]:
    return [
        path
        for path in sorted([*place.glob("*"), *place.glob("additional_chat_templates/*")])
        if path.is_file()
        and path.suffix not in _WEIGHTS
        and not path.name.endswith(".index.json")
        and path.stat().st_size <= _LARGEST
    ]


def _of_file(path: Path) -> str:
    try:
        with path.expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _version() -> str:
    from lora_nb import __version__

    return __version__
