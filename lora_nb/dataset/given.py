"""Rows of a notebook's variables, written where a worker can read them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lora_nb.data.hub import ALIASES
from lora_nb.data.mark import Mark
from lora_nb.data.records import RecordRows, rows_of
from lora_nb.data.rows import Rows
from lora_nb.data.writing import new_folder, to_line, write_files
from lora_nb.errors import LoraError, did_you_mean
from lora_nb.runs import store

__all__ = ["keep_rows"]

_NAME = re.compile(r"[A-Za-z_][\w.]{0,40}")
_LOOKED_AT = 100
_TABLES = ("columns", "column_names")
_WANTED = (
    "Give a pandas frame, a list of dicts, a datasets.Dataset, a dict of them by split "
    "(train, valid, test), or a path."
)


def keep_rows(data: object, name: str = "data") -> Path:
    """The folder that holds these rows as JSON lines, written if it is not there yet.

    It lies in the folder of the runs and is named by its content, so a run's config names rows
    that stay as they were. `name` is what the rows are called in findings: `df` gives `df[3]`.
    Raises LoraError for anything that is no rows.
    """
    known = name if _NAME.fullmatch(name) else "data"
    splits = _splits(data, known)
    labels = {split: label for split, (label, _) in splits.items()}
    base = store.root().absolute() / "data"
    with new_folder(base) as part:
        digests = write_files(
            part,
            {f"{split}.jsonl": map(to_line, _values(rows)) for split, (_, rows) in splits.items()},
        )
        Mark(made="notebook", title=known, labels=labels, files=digests).write(part)
        content = "".join(f"{file} {digests[file]}\n" for file in sorted(digests))
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        folder = base / f"{known.replace('.', '-')}-{digest}"
        if not folder.exists():
            part.rename(folder)
    return folder


def _values(rows: Rows) -> Iterable[object]:
    """The records as they are, those that are no dicts too: the doctor names them."""
    return rows.records if isinstance(rows, RecordRows) else rows


def _splits(data: object, name: str) -> dict[str, tuple[str, Rows]]:
    """Label and rows of every split."""
    if isinstance(data, Mapping):
        found = {
            split: (f"{name}.{key}", _rows(data[key], f"{name}.{key}"))
            for key, split in _by_split(data, name).items()
        }
    else:
        found = {"train": (name, _rows(data, name))}
    for label, rows in found.values():
        if not len(rows):
            raise LoraError(f"{label} has no rows.")
    return found


def _by_split(data: Mapping[object, object], name: str) -> dict[str, str]:
    known = {alias: split for split, aliases in ALIASES.items() for alias in aliases}
    if not data:
        raise LoraError(f"{name} is an empty dict. {_WANTED}")
    chosen: dict[str, str] = {}
    for key in data:
        split = known.get(key) if isinstance(key, str) else None
        if split is None:
            near = did_you_mean(str(key), known)
            raise LoraError(f"{name}: '{key}' is no split.{near} {_WANTED}")
        if split in chosen.values():
            raise LoraError(f"{name} has more than one {split} split.")
        chosen[str(key)] = split
    return chosen


def _rows(data: object, label: str) -> Rows:
    if isinstance(data, Sequence) and not isinstance(data, Rows | str | bytes):
        if len(data) and not any(isinstance(each, Mapping) for each in data[:_LOOKED_AT]):
            kind, first = type(data).__name__, type(data[0]).__name__
            raise LoraError(f"{label} is a {kind} of {first}, not of dicts. {_WANTED}")
    elif not isinstance(data, Rows) and not any(hasattr(data, name) for name in _TABLES):
        raise LoraError(f"{label} is of type {type(data).__name__}, which holds no rows. {_WANTED}")
    return rows_of(data, label)
