"""Where rows come from: a folder, the demo, a Hugging Face data set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lora_nb.config.derived import parse_shares
from lora_nb.data.formats import Features
from lora_nb.data.jsonl import JsonlRows
from lora_nb.data.mark import read_mark
from lora_nb.data.rows import Rows
from lora_nb.data.splitting import split_rows
from lora_nb.errors import LoraError, did_you_mean

__all__ = ["SPLITS", "SourceOptions", "Splits", "looks_like_path", "open_splits"]

SPLITS = ("train", "valid", "test")
_HUB_NAME = re.compile(r"[\w][\w.-]{0,95}(/[\w][\w.-]{0,95})?")
_SHORT_NAMES = {"wikisql": "mlx-community/WikiSQL"}
_FOLDER = "Give a folder with train.jsonl, valid.jsonl and test.jsonl (those that are needed)."


class SourceOptions(Features, Protocol):
    """The options that say where rows are (DataOptions has them)."""

    @property
    def data(self) -> str: ...
    @property
    def split(self) -> str | None: ...
    @property
    def split_seed(self) -> int: ...
    @property
    def hf_dataset(self) -> dict[str, Any] | list[dict[str, Any]] | None: ...


@dataclass
class Splits:
    """The rows of each split, None where there are none.

    A split in `needed` must hold rows; a fault in a split of `used` is an error, elsewhere it is
    a warning. `unreadable` says why a split that is not used could not be opened.
    """

    train: Rows | None = None
    valid: Rows | None = None
    test: Rows | None = None
    needed: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset(SPLITS)
    unreadable: dict[str, str] = field(default_factory=dict)

    def items(self) -> Iterator[tuple[str, Rows]]:
        """(name, rows) of the splits that are there, in the order train, valid, test."""
        for name in SPLITS:
            rows: Rows | None = getattr(self, name)
            if rows is not None:
                yield name, rows


def open_splits(options: SourceOptions, need: Sequence[str]) -> Splits:
    """Opens the splits of the named data; those in `need` must be there and hold rows.

    Raises LoraError that says what was looked for, what is there, and what to do.
    """
    unknown = [name for name in need if name not in SPLITS]
    if unknown:
        raise LoraError(f"There is no split '{unknown[0]}', only train, valid and test.")
    splits = _split(options) if options.split else _open(options, need)
    splits.needed = frozenset(need)
    splits.used = _used(need)
    for name in need:
        rows = getattr(splits, name)
        if rows is None:
            there = " and ".join(each for each, _ in splits.items()) or "none"
            raise LoraError(
                f"Data '{_label(options)}' has no {name} split (it has {there}). "
                f"It needs one to {'train' if name == 'train' else 'run'}."
            )
        if not len(rows):
            raise LoraError(
                f"The {name} split of '{_label(options)}' has no rows. "
                "Put one JSON object on each line."
            )
    return splits


def _split(options: SourceOptions) -> Splits:
    """The train rows dealt out by `split`; ready-made valid and test rows would contradict it."""
    source = _open(options, ["train"])
    others = [name for name, _ in source.items() if name != "train"]
    if others:
        raise LoraError(
            f"split: '{_label(options)}' already has {' and '.join(others)} rows. "
            "Leave --split out, or name the file to split."
        )
    if source.train is None:
        raise LoraError(f"split: '{_label(options)}' has no train rows to split.")
    dealt = split_rows(source.train, parse_shares(options.split or ""), options.split_seed)
    return Splits(dealt.get("train"), dealt.get("valid"), dealt.get("test"))


def _used(need: Sequence[str]) -> frozenset[str]:
    """Validation comes along with training wherever it is there."""
    return frozenset(need) | ({"valid"} if "train" in need else set())


def _label(options: SourceOptions) -> str:
    return "hf_dataset" if options.hf_dataset else options.data


def _open(options: SourceOptions, need: Sequence[str]) -> Splits:
    if options.hf_dataset:
        from lora_nb.data.hub import open_custom

        return open_custom(options.hf_dataset, options, need)
    name = options.data.strip()
    if name == "demo":
        from lora_nb.demo import DATA_PATH

        return _folder(Path(DATA_PATH), need)
    path = Path(name).expanduser()
    if path.is_dir():
        return _folder(path, need)
    if path.exists():
        return _single(path, need)
    if name.lower() in _SHORT_NAMES:
        name = _SHORT_NAMES[name.lower()]
    elif looks_like_path(name):
        raise LoraError(f"Data folder '{name}' does not exist.{_near(path)} {_FOLDER}")
    elif near := _near(path):
        raise LoraError(
            f"Data folder '{name}' does not exist.{near} "
            f"If you mean a Hugging Face data set, write hf_dataset: {{path: {name}}}."
        )
    from lora_nb.data.hub import open_named

    return open_named(name)


def looks_like_path(name: str) -> bool:
    """Is this surely meant as a path? Then it is never looked up on the Hub."""
    return _HUB_NAME.fullmatch(name) is None or _has_ending(name)


def _has_ending(name: str) -> bool:
    return name.lower().endswith((".jsonl", ".json", ".csv", ".txt", ".parquet"))


def _near(path: Path) -> str:
    """Did-you-mean among the folders beside a path that does not exist."""
    parent = path.parent
    try:
        beside = [each.name for each in parent.iterdir() if each.is_dir()]
    except OSError:
        return ""
    near = did_you_mean(path.name, beside)
    if not near or str(parent) == ".":
        return near
    return near.replace("'", f"'{parent}/", 1)


def _folder(path: Path, need: Sequence[str]) -> Splits:
    splits = Splits()
    mark = read_mark(path)
    labels = mark.labels if mark else {}
    for name in SPLITS:
        file = path / f"{name}.jsonl"
        if not file.is_file():
            continue
        try:
            setattr(splits, name, JsonlRows(file, name, labels.get(name, "")))
        except LoraError as error:
            if name in _used(need):
                raise
            splits.unreadable[name] = str(error)
    missing = [name for name in need if getattr(splits, name) is None]
    if missing:
        raise _missing(path, missing[0])
    return splits


def _missing(path: Path, name: str) -> LoraError:
    try:
        there = sorted(each.name + ("/" if each.is_dir() else "") for each in path.iterdir())
    except OSError as error:
        return LoraError(f"Data folder '{path}' cannot be read ({error.strerror}).")
    wanted = f"{name}.jsonl"
    if not there:
        return LoraError(f"Data folder '{path}' is empty; it needs {wanted}. {_FOLDER}")
    shown = ", ".join(there[:8]) + (", …" if len(there) > 8 else "")
    near = did_you_mean(wanted, [each for each in there if each.startswith(name[:2])])
    return LoraError(f"Data folder '{path}' has no {wanted}. It has {shown}.{near}")


def _single(path: Path, need: Sequence[str]) -> Splits:
    if path.suffix.lower() != ".jsonl":
        raise LoraError(f"Data '{path}' is not a .jsonl file. {_FOLDER}")
    if len(need) == 1:
        splits = Splits()
        setattr(splits, need[0], JsonlRows(path, need[0]))
        return splits
    raise LoraError(
        f"Data '{path}' is one file, but {' and '.join(need)} rows are needed. {_FOLDER}"
    )
