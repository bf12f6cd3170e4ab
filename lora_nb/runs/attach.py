"""Follow a run, live or finished, from its first event to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lora_nb.runs.events import Ended, Record
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import Tail

__all__ = ["follow", "is_over", "wait"]

_LOOK_SECONDS = 0.05
# Looking twenty times a second costs a hundredth of a core, so it slows down while nothing comes.
_LONGEST_SECONDS = 0.2
_SLOWER = 1.3
# In between only the log's size is looked at, which costs least (and may be late over a network).
# A worker tells its end itself, unless it is killed.
_THOROUGH_SECONDS = 0.5
_LEAVE_SECONDS = 10.0


def follow(
    run: RunFolder,
    *,
    idle: Callable[[], None] = lambda: None,
    timeout: float | None = None,
) -> Iterator[Record]:
    """Every event of a run as it comes, until the run has ended or its worker is gone.

    `idle` is called between looks, five to twenty times a second. After `timeout` seconds the
    iteration ends although the run goes on.
    """
    tail = Tail(run.events_path)
    seen: tuple[int, int] | None = None
    due = float("-inf")
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _LOOK_SECONDS
    while True:
        thorough = time.monotonic() >= due
        if thorough:
            due = time.monotonic() + _THOROUGH_SECONDS
        # Looked at before reading: what a worker wrote before its end is then never missed.
        alive = run.is_alive if thorough else True
        ended = False
        # Also taken before the reading: what comes meanwhile is looked for again.
        size = _size(run.events_path)
        if thorough or size != seen:
            seen = size
            for record in tail.poll():
                pause = _LOOK_SECONDS
                ended = isinstance(record.event, Ended)
                yield record
        # An end in the middle belongs to a run that was resumed later.
        if ended or not alive or (deadline is not None and time.monotonic() > deadline):
            return
        idle()
        time.sleep(pause)
        pause = min(_SLOWER * pause, _LONGEST_SECONDS)


def _size(path: Path) -> tuple[int, int] | None:
    """How large a file is and when it was written; None if there is none."""
    try:
        told = path.stat()
    except FileNotFoundError:
        return None
    return told.st_size, told.st_mtime_ns


def wait(run: RunFolder, timeout: float | None = None) -> bool:
    """Wait until the worker is gone; False if it still lives after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while run.is_alive:
        if deadline is not None and time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def is_over(run: RunFolder) -> bool:
    """Whether no worker lives; one that has told its end is given some seconds to go."""
    return not run.is_alive or (run.ended is not None and wait(run, _LEAVE_SECONDS))
