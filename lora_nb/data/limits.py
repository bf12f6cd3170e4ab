"""Bounds of time and memory for what a model brings along, such as its chat template."""

from __future__ import annotations

import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["TooMuchError", "bounded"]

_AGAIN_SECONDS = 0.5
_FRESH_SECONDS = 1.0


class TooMuchError(Exception):
    """Something took longer, or more memory, than it may."""


@contextmanager
def bounded(seconds: float, memory: int = 0) -> Iterator[None]:
    """Cut off Python code after some seconds, and on Linux at `memory` further bytes.

    Raises TooMuchError. Only the main thread can be cut off; elsewhere nothing is bounded.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    # Inside another bound, whichever is nearer.
    outer = signal.getitimer(signal.ITIMER_REAL)[0]
    seconds = min(seconds, outer) if outer else seconds

    def over(_number: int, _frame: FrameType | None) -> None:
        raise TooMuchError(f"it took longer than {seconds:.1f} seconds")

    before = signal.signal(signal.SIGALRM, over)
    # Once more if the first is swallowed on its way.
    rest, interval = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SECONDS)
    started = time.monotonic()
    limit = _lower_memory(memory) if memory else None
    try:
        yield
    except MemoryError:
        if limit is None:
            raise
        raise TooMuchError(f"it took more than {memory / 1e9:g} GB of memory") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, limit)
        signal.signal(signal.SIGALRM, before)
        if rest:
            left = max(0.001, rest - (time.monotonic() - started))
            signal.setitimer(signal.ITIMER_REAL, left, interval)


def _lower_memory(memory: int) -> tuple[int, int] | None:
    """Let this process grow by so much and no further; returns the limit to go back to."""
    if sys.platform != "linux":
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _used.now() + memory
    if soft != resource.RLIM_INFINITY and soft <= wanted:
        return None
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    return soft, hard


class _Used:
    """The address space of this process in bytes, read once a second at most."""

    def __init__(self) -> None:
        self._at = float("-inf")
        self._bytes = 0

    def now(self) -> int:
        if time.monotonic() - self._at > _FRESH_SECONDS:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            self._bytes = pages * resource.getpagesize()
            self._at = time.monotonic()
        return self._bytes


_used = _Used()
