"""What may leave a folder for the Hub: the files of a model or adapter, none else, no secrets."""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_nb.errors import LoraError, listed
from lora_nb.redact import has_secret, secrets_of
from lora_nb.runs.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_TEMPLATE,
    ADAPTER_WEIGHTS,
    PEFT_WEIGHTS,
    is_adapter,
)

__all__ = ["Outgoing", "Parcel", "check_parcel", "is_loaded", "pack"]

_CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"
_WORDS = ("README.md", "LICENSE*", "NOTICE*")
_OF_ADAPTER = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, PEFT_WEIGHTS, ADAPTER_TEMPLATE, *_WORDS)
_OF_MODEL = (
    _CONFIG,
    "generation_config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    _INDEX,
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.tiktoken",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "*.gguf",
    "Modelfile",
    *_WORDS,
)
_BINARY = (".safetensors", ".gguf", ".model")
# How safetensors begin: the length of their description, which is JSON of at most this size.
_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000
_PLACES = re.compile(r"/(?:home|Users)/[\w.-]+/|[A-Za-z]:\\\\?Users\\\\?[\w.-]+")


@dataclass(frozen=True)
class Outgoing:
    """A file by its name on the Hub: as it lies in the folder, or a text that takes its place."""

    name: str
    path: Path
    text: str | None = None

    @property
    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size if self.text is None else len(self.text.encode())


@dataclass
class Parcel:
    """What goes to the Hub, of a folder that holds a model or an adapter."""

    folder: Path
    kind: str
    files: list[Outgoing]
    left_out: list[str]
    warnings: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(file.size for file in self.files)


def pack(folder: Path) -> Parcel:
    """The files of a model or adapter folder that may go. Raises LoraError if it is neither."""
    kind = "model" if (folder / _CONFIG).is_file() else "adapter"
    allowed: tuple[str, ...] = _OF_MODEL if kind == "model" else _OF_ADAPTER
    if kind == "adapter" and not is_adapter(folder):
        raise LoraError(
            f"path: {folder} holds neither a model ({_CONFIG}) nor an adapter ({ADAPTER_WEIGHTS})."
        )
    there = sorted(folder.iterdir())
    taken = [path for path in there if path.is_file() and _matches(path.name, allowed)]
    if kind == "model":
        wanted = _weights(folder)
        taken = [p for p in taken if p.suffix != ".safetensors" or p.name in wanted]
    else:
        _check_adapter(folder)
    if any(has_secret(path.name) for path in taken):
        raise LoraError(f"path: a file's name in {folder} has what looks like a secret in it.")
    left = [f"{p.name}/" if p.is_dir() else p.name for p in there if p not in taken]
    return Parcel(folder, kind, [Outgoing(p.name, p) for p in taken], left)


def is_loaded(name: str) -> bool:
    """Whether a file of this name in a repository is read by what loads a model or adapter.

    Words about the model, GGUF files and what lies in folders are not.
    """
    if "/" in name or _matches(name, (*_WORDS, "*.gguf")):
        return False
    return _matches(name, (*_OF_MODEL, *_OF_ADAPTER))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _weights(folder: Path) -> set[str]:
    """The names of the files with the model's weights. Raises LoraError if one is missing."""
    index = folder / _INDEX
    named = {"model.safetensors"}
    if index.is_file():
        told = _json(index)
        named = {str(name) for name in dict(told.get("weight_map") or {}).values()}
    missing = sorted(name for name in named if not (folder / name).is_file())
    if missing or not named:
        raise LoraError(f"path: {folder} lacks weights: {', '.join(missing) or 'none are named'}.")
    foreign = sorted(name for name in named if not _matches(name, _OF_MODEL))
    if foreign:
        raise LoraError(f"{index}: {foreign[0]} is no usual name of a file with weights.")
    return named


def _check_adapter(folder: Path) -> None:
    if not (folder / ADAPTER_CONFIG).is_file():
        raise LoraError(f"path: {folder} has no {ADAPTER_CONFIG}, so nobody could load it.")


def check_parcel(parcel: Parcel, known: Iterable[str] = ()) -> None:
    """Raise LoraError that lists every broken file and every secret, by file and line.

    `known` are values that are secrets, whatever they look like. Paths of this machine are no
    secrets, but the parcel's warnings tell of them.
    """
    known = tuple(known)
    broken: list[str] = []
    secrets: list[str] = []
    for file in parcel.files:
        try:
            text = _readable(file)
        except LoraError as problem:
            broken.append(str(problem))
            continue
        places = secrets_of(text, known)
        secrets += [f"{parcel.folder / file.name}, line {line}: {what}." for line, what in places]
        parcel.warnings += _places(file.name, text)
    if broken:
        raise listed(broken)
    if secrets:
        told = "\n".join(f"  - {secret}" for secret in secrets[:20])
        raise LoraError(
            "Nothing was sent, since there are what looks like secrets in files that would go:\n"
            f"{told}\nTake them out, and change those that have been anywhere else."
        )


def _places(name: str, text: str) -> Iterator[str]:
    hit = _PLACES.search(text)
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises without one
    owned = Path(home).is_absolute() and home != "/"
    place = hit.start() if hit is not None else text.find(f"{home}/") if owned else -1
    if place >= 0:
        line = text.count("\n", 0, place) + 1
        yield f"{name}, line {line}: holds a path of this machine, which everybody will read."


def _readable(file: Outgoing) -> str:
    """What can be read in a file: its text, or the description of its tensors."""
    if file.text is not None:
        return file.text
    if file.path.suffix == ".safetensors":
        return _header(file.path)
    if file.path.suffix in _BINARY:
        return ""
    text = _text(file.path)
    if file.path.suffix == ".json":
        _json(file.path, text)
    return text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as problem:
        raise LoraError(f"{path} can't be read: {problem.strerror}.") from None


def _json(path: Path, text: str | None = None) -> dict[str, Any]:
    try:
        found = json.loads(_text(path) if text is None else text)
    except (ValueError, RecursionError):
        raise LoraError(f"{path} is damaged: it is no JSON.") from None
    if not isinstance(found, dict):
        raise LoraError(f"{path} is damaged: it is no JSON object.")
    return found


def _header(path: Path) -> str:
    """The description in a file of safetensors. Raises LoraError if the file was cut short."""
    damaged = LoraError(f"{path} is damaged (cut short?), so nobody could load it.")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if not 0 < length <= _LONGEST_HEADER:
                raise damaged
            text = file.read(length).decode("utf-8")
        told = json.loads(text)
        ends = [int(entry["data_offsets"][1]) for name, entry in told.items() if name[:2] != "__"]
    except OSError as problem:
        raise LoraError(f"{path} can't be read: {problem.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise damaged from None
    if path.stat().st_size != _LENGTH_BYTES + length + max(ends, default=0):
        raise damaged
    return text
