"""Interrupts that are counted first and answered when it suits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Interrupts"]


class Interrupts:
    """Counts SIGINTs while `caught`, and hands each one's number to `respond` in `answer`."""

    def __init__(self, respond: Callable[[int], None]) -> None:
        self._respond = respond
        self._hits = 0
        self._answered = 0

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take SIGINT over for the while; outside the main thread, leave signals alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._hit)
        try:
            yield
        finally:
            # None stands for a handler that was not set from Python and cannot be put back.
            signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)

    def answer(self) -> None:
        """Answer the interrupts that came since the last call."""
        while self._answered < self._hits:
            self._answered += 1
            self._respond(self._answered)

    def _hit(self, *_: object) -> None:
        self._hits += 1
