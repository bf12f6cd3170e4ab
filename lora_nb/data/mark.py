"""The note that lora_nb leaves in a folder of rows that it wrote itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["NAME", "Mark", "read_mark"]

NAME = "lora_nb.json"
_LARGEST = 1 << 22
_LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Where the rows of a folder are from.

    `made` is "copy" for a cleaned copy and "notebook" for a variable's rows, `title` what a reader
    calls them, `labels` how places in each split begin (`df` gives `df[3]`), `files` the sha256 of
    every file as it was written, `account` what a copy has not taken over.
    """

    made: Literal["copy", "notebook"]
    title: str
    labels: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    account: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Put the note into a folder."""
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=True, indent=1)
        (folder / NAME).write_text(text + "\n", encoding="utf-8")

    def still_holds(self, folder: Path) -> bool:
        """Whether the folder has the files that were written, unchanged, and no others."""
        try:
            there = {path.name: path for path in folder.iterdir() if path.name != NAME}
            return there.keys() == self.files.keys() and all(
                _sha256(path) == self.files[name] for name, path in there.items()
            )
        except OSError:
            return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_mark(folder: Path) -> Mark | None:
    """The note in a folder; None if there is none, or nothing of the kind."""
    path = folder / NAME
    try:
        if path.stat().st_size > _LARGEST:
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        mark = Mark(**values)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    labels, files = mark.labels, mark.files
    if mark.made not in ("copy", "notebook") or not isinstance(mark.title, str):
        return None
    if not _are_texts(labels) or not _are_texts(files):
        return None
    return mark


def _are_texts(values: object) -> bool:
    return isinstance(values, dict) and all(
        isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST
        for value in values.values()
    )
