"""Some room on the disk, kept for the last event of a run that ends because the disk is full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

__all__ = ["reserved"]

# The last event, the config of before, and their folder's entries: each takes a block or two.
_BYTES = 32 * 1024


@contextmanager
def reserved(path: Path) -> Iterator[Callable[[], None]]:
    """Keep room in a file of its own; what is yielded frees it, at the latest the end does."""
    free = partial(_remove, path)
    # Without room to keep there is none to free.
    with suppress(OSError):
        path.write_bytes(bytes(_BYTES))
    try:
        yield free
    finally:
        free()


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
