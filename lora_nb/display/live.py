"""Watching a run in the foreground of a cell or terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from lora_nb.display.interrupts import Interrupts
from lora_nb.display.listing import listing_text
from lora_nb.display.progress import line_of
from lora_nb.display.screen import Frame, Screen, screen_here
from lora_nb.display.state import RunState
from lora_nb.runs.events import Record
from lora_nb.runs.export_events import UploadListed

__all__ = ["ABORTING", "STOPPING", "Follow", "LiveView", "watch"]

STOPPING = "stopping after this step, saving…; interrupt again to abort"
ABORTING = "aborting…"
# Drawing may take this share of a run's time once this many seconds of it are spent. A frame takes
# less than a hundredth of a second, the first ones some hundredths: the first half minute is as
# brisk as the screen allows, and then a frame comes every two or three seconds.
_SHARE = 0.003
_FREE_SECONDS = 0.3
_LONGEST = 5.0


class Follow(Protocol):
    """Records of a run until it ends; `idle` is called at least every 0.2 s while it waits."""

    def __call__(self, *, idle: Callable[[], None]) -> Iterator[Record]: ...


class LiveView:
    """A run as it goes on: feed it records, tick it while there are none, close it at the end.

    Frames come only when there is something new and not faster than the screen's interval. As the
    run goes on they come slower, at least every five seconds, so that drawing them takes well
    below a hundredth of the time; a screen without an interval gets every one. With
    `notes_warnings`, the latest warning is the standing note. `busy` tells the seconds that this
    thread has computed.
    """

    def __init__(
        self,
        run_path: str,
        *,
        quiet: bool = False,
        screen: Screen | None = None,
        notes_warnings: bool = False,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[], float] = time.thread_time,
    ) -> None:
        self.state = RunState()
        self._path = run_path
        self._screen = screen or screen_here(Path(run_path).name, quiet=quiet)
        self._notes_warnings = notes_warnings
        self._clock = clock
        # On a machine at work a frame takes longer than it costs.
        self._busy = busy
        self._note = ""
        self._warned = 0
        self._fresh = True
        self._due = float("-inf")
        self._began: float | None = None
        self._spent = 0.0

    def feed(self, record: Record) -> None:
        """Take in a record and show it if it is time to."""
        self.state.feed(record.event)
        self._fresh = True
        for message in self.state.warnings[self._warned :]:
            self._screen.warn(message)
        self._warned = len(self.state.warnings)
        if isinstance(record.event, UploadListed):
            self._draw(self.state.status, lines=listing_text(record.event))
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

    def _draw(self, status: str, *, last: bool = False, lines: str = "") -> None:
        began, busy = self._clock(), self._busy()
        line = line_of(self.state, status, run_path=self._path)
        self._screen.draw(Frame(self.state, line, self._note or self._warning(), last, lines))
        self._fresh = False
        self._due = self._next_after(began, self._busy() - busy)

    def _next_after(self, began: float, cost: float) -> float:
        """When the next frame is due, after one that began at a time and cost so many seconds."""
        interval = self._screen.interval
        if not interval:
            return began
        if self._began is None:
            # The first frame imports what it needs, which is no measure of the others.
            self._began, cost = began, 0.0
        self._spent += cost
        paid = self._began + (self._spent - _FREE_SECONDS) / _SHARE
        return max(began + interval, min(paid, began + _LONGEST))

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
