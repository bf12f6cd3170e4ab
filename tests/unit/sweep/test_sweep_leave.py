"""A worker that has told its end and is not quite gone is waited for."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import lora_nb
from lora_nb.errors import LoraError
from lora_nb.runs import lock
from lora_nb.sweeping.resuming import find_sweep
from tests.unit.display.made import ended as over
from tests.unit.display.made import started as began
from tests.unit.sweep.kit import made_sweep


@pytest.fixture
def leaving(runs_root: Path) -> str:
    """A sweep whose worker goes soon after its last word."""
    sweep = made_sweep(runs_root, [began(), over()], events=[began("sweep"), over()])
    held = lock.take(sweep.lock_path)
    assert held is not None
    threading.Timer(0.3, os.close, [held]).start()
    return sweep.name


def test_a_sweep_goes_on_right_after_its_end(leaving: str) -> None:
    found, _ = find_sweep(leaving)
    assert not found.is_alive


def test_a_run_is_deleted_right_after_its_end(leaving: str) -> None:
    assert lora_nb.delete(leaving, yes=True).done


def test_one_that_stays_is_not_waited_for_without_end(
    runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_nb.runs.attach._LEAVE_SECONDS", 0.1)
    sweep = made_sweep(runs_root, events=[began("sweep"), over()])
    held = lock.take(sweep.lock_path)
    assert held is not None
    with pytest.raises(LoraError, match=r"is completed, it needs no resuming\."):
        find_sweep(sweep.name)
    os.close(held)
