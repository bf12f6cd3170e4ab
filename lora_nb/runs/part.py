"""What is written beside its place first, so that it is complete there or not there at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["clear", "part_file", "part_folder", "real_place", "set_aside"]


def real_place(path: str) -> Path:
    """Where something is written that an option names, absolute: a link stays one."""
    target = Path(path).expanduser().absolute()
    return Path(os.path.realpath(target)) if target.is_symlink() else target


@contextlib.contextmanager
def part_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target`, to be renamed to it; gone at the end if it wasn't.

    What processes that were killed have left there is removed first. Raises OSError.
    """
    part = _beside(target, "part")
    part.mkdir()
    with _held(os.open(part, os.O_RDONLY | os.O_CLOEXEC)):
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def part_file(target: Path) -> Iterator[Path]:
    """The same for a file, which is empty."""
    part = _beside(target, "part")
    with _held(os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)):
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)


def set_aside(target: Path) -> Path:
    """The name under which an old `target` stays until the new one is in its place."""
    return target.with_name(f".{target.name}.old-{os.getpid()}")


def _beside(target: Path, what: str) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    clear(target, what)
    return target.with_name(f".{target.name}.{what}-{os.getpid()}")


@contextlib.contextmanager
def _held(descriptor: int) -> Iterator[None]:
    """A lock that ends with the process, and tells others that this is being written."""
    try:
        # Some file systems of networks have no locks; what is left there stays.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def clear(target: Path, what: str) -> None:
    """Remove what killed processes have left beside `target`: `part` or `old`."""
    name = re.compile(rf"\.{re.escape(target.name)}\.{what}-\d+")
    for path in target.parent.iterdir():
        if name.fullmatch(path.name) and _is_left(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_left(path: Path) -> bool:
    """Whether nobody is writing it any more."""
    if path.is_symlink():
        return True
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
