"""A folder of this user's own for things that can be made again."""

from __future__ import annotations

import functools
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["age_of", "cache_folder"]


@functools.cache
def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/lora_nb`, or the nearest folder that only this user can write.

    What lies in it is loaded as code (libraries, compiled kernels), so a folder that belongs to
    somebody else, or that others may write, is not used. Paths with blanks or colons are passed
    over because the dynamic loader splits LD_PRELOAD there.
    """
    for place in _places():
        if not any(mark in str(place) for mark in " :\t\n") and _make_private(place):
            return place
    return Path(tempfile.mkdtemp(prefix="lora_nb-"))


def age_of(path: Path) -> float:
    """The seconds since a file, or a folder's list of names, was last changed; 0 if it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _places() -> Iterator[Path]:
    if named := os.environ.get("XDG_CACHE_HOME"):
        if Path(named).is_absolute():
            yield Path(named, "lora_nb")
    elif home := os.path.expanduser("~"):  # noqa: PTH111 - Path.home() raises without one
        caches = "Library/Caches" if sys.platform == "darwin" else ".cache"
        if Path(home).is_absolute():
            yield Path(home, caches, "lora_nb")
    yield Path(tempfile.gettempdir(), f"lora_nb-{os.getuid()}")


def _make_private(folder: Path) -> bool:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return mine and not found.st_mode & 0o022 and os.access(folder, os.W_OK | os.X_OK)
