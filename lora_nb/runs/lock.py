"""The lock that tells whether a run's worker lives.

The launcher takes it and hands the open file on to the worker, which keeps it for life; the
kernel of the operating system frees it however the worker ends. So there is no moment at which a
started run looks dead, and no dead run that looks alive.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["LOCK_FD", "alone_in", "inherit", "is_held", "take"]

# Environment variable in which the launcher names the open lock file.
LOCK_FD = "LORA_NB_LOCK_FD"

# `is_held` holds the lock for an instant; a few tries tell it from a worker.
_TRIES = 20
_PAUSE_SECONDS = 0.005


def take(path: Path) -> int | None:
    """Lock the file and return its descriptor (to be kept open), or None if it is held."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return descriptor
    os.close(descriptor)
    return None


def inherit(path: Path) -> int | None:
    """The launcher's lock on this file if it was handed on to this process, else None."""
    try:
        descriptor = int(os.environ.pop(LOCK_FD, ""))
        same = os.path.sameopenfile(descriptor, (probe := os.open(path, os.O_RDONLY)))
    except (ValueError, OSError):
        return None
    os.close(probe)
    if not same:
        return None
    os.set_inheritable(descriptor, False)
    return descriptor


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here with this folder, in which no file is left.

    Raises OSError if it isn't there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Some network file systems have no locks.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
