"""Rows as JSON lines on disk: a whole folder of them or nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lora_nb.errors import LoraError

__all__ = ["new_folder", "to_line", "write_files"]


@contextmanager
def new_folder(parent: Path) -> Iterator[Path]:
    """A folder beside its later place, to be filled and renamed; gone if it was not renamed.

    Raises LoraError if the disk refuses.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".lora_nb-", dir=parent))
    except OSError as error:
        raise LoraError(f"{parent}: cannot be written to ({error.strerror}).") from error
    try:
        # Others may read it, as any other folder that is made here.
        folder.chmod(0o755)
        yield folder
    except OSError as error:
        raise LoraError(f"{parent}: cannot be written to ({error.strerror}).") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_files(folder: Path, files: Mapping[str, Iterable[bytes]]) -> dict[str, str]:
    """Write lines into files by their names; returns the sha256 of each."""
    digests: dict[str, str] = {}
    for name, lines in files.items():
        digest = hashlib.sha256()
        with (folder / name).open("wb") as file:
            for line in lines:
                digest.update(line)
                digest.update(b"\n")
                file.write(line)
                file.write(b"\n")
        digests[name] = digest.hexdigest()
    return digests


def to_line(row: object) -> bytes:
    """A row as one line of JSON, its keys in their order.

    A value that JSON has no form for becomes an object that names its type, so that it is never
    taken for a text.
    """
    text = json.dumps(row, ensure_ascii=False, default=_foreign)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(row, default=_foreign).encode("ascii")


def _foreign(value: object) -> object:
    if (as_plain := getattr(value, "tolist", None)) is not None:
        return as_plain()
    if isinstance(value, Mapping):
        return dict(value)
    return {"type": type(value).__name__, "value": str(value)}
