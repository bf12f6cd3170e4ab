"""Files that readers see as they were or as they are now, never half."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["replace_file", "sync_all", "sync_file", "sync_folder", "write_whole"]


def sync_file(path: Path) -> None:
    """Force a file's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if sys.platform == "darwin":
            # On macOS fsync leaves the data in the drive's own cache.
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(folder: Path) -> None:
    """Force a folder's files and its entries to the disk."""
    for path in folder.iterdir():
        sync_file(path)
    sync_folder(folder)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file through `write(temporary)` so that readers see the old one or the new one."""
    # The suffix stays: mx.save_safetensors appends it to any other name.
    part = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(part)
        sync_file(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_whole(path: Path, text: str) -> None:
    """Put text in the place of a file; it is on the disk when this returns. Raises OSError."""
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))
