from __future__ import annotations

import base64
import io
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from matplotlib.figure import Figure

from lora_nb.display import LiveView, figure, monitor, watch
from lora_nb.display.live import ABORTING, STOPPING
from lora_nb.display.live_figure import LiveFigure
from lora_nb.display.screen import Frame, LineScreen, TtyScreen
from lora_nb.display.state import RunState
from lora_nb.errors import LoraError
from lora_nb.runs.events import Event, Notice, Progress, Record
from tests.unit.display.made import FakeKernel, finished, losses, numbered, started, train, valid

PATH = "runs/20260101-120000-demo"


class Remembers:
    """A screen that keeps what it is given."""

    interval = 0.5

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.warnings: list[str] = []

    def draw(self, frame: Frame) -> None:
        self.frames.append(frame)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def never(count: int) -> None:
    raise AssertionError(f"interrupted {count} times")


def completed() -> str:
    return "completed"


def test_a_notebook_has_one_output_with_constant_text(kernel: FakeKernel) -> None:
    records = finished()
    assert watch(PATH, iter(records), on_interrupt=never, status=completed) == records
    assert len(kernel.shown) == 1
    assert kernel.updates
    assert {bundle["text/plain"] for bundle in kernel.shown + kernel.updates} == {"<lora_nb run>"}
    assert set(kernel.last) == {"text/plain", "image/png"}
    assert base64.b64decode(kernel.last["image/png"]).startswith(b"\x89PNG")


def test_the_picture_has_a_size_and_an_alternative_text(kernel: FakeKernel) -> None:
    watch(PATH, iter(finished()), on_interrupt=never, status=completed)
    about = kernel.metadata[-1]["image/png"]
    assert (about["width"], about["height"]) == (512, 256)
    assert "completed: 300 steps in 0:41" in str(about["alt"])
    assert "best validation loss 0.031 at step 250" in str(about["alt"])


def test_a_run_without_a_curve_is_a_small_card(kernel: FakeKernel) -> None:
    halfway = Progress(stage="testing", done=3, total=25)
    watch(PATH, iter(numbered([started("test"), halfway])), on_interrupt=never, status=completed)
    assert int(str(kernel.metadata[-1]["image/png"]["height"])) < 100


def test_quiet_shows_nothing_but_warnings(
    kernel: FakeKernel, capsys: pytest.CaptureFixture[str]
) -> None:
    records = numbered([Notice(level="warning", message="3 rows were cut"), *losses(20, 10)])
    assert watch(PATH, iter(records), on_interrupt=never, status=completed, quiet=True) == records
    assert not kernel.shown
    assert capsys.readouterr() == ("", "warning: 3 rows were cut\n")


def test_frames_keep_their_distance_and_need_news() -> None:
    now = [0.0]
    screen = Remembers()
    view = LiveView(PATH, screen=screen, clock=lambda: now[0])
    for place, record in enumerate(numbered(losses(100))):
        now[0] = place * 0.05
        view.feed(record)
    assert len(screen.frames) == 10
    now[0] = 5.5
    view.tick()
    view.tick()
    now[0] = 60
    view.tick()
    assert len(screen.frames) == 11
    assert "step 100/300" in screen.frames[-1].line
    view.close("stopped")
    assert screen.frames[-1].last


@pytest.mark.parametrize(
    ("took", "most"), [(0.005, 0.0045), (0.04, 0.012), (0.001, 0.001), (0.5, 0.12)]
)
def test_frames_come_slower_as_the_run_goes_on(took: float, most: float) -> None:
    now = [0.0]
    times: list[float] = []

    class Slow(Remembers):
        interval = 1.0

        def draw(self, frame: Frame) -> None:
            times.append(now[0])
            now[0] += took

    view = LiveView(PATH, screen=Slow(), clock=lambda: now[0], busy=lambda: now[0])
    record = numbered(losses(1))[0]
    for _ in range(3000):
        now[0] += 0.1
        view.feed(record)
    gaps = [later - before for before, later in itertools.pairwise(times)]
    assert len(times) * took < most * now[0]
    assert max(gaps) < 5.7
    assert took > 0.1 or gaps[:7] == pytest.approx([1.0] * 7, abs=0.15)
    assert took > 0.005 or max(gaps) < 2.2


def test_warnings_are_shown_once_each() -> None:
    screen = Remembers()
    view = LiveView(PATH, screen=screen)
    for message in ("a", "b", "a"):
        view.feed(numbered([Notice(level="warning", message=message)])[0])
    view.feed(numbered([Notice(level="info", message="c")])[0])
    assert screen.warnings == ["a", "b"]


def test_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    reading = [Progress(stage="reading data", done=done, total=9) for done in range(9)]
    checking = [Progress(stage="validating", done=done, total=9) for done in range(9)]
    events: list[Event] = [
        started(),
        *reading,
        train(10, 0.5),
        *checking,
        valid(10, 0.4),
        train(20, 0.3),
    ]
    watch(PATH, iter(numbered(events)), on_interrupt=never, status=lambda: "crashed")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["starting the worker…", "loading model…", "reading data…"]
    assert [line[:11] for line in lines[3:6]] == ["step 10/300", "step 10/300", "step 20/300"]
    assert lines[6].startswith("crashed at step 20/300")
    assert PATH + "/worker.log" in lines[6]
    assert len(lines) == 7
    assert "\x1b" not in "".join(lines)


