"""What `replace_file` may leave behind, and the hash of what it has written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import psutil

__all__ = ["sha256_of", "sweep_parts"]


def sweep_parts(folder: Path) -> None:
    """Remove what `replace_file` has left in a folder in processes that were killed."""
    for part in folder.glob(".*-*"):
        pid = part.name[1:].split("-", 1)[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            part.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The hash of a file's content in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
