"""Requests to a worker, and following a run."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lora_nb.errors import LoraError
from lora_nb.runs import attach, control, lock
from lora_nb.runs.control import Inbox, Request
from lora_nb.runs.log import EventLog
from tests.tiny import until
from tests.unit.runs.kit import ended, loss, made, started


def test_requests_arrive_once_in_their_order(runs_root: Path) -> None:
    run = made(runs_root, started())
    held = lock.take(run.lock_path)
    assert held is not None
    control.send(run, "pause")
    control.send(run, "evaluate", why="curious")
    control.send(run, "resume")
    inbox = Inbox(run.control_path)

    assert list(inbox.take()) == [
        Request("pause"),
        Request("evaluate", {"why": "curious"}),
        Request("resume"),
    ]
    assert list(inbox.take()) == []
    os.close(held)


def test_what_is_no_request_is_removed(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "control")
    assert list(inbox.take()) == []
    (tmp_path / "control").mkdir()
    for number, text in enumerate(("", "[]", "{}", '{"request": "explode"}', "{", "\xff")):
        (tmp_path / "control" / f"{number}.json").write_text(text, encoding="latin-1")
    (tmp_path / "control" / "9.part").write_text('{"request": "stop"}')

    assert list(inbox.take()) == []
    assert [path.name for path in (tmp_path / "control").iterdir()] == ["9.part"]


def test_a_run_that_is_over_takes_no_requests(runs_root: Path) -> None:
    run = made(runs_root, started(), ended("completed"))
    with pytest.raises(LoraError, match=r"is completed: there is no worker to stop\.$"):
        control.send(run, "stop")
    assert not run.control_path.exists()


def test_following_a_finished_run_gives_everything_at_once(runs_root: Path) -> None:
    run = made(runs_root, started(), loss(1), ended("completed"))
    assert [r.seq for r in attach.follow(run)] == [1, 2, 3]


def test_following_a_crashed_run_ends(runs_root: Path) -> None:
    run = made(runs_root, started(), loss(1))
    assert [r.seq for r in attach.follow(run)] == [1, 2]
    assert run.status == "crashed"


def test_following_a_live_run_waits_for_its_end(runs_root: Path) -> None:
    run = made(runs_root)
    held = lock.take(run.lock_path)
    assert held is not None
    ticks: list[int] = []
    seen: list[int] = []

    def follow() -> None:
        seen.extend(r.seq for r in attach.follow(run, idle=lambda: ticks.append(1)))

    follower = threading.Thread(target=follow)
    follower.start()
    with EventLog(run.events_path) as log:
        log.write(started())
        until(lambda: seen == [1] or len(ticks) > 2, "a follower that waits", 10)
        assert follower.is_alive()
        log.write(loss(1))
        log.write(ended("stopped"))
    follower.join(10)

    # The end ends it, although the lock is still held.
    assert not follower.is_alive()
    assert seen == [1, 2, 3]
    os.close(held)


def test_following_can_be_limited(runs_root: Path) -> None:
    run = made(runs_root, started())
    held = lock.take(run.lock_path)
    assert held is not None
    assert [r.seq for r in attach.follow(run, timeout=0.1)] == [1]
    assert attach.wait(run, timeout=0.1) is False
    os.close(held)
    assert attach.wait(run, timeout=0.1) is True
