"""The lock that says whether a worker lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lora_nb.runs import lock
from tests.tiny import ROOT, until

_CHILD = """
import os, sys, time
from pathlib import Path
from lora_nb.runs import lock
held = lock.inherit(Path(sys.argv[1]))
print(held is not None and not os.get_inheritable(held), lock.LOCK_FD in os.environ, flush=True)
time.sleep(600)
"""


def test_held_by_one_and_free_when_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not lock.is_held(path)
    held = lock.take(path)
    assert held is not None
    assert lock.is_held(path)
    assert lock.take(path) is None
    os.close(held)
    assert not lock.is_held(path)
    again = lock.take(path)
    assert again is not None
    os.close(again)


def test_looking_takes_nothing_away(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    assert [lock.is_held(path) for _ in range(3)] == [False, False, False]


def test_handed_on_to_a_child_it_is_held_until_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = lock.take(path)
    assert held is not None
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(path)],
        env={**os.environ, lock.LOCK_FD: str(held), "PYTHONPATH": str(ROOT)},
        pass_fds=(held,),
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(held)
    assert child.stdout is not None
    assert lock.is_held(path)
    assert child.stdout.readline().split() == ["True", "False"]
    assert lock.is_held(path)

    child.kill()
    until(lambda: not lock.is_held(path), "the lock of a killed process", 10)
    child.wait()
    child.stdout.close()


@pytest.mark.parametrize("value", ["", "x", "999"])
def test_what_is_no_handed_on_lock_is_none(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    path.touch()
    monkeypatch.setenv(lock.LOCK_FD, value)
    assert lock.inherit(path) is None
    assert lock.LOCK_FD not in os.environ


def test_the_lock_of_another_run_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = lock.take(tmp_path / "other")
    assert other is not None
    (tmp_path / "lock").touch()
    monkeypatch.setenv(lock.LOCK_FD, str(other))
    assert lock.inherit(tmp_path / "lock") is None
    os.close(other)