def test_a_terminal_line_is_rewritten_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = io.StringIO()
    view = LiveView(PATH, screen=TtyScreen(out))
    view.feed(numbered([train(10, 0.5)])[0])
    view.close("stopped")
    first, last = out.getvalue().split("\r\x1b[K")[1:]
    assert len(first) == 39
    assert first.endswith("…")
    assert last.endswith("\n")


def test_warnings_in_a_terminal_cannot_steer_it(capsys: pytest.CaptureFixture[str]) -> None:
    LineScreen().warn("a\x1b[2J\nb")
    assert capsys.readouterr().err == "warning: a\N{REPLACEMENT CHARACTER}[2J b\n"


def interrupting(times: int) -> Callable[..., Iterator[Record]]:
    """A run that goes on for some looks and is interrupted while nothing comes."""

    def follow(*, idle: Callable[[], None]) -> Iterator[Record]:
        yield from numbered(losses(20, 10))
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            idle()
        yield numbered([train(30, 0.1)])[0]

    return follow


def test_interrupts_are_answered_while_waiting_and_the_watching_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    seen = watch(PATH, interrupting(3), on_interrupt=counts.append, status=completed)
    assert counts == [1, 2, 3]
    assert len(seen) == 3
    assert signal.getsignal(signal.SIGINT) is before
    out = capsys.readouterr().out
    assert f"{STOPPING}\n{ABORTING}\n" in out


def test_an_interrupt_is_noted_in_the_picture(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[list[str]] = []
    full, live = figure.draw, LiveFigure.png

    def draw(state: RunState, *, title: str, lines: list[str]) -> Figure:
        notes.append(lines)
        return full(state, title=title, lines=lines)

    def png(self: LiveFigure, state: RunState, lines: Sequence[str] = ()) -> bytes:
        notes.append(list(lines))
        return live(self, state, lines)

    monkeypatch.setattr(figure, "draw", draw)
    monkeypatch.setattr(LiveFigure, "png", png)
    watch(PATH, interrupting(1), on_interrupt=lambda _: None, status=completed)
    assert next(lines[1:] for lines in notes if lines[1:]) == [STOPPING]
    assert len(notes[-1]) == 1


def test_interrupts_between_plain_records() -> None:
    counts: list[int] = []

    def records() -> Iterator[Record]:
        for record in numbered(losses(30, 10)):
            os.kill(os.getpid(), signal.SIGINT)
            yield record

    watch(PATH, records(), on_interrupt=counts.append, status=completed, quiet=True)
    assert counts == [1, 2, 3]


def test_an_error_ends_the_watching_in_order(kernel: FakeKernel) -> None:
    def broken(*, idle: Callable[[], None]) -> Iterator[Record]:
        yield from numbered(losses(20, 10))
        raise LoraError("gone")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(LoraError, match="gone"):
        watch(PATH, broken, on_interrupt=never, status=lambda: "crashed")
    assert signal.getsignal(signal.SIGINT) is before
    assert "crashed at step 20/300" in str(kernel.metadata[-1]["image/png"]["alt"])


def test_other_threads_leave_signals_alone() -> None:
    handlers: list[object] = []

    def records() -> Iterator[Record]:
        handlers.append(signal.getsignal(signal.SIGINT))
        yield from finished()

    def work() -> None:
        watch(PATH, records(), on_interrupt=never, status=completed, quiet=True)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before]


def test_monitor_draws_from_a_daemon_thread(kernel: FakeKernel) -> None:
    go_on = threading.Event()

    def follow(*, idle: Callable[[], None]) -> Iterator[Record]:
        go_on.wait(5)
        yield from numbered([Notice(level="warning", message="3 rows were cut")])
        idle()
        yield from finished()

    began = time.monotonic()
    thread = monitor(PATH, follow, completed)
    assert time.monotonic() - began < 2
    assert len(kernel.shown) == 1
    assert thread.daemon
    go_on.set()
    thread.join(10)
    assert not thread.is_alive()
    assert len(kernel.shown) == 1
    assert kernel.last["text/plain"] == "<lora_nb run>"
    assert "completed" in str(kernel.metadata[-1]["image/png"]["alt"])


def test_monitor_keeps_warnings_in_the_picture_and_prints_nothing(
    kernel: FakeKernel, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Remembers()
    records = numbered([Notice(level="warning", message="3 rows were cut"), *losses(20)])
    monitor(PATH, lambda *, idle: iter(records), completed, screen=screen).join(5)
    assert screen.frames[-1].note == "warning: 3 rows were cut"
    monitor(PATH, lambda *, idle: iter(records), completed).join(5)
    assert capsys.readouterr() == ("", "")


def test_monitor_says_when_the_run_cannot_be_read() -> None:
    def follow(*, idle: Callable[[], None]) -> Iterator[Record]:
        yield from numbered(losses(10))
        raise FileNotFoundError("runs/a/events.jsonl")

    screen = Remembers()
    monitor(PATH, follow, completed, screen=screen).join(5)
    assert screen.frames[-1].note == "no longer watched: runs/a/events.jsonl"


def test_monitor_is_silent_outside_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    monitor(PATH, lambda *, idle: iter(finished()), completed).join(5)
    assert capsys.readouterr() == ("", "")


def test_a_slow_first_frame_does_not_silence_the_view() -> None:
    now = [0.0]

    class Importing(Remembers):
        def draw(self, frame: Frame) -> None:
            super().draw(frame)
            now[0] += 5.0 if len(self.frames) == 1 else 0.0

    screen = Importing()
    view = LiveView(PATH, screen=screen, clock=lambda: now[0])
    view.tick()
    view.feed(numbered(losses(10))[0])
    assert len(screen.frames) == 2
