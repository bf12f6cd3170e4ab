"""Workers that can't be started, and folders that can't be written to."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lora_nb.config import TrainConfig
from lora_nb.errors import LoraError
from lora_nb.runs import control, launch, lock, store
from lora_nb.runs.events import Ended, Resuming
from lora_nb.runs.folder import RunFolder
from tests.unit.runs.kit import ended, loss, made, started


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", fail)


WORDS = "Can't start a worker: Resource temporarily unavailable."


def config_of(run: RunFolder, **changes: Any) -> TrainConfig:
    config = run.config
    assert isinstance(config, TrainConfig)
    return dataclasses.replace(config, **changes)


def test_a_completed_run_stands_as_it_stood_if_it_gets_no_worker(runs_root: Path) -> None:
    run = made(runs_root, started(), loss(1), ended("completed", "Done."))
    before = run.config_path.read_text()
    with pytest.raises(LoraError) as caught:
        launch.resume(run, config_of(run, learning_rate=2e-5), "learning_rate: 1e-05 -> 2e-05")
    assert str(caught.value) == WORDS
    assert run.status == "completed"
    assert run.config_path.read_text() == before
    assert [record.event for record in run.records()][-2:] == [
        Resuming(changes="learning_rate: 1e-05 -> 2e-05", rate_before=1e-5),
        Ended(status="completed", message="Done.", refused=WORDS),
    ]
    assert not run.is_alive


def test_a_crashed_run_has_failed_if_it_gets_no_worker(runs_root: Path) -> None:
    run = made(runs_root, started(), loss(1))
    with pytest.raises(LoraError, match=f"^{WORDS}$"):
        launch.resume(run, config_of(run))
    assert [record.event for record in run.records()][-2:] == [
        Resuming(changes=""),
        Ended(status="failed", message=WORDS),
    ]


def test_a_new_run_says_that_it_gets_no_worker(runs_root: Path) -> None:
    with pytest.raises(LoraError, match=f"^{WORDS}$"):
        launch.start(TrainConfig(model="m", data="d"))
    assert not store.find().is_alive


def test_a_folder_that_can_not_be_written_to_is_named(runs_root: Path) -> None:
    run = made(runs_root, started(), loss(1))
    run.lock_path.mkdir()
    with pytest.raises(LoraError) as caught:
        launch.resume(run, config_of(run))
    assert str(caught.value) == f"{run.path} can't be written to: Is a directory."
    run.lock_path.rmdir()

    before = run.config_path.read_bytes(), run.events_path.read_bytes()
    run.earlier_config_path.mkdir()
    with pytest.raises(LoraError) as caught:
        launch.resume(run, config_of(run, iters=9))
    assert str(caught.value) == f"{run.path} can't be written to: Is a directory."
    assert (run.config_path.read_bytes(), run.events_path.read_bytes()) == before
    assert not run.is_alive


def test_a_request_that_can_not_be_written_is_refused(runs_root: Path) -> None:
    run = made(runs_root, started(), loss(1))
    run.control_path.touch()
    held = lock.take(run.lock_path)
    assert held is not None
    with pytest.raises(LoraError) as caught:
        control.send(run, "stop")
    os.close(held)
    assert str(caught.value) == f"stop: {run.control_path} can't be written to: File exists."
