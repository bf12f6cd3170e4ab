from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar, cast

import pytest

from lora_nb.runs import attach, lock
from lora_nb.runs.events import Ended, Notice, Record
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import EventLog, Tail

Given = TypeVar("Given")
Result = TypeVar("Result")


class Clock:
    """A clock that goes on by being slept."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(attach, "time", fake)
    return fake


def told(message: str) -> Notice:
    return Notice(level="info", message=message)


def _counted(
    call: Callable[[Given], Result], clock: Clock, times: list[float]
) -> Callable[[Given], Result]:
    def counting(given: Given) -> Result:
        times.append(clock.now)
        return call(given)

    return counting


def test_a_quiet_run_is_looked_at_often_but_seldom_read(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    held = lock.take(run.lock_path)
    assert held is not None
    read: list[float] = []
    poll = Tail.poll
    monkeypatch.setattr(Tail, "poll", _counted(poll, clock, read))
    asked: list[float] = []
    is_held = lock.is_held
    monkeypatch.setattr(lock, "is_held", _counted(is_held, clock, asked))
    looks: list[float] = []
    seen: dict[str, float] = {}
    with EventLog(run.events_path) as log:

        def idle() -> None:
            looks.append(clock.now)
            if len(looks) in (40, 41, 90):
                log.write(told(str(len(looks))))
            if len(looks) == 120:
                os.close(held)

        for record in attach.follow(run, idle=idle):
            assert isinstance(record.event, Notice)
            seen[record.event.message] = clock.now
    assert list(seen) == ["40", "41", "90"]
    for message, at in seen.items():
        assert at - looks[int(message) - 1] < 0.21
    assert clock.now - looks[119] < 1
    assert len(asked) <= 2 * clock.now + 1
    assert len(read) <= len(asked) + 4


def test_an_end_is_seen_at_once(tmp_path: Path, clock: Clock) -> None:
    run = RunFolder(tmp_path)
    held = lock.take(run.lock_path)
    assert held is not None
    with EventLog(run.events_path) as log:

        def end() -> None:
            log.write(Ended(status="completed", message="", step=1, seconds=1, adapter_path=""))

        assert len(list(attach.follow(run, idle=end))) == 1
    assert clock.now < 0.1
    os.close(held)


def test_what_is_written_before_a_crash_is_seen(tmp_path: Path, clock: Clock) -> None:
    run = RunFolder(tmp_path)
    held = lock.take(run.lock_path)
    assert held is not None
    descriptors = [held]
    with EventLog(run.events_path) as log:

        def die() -> None:
            if descriptors:
                log.write(told("last words"))
                os.close(descriptors.pop())

        assert [record.event for record in attach.follow(run, idle=die)] == [told("last words")]
    assert clock.now < 1


def test_a_log_whose_size_seems_to_stay_is_read_all_the_same(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    held = lock.take(run.lock_path)
    assert held is not None
    monkeypatch.setattr(attach, "_size", lambda path: (1, 1))
    with EventLog(run.events_path) as log:

        def write() -> None:
            log.write(told("a"))

        following = cast("Generator[Record]", attach.follow(run, idle=write))
        assert next(following).event == told("a")
    assert clock.now < 1
    following.close()
    os.close(held)


def test_waiting_has_a_limit(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    held = lock.take(run.lock_path)
    assert held is not None
    began = time.monotonic()
    assert list(attach.follow(run, timeout=0.1)) == []
    assert 0.1 <= time.monotonic() - began < 3
    os.close(held)
