"""Files that several runs may write: one at a time, what killed ones leave behind, and hashes."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

__all__ = ["alone_in", "sha256_of", "sweep_parts"]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here with this folder. Raises OSError if it isn't there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Some network file systems have no locks.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


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
