"""A limit for foreign code that Python can't interrupt, such as a tokenizer's expressions."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

__all__ = ["set_farewell", "watched"]

_LOOK_SECONDS = 0.1
Farewell = Callable[[str], None]


def _print(message: str) -> None:
    sys.stderr.write(f"lora_nb: {message}\n")
    sys.stderr.flush()


_farewell: Farewell = _print


def set_farewell(farewell: Farewell) -> None:
    """What tells of the end when this process has to be ended; by default it is printed."""
    global _farewell  # noqa: PLW0603 (one process, one end)
    _farewell = farewell


@contextmanager
def watched(what: str, seconds: float, memory: int) -> Iterator[None]:
    """End this process if what is done inside hangs, or takes so many further bytes."""
    done = threading.Event()
    process = psutil.Process()
    most = process.memory_info().rss + memory
    deadline = time.monotonic() + seconds

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            if time.monotonic() > deadline:
                _end(f"model: {what} does not come to an end ({seconds:g} seconds).")
            if process.memory_info().rss > most:
                _end(f"model: {what} takes more than {memory / 1e9:g} GB for a few words.")

    thread = threading.Thread(target=look, daemon=True, name="lora_nb-watchdog")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _end(message: str) -> None:
    try:
        _farewell(message)
    finally:
        os._exit(1)
