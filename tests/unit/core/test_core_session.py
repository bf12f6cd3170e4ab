"""What a worker answers to requests, and how the end of its work is told."""

from __future__ import annotations

import errno
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_nb.errors import LoraError
from lora_nb.runs import control, lock
from lora_nb.runs.control import Inbox, RequestName
from lora_nb.runs.events import ControlAnswered, Ended, Event, Notice
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import EventLog
from lora_nb.worker import output
from lora_nb.worker import session as sessions
from lora_nb.worker.session import Aborted, Session, StoppedEarlyError
from tests.unit.runs.kit import ended, made, started


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """What signals mean to the tests' own process, when one has worked in it."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def session(runs_root: Path) -> Iterator[Session]:
    run = made(runs_root)
    held = lock.take(run.lock_path)
    assert held is not None
    with EventLog(run.events_path) as log:
        log.write(started())
        yield Session(run, log, Inbox(run.control_path))
    os.close(held)


def ask(session: Session, *names: RequestName) -> None:
    for name in names:
        control.send(session.run, name)


def answers(run: RunFolder) -> list[tuple[str, str]]:
    events = [record.event for record in run.records()]
    return [(e.request, e.answer) for e in events if isinstance(e, ControlAnswered)]


def test_requests_are_answered_between_two_steps(session: Session) -> None:
    session.trains = True
    assert session.stop_wanted(1) is False
    ask(session, "resume", "evaluate")
    assert session.stop_wanted(2) is False
    assert [wish.name for wish in session.wishes()] == ["evaluate"]
    assert session.wishes() == []
    ask(session, "pause", "pause", "evaluate", "resume")
    assert session.stop_wanted(3) is False
    assert [wish.name for wish in session.wishes()] == ["evaluate"]
    ask(session, "stop")
    assert session.stop_wanted(4) is True
    assert session.stop_wanted(5) is True
    assert answers(session.run) == [
        ("resume", "not paused"),
        ("evaluate", "validating now"),
        ("pause", "paused"),
        ("pause", "paused"),
        ("evaluate", "validating now"),
        ("resume", "resumed"),
        ("stop", "stopping"),
    ]


def test_a_pause_lets_wishes_through(session: Session) -> None:
    session.trains = True
    ask(session, "pause")
    control.send(session.run, "sample", prompt="Hi")
    assert session.stop_wanted(3, pause="wishes") is False
    assert session.paused
    assert [wish.values for wish in session.wishes()] == [{"prompt": "Hi"}]
    ask(session, "resume")
    assert session.stop_wanted(3, pause="wishes") is False
    assert not session.paused


@pytest.mark.parametrize(
    ("name", "values", "answer"),
    [
        ("learning_rate", {"value": 2e-5}, "2e-05 from step 8 on"),
        ("learning_rate", {"value": 0}, "refused: 0 is no learning rate (a number above 0)"),
        ("learning_rate", {"value": True}, "refused: True is no learning rate (a number above 0)"),
        ("learning_rate", {"value": "x"}, "refused: 'x' is no learning rate (a number above 0)"),
        ("learning_rate", {}, "refused: None is no learning rate (a number above 0)"),
        ("sample", {"prompt": "Hi", "max_tokens": 3}, "generating"),
        ("sample", {"prompt": " "}, "refused: the prompt is empty"),
        ("sample", {"prompt": 3}, "refused: the prompt is empty"),
        (
            "sample",
            {"prompt": "Hi", "max_tokens": 0},
            "refused: max_tokens is 0, not a whole number above 0",
        ),
    ],
)
def test_wishes_are_promised_or_refused(
    session: Session, name: RequestName, values: dict[str, Any], answer: str
) -> None:
    session.trains = True
    control.send(session.run, name, **values)
    session.stop_wanted(7)
    assert answers(session.run) == [(name, answer)]
    assert len(session.wishes()) == (0 if answer.startswith("refused") else 1)


def test_a_run_that_trains_nothing_can_not_be_steered(session: Session) -> None:
    ask(session, "evaluate")
    session.stop_wanted(1)
    assert answers(session.run) == [("evaluate", "refused: this run trains nothing")]
    assert session.wishes() == []


def test_a_stop_ends_a_pause(session: Session) -> None:
    ask(session, "pause", "stop")
    assert session.stop_wanted(1) is True
    with pytest.raises(StoppedEarlyError):
        session.checkpoint_if_stopped()


def test_a_pause_has_a_limit(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_PAUSE_LIMIT_SECONDS", 0.2)
    ask(session, "pause")
    assert session.stop_wanted(1) is True
    notices = [r.event for r in session.run.records() if isinstance(r.event, Notice)]
    assert notices == [
        Notice(
            level="warning",
            message="The run was paused for an hour, so it is stopped and saved.",
        )
    ]


def raising(problem: BaseException) -> Any:
    def work(session: Session) -> None:
        raise problem

    return work


@pytest.mark.parametrize(
    ("problem", "status", "message"),
    [
        (LoraError("Say this."), "failed", "Say this."),
        (StoppedEarlyError(), "stopped", "Stopped before there was anything to save."),
        (Aborted(), "aborted", "Ended at once. Checkpoints before that are kept."),
        (MemoryError(), "failed", "Out of memory. Try a smaller batch_size, "),
        (
            RuntimeError("[metal::malloc] Attempting to allocate 9 bytes of memory"),
            "failed",
            "Out of memory. Try a smaller batch_size, ",
        ),
        (
            RuntimeError("cudaMallocAsync(&data, size, stream) failed: out of memory"),
            "failed",
            "Out of memory. Try a smaller batch_size, ",
        ),
        (
            OSError(errno.ENOMEM, "Cannot allocate memory"),
            "failed",
            "Out of memory. Try a smaller batch_size, ",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "failed",
            "The disk is full. Free some disk space. `%lora_train --resume ",
        ),
        (KeyError("x"), "failed", "Unexpected KeyError: 'x' (details: "),
    ],
)
def test_every_end_is_told(
    problem: BaseException,
    status: str,
    message: str,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "_do", raising(problem))
    end = sessions._ended(session, 0.0)
    assert end.status == status
    assert end.message.startswith(message)
    assert end.seconds > 0


def test_a_run_is_worked_on_once(runs_root: Path) -> None:
    run = made(runs_root, started(), ended("completed"))
    with pytest.raises(LoraError, match=r"has been worked on before \(status: completed\)\.$"):
        sessions.work(run)


def worked(run: RunFolder) -> tuple[int, list[Event]]:
    """What a worker in this process returns, and what it tells."""
    status = sessions.work(run)
    events = [record.event for record in run.records()]
    assert [record.seq for record in run.records()] == list(range(1, len(events) + 1))
    assert not run.reserve_path.exists()
    return status, events


def test_on_a_full_disk_there_is_room_for_the_end(
    runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(runs_root)
    write = os.write

    def into_the_rest(descriptor: int, line: bytes) -> int:
        if run.reserve_path.exists():
            raise OSError(errno.ENOSPC, "No space left on device", str(run.events_path))
        return write(descriptor, line)

    monkeypatch.setattr(os, "write", into_the_rest)
    status, events = worked(run)
    assert (status, run.status, len(events)) == (1, "failed", 1)
    assert isinstance(events[0], Ended)
    assert events[0].message == (
        f"The disk is full ({run.events_path} can't be written). Free some disk space. "
        f"`%lora_train --resume {run.name}` goes on from the last checkpoint."
    )


def test_an_abort_in_the_midst_of_a_line_leaves_no_gap_and_can_not_come_twice(
    runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(runs_root)
    write = os.write

    def and_signal(descriptor: int, line: bytes) -> int:
        written = write(descriptor, line)
        signal.raise_signal(signal.SIGTERM)
        return written

    monkeypatch.setattr(os, "write", and_signal)
    status, events = worked(run)
    assert (status, run.status) == (130, "aborted")
    assert [type(event).__name__ for event in events] == ["Started", "Ended"]


def test_a_terminal_that_is_closed_ends_no_run(
    runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hung_up(_session: Session) -> Ended:
        signal.raise_signal(signal.SIGHUP)
        return ended("completed")

    monkeypatch.setattr(sessions, "_do", hung_up)
    run = made(runs_root)
    status, events = worked(run)
    assert (status, run.status, len(events)) == (0, "completed", 1)


def test_what_is_printed_without_room_is_lost_and_nothing_else() -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    stream = output._Clean(Full())
    print("words", file=stream, flush=True)
    assert stream.write("words") == 5
