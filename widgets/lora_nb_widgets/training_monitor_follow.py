"""A run followed in a daemon thread, which shows what is new until the run ends or it is closed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lora_nb.display import figure
from lora_nb.display.live import LiveView
from lora_nb.display.live_figure import LiveFigure
from lora_nb.display.picture import png
from lora_nb.display.progress import line_of
from lora_nb.display.screen import Frame
from lora_nb.display.state import RunState
from lora_nb.errors import LoraError
from lora_nb.runs.attach import follow
from lora_nb.runs.events import Record
from lora_nb.runs.folder import RunFolder
from lora_nb_widgets.training_monitor_events import MOST, words_of

__all__ = ["HEIGHT", "LIVE", "WIDTH", "Follower", "Look"]

LIVE = ("starting", "running", "paused")
"""The states of a run whose worker can be asked for something."""
WIDTH = 9.0
HEIGHT = 2.9
_FINE = 2
# Words are cheap: answers to what somebody has just clicked don't wait for the next picture.
_WORDS_SECONDS = 0.5


@dataclass(frozen=True)
class Look:
    """What is to be seen of a run.

    `picture` is the PNG of its curve, `size` in pixels, with `alt` as its words; empty without one.
    """

    state: RunState
    status: str
    line: str
    picture: bytes
    size: tuple[int, int]
    alt: str
    last: bool


class _ClosedError(Exception):
    """Nobody looks any more."""


class Follower:
    """Follows a run: `show` gets what it looks like, `tell` its newest events.

    Both are called twice a second at most. A new picture comes once a second at most, and more
    slowly the longer the run goes on, as `LiveView` has it. Neither is called any more after
    `close`, nor once `unwanted` holds.
    """

    interval = 1.0

    def __init__(
        self,
        run: RunFolder,
        show: Callable[[Look], None],
        tell: Callable[[Sequence[Record]], None],
        unwanted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.run = run
        self._show = show
        self._tell = tell
        self._unwanted = unwanted
        self._closed = threading.Event()
        self._lock = threading.RLock()
        self._records: deque[Record] = deque(maxlen=MOST)
        self._picture = b""
        self._live = LiveFigure(run.name, width=WIDTH, height=HEIGHT)
        self._fresh = False
        self._due = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether it has been told to end."""
        return self._closed.is_set() or self._unwanted()

    def close(self) -> None:
        """End it. What it shows stays as it is."""
        with self._lock:
            self._closed.set()

    def follow(self) -> None:
        """Follow the run to its end: the work of a thread. Raises LoraError if it gets lost."""
        view = LiveView(str(self.run.path), screen=self)
        try:
            for record in self._seen(view):
                view.feed(record)
            if not self.is_closed:
                view.close(self.run.status)
        except _ClosedError:
            return
        except OSError as problem:
            raise LoraError(f"{self.run.name} is no longer watched: {problem}") from None

    def _seen(self, view: LiveView) -> Iterator[Record]:
        def idle() -> None:
            self._open_or_raise()
            view.tick()
            if self._fresh and time.monotonic() >= self._due:
                line = line_of(view.state, view.state.status, run_path=str(self.run.path))
                self._put(view.state, _status(view.state), line)

        idle()
        for record in follow(self.run, idle=idle):
            self._open_or_raise()
            if words_of(record.event) is not None:
                self._records.append(record)
            self._fresh = True
            yield record

    def _open_or_raise(self) -> None:
        if self.is_closed:
            raise _ClosedError

    def _put(self, state: RunState, status: str, line: str, *, last: bool = False) -> None:
        self._fresh = False
        self._due = time.monotonic() + _WORDS_SECONDS
        size = (round(WIDTH * figure.DPI), round(HEIGHT * figure.DPI))
        look = Look(state, status, line, self._picture, size, figure.alt_of(state), last)
        with self._lock:
            if not self.is_closed:
                self._show(look)
                self._tell(list(self._records))

    # The screen that LiveView draws on

    def draw(self, frame: Frame) -> None:
        """Show a frame, the last one twice as fine for screens that can show it."""
        status = _status(frame.state) if not frame.last else self.run.status
        if frame.state.has_curve or (self.run.verb == "train" and not frame.last):
            self._picture = self._whole(frame.state) if frame.last else self._live.png(frame.state)
        elif frame.last:
            # The empty axes have kept a place for a curve that will not come.
            self._picture = b""
        self._put(frame.state, status, frame.note or frame.line, last=frame.last)

    def _whole(self, state: RunState) -> bytes:
        drawn = figure.draw(state, title=self.run.name, width=WIDTH, height=HEIGHT)
        return png(drawn, figure.DPI * _FINE)

    def warn(self, message: str) -> None:
        """Warnings are among the events."""


def _status(state: RunState) -> str:
    return "starting" if state.started is None else state.status
