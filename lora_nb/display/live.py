"""Watching a run in the foreground of a cell or terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from lora_nb.display.interrupts import Interrupts
from lora_nb.display.progress import line_of
from lora_nb.display.screen import Frame, Screen, screen_here
from lora_nb.display.state import RunState
from lora_nb.runs.events import Record

__all__ = ["ABORTING", "STOPPING", "Follow", "LiveView", "watch"]

STOPPING = "stopping after this step, saving…; interrupt again to abort"
ABORTING = "aborting…"
_SHARE = 10
_LONGEST = 2.0


class Follow(Protocol):
    """Records of a run until it ends; `idle` is called at least every 0.2 s while it waits."""

    def __call__(self, *, idle: Callable[[], None]) -> Iterator[Record]: ...


class LiveView:
    """A run as it goes on: feed it records, tick it while there are none, close it at the end.

    Frames come only when there is something new, not faster than the screen's interval, and take
    about a tenth of the time at most; a screen without an interval gets every one. With
    `notes_warnings`, the latest warning is the standing note.
    """

    def __init__(
        self,
        run_path: str,
        *,
        quiet: bool = False,
        screen: Screen | None = None,
        notes_warnings: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = RunState()
        self._path = run_path
        self._screen = screen or screen_here(Path(run_path).name, quiet=quiet)
        self._notes_warnings = notes_warnings
        self._clock = clock
        self._note = ""
        self._warned = 0
        self._fresh = True
        self._due = float("-inf")

    def feed(self, record: Record) -> None:
        """Take in a record and show it if it is time to."""
        self.state.feed(record.event)
        self._fresh = True
        for message in self.state.warnings[self._warned :]:
            self._screen.warn(message)
        self._warned = len(self.state.warnings)
        self.tick()

    def tick(self) -> None:
        """Show what is new if it is time to."""
        if self._fresh and self._clock() >= self._due:
            self._draw(self.state.status)

    def say(self, note: str) -> None:
        """Show a note beside the progress line, at once, and keep it."""
        self._note = note
        self._draw(self.state.status)

    def close(self, status: str) -> None:
        """Show the last frame, which stays. `status` is the run's: a crash leaves no event."""
        self._note = ""
        self._draw(status, last=True)

    def _draw(self, status: str, *, last: bool = False) -> None:
        began = self._clock()
        line = line_of(self.state, status, run_path=self._path)
        self._screen.draw(Frame(self.state, line, self._note or self._warning(), last))
        self._fresh = False
        took = self._clock() - began
        interval = self._screen.interval
        # The first frame may take long to import what it needs; that is no reason to fall silent.
        self._due = began + (max(interval, min(_SHARE * took, _LONGEST)) if interval else 0.0)

    def _warning(self) -> str:
        told = self.state.warnings
        return f"warning: {told[-1]}" if told and self._notes_warnings else ""


def watch(
    run_path: str,
    records: Iterator[Record] | Follow,
    *,
    on_interrupt: Callable[[int], None],
    status: Callable[[], str],
    quiet: bool = False,
    screen: Screen | None = None,
) -> list[Record]:
    """Show a run until its records end, and return them.

    Interrupts do not stop the watching (unless `on_interrupt` raises): the first calls
    `on_interrupt(1)`, the second `on_interrupt(2)`, and so on. They are answered between records
    and, given a `Follow` (such as `partial(attach.follow, run)`), also while it waits for one.
    `status` is asked once, at the end.
    """
    view = LiveView(run_path, quiet=quiet, screen=screen)

    def respond(count: int) -> None:
        if count > 1:
            view.say(ABORTING)
        on_interrupt(count)
        if count == 1:
            view.say(STOPPING)

    interrupts = Interrupts(respond)

    def look() -> None:
        interrupts.answer()
        view.tick()

    seen: list[Record] = []
    with interrupts.caught():
        try:
            look()
            for record in records(idle=look) if callable(records) else records:
                seen.append(record)
                view.feed(record)
                interrupts.answer()
        finally:
            view.close(status())
    return seen
