"""Runs that are gone once their result is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_nb.config import FitConfig
from lora_nb.errors import LoraError
from lora_nb.runs import launch, lock
from lora_nb.runs.death import note_exit
from lora_nb.runs.events import Ended, Status
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import EventLog
from lora_nb.runs.passing import passing, report_of
from tests.unit.runs import kit

INTERRUPTED = "Interrupted: nothing was measured."


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runs lie; they have no worker."""
    monkeypatch.setattr(launch, "start", launch.create)
    return tmp_path / "fit"


def ended(run: RunFolder, end: Ended) -> RunFolder:
    with EventLog(run.events_path) as log:
        log.write(end)
    return run


def test_a_result_is_read_and_the_folder_is_gone(place: Path) -> None:
    with passing(FitConfig(), place) as run:
        run.report_path.write_text("found")
        ended(run, kit.ended("completed"))
        assert report_of(run, INTERRUPTED) == "found"
    assert list(place.iterdir()) == []


def test_the_folder_is_gone_after_an_error_too(place: Path) -> None:
    with pytest.raises(LoraError, match="no such model"), passing(FitConfig(), place) as run:
        report_of(ended(run, kit.ended("failed", "no such model")), INTERRUPTED)
    assert list(place.iterdir()) == []


def test_an_exit_status_that_comes_late_does_not_keep_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove: Callable[..., None] = shutil.rmtree
    late: list[RunFolder] = []

    def overtaken(path: Path, **how: bool) -> None:
        remove(path, **how)
        while late:
            path.mkdir()
            note_exit(late.pop(), 0)

    monkeypatch.setattr(shutil, "rmtree", overtaken)
    with passing(FitConfig(), place) as run:
        late.append(run)
    assert not late
    assert list(place.iterdir()) == []


def test_what_was_left_long_ago_goes_unless_its_worker_lives(place: Path) -> None:
    runs = {name: launch.create(FitConfig(name=name), place) for name in ("old", "busy", "new")}
    held = lock.take(runs["busy"].lock_path)
    assert held is not None
    for name in ("old", "busy"):
        os.utime(runs[name].path, (0, 0))
    with passing(FitConfig(), place):
        pass
    os.close(held)
    assert {path.name for path in place.iterdir()} == {runs["busy"].name, runs["new"].name}


@pytest.mark.parametrize("status", ["stopped", "aborted"])
def test_an_interruption_is_said(status: Status, place: Path) -> None:
    with pytest.raises(LoraError) as told, passing(FitConfig(), place) as run:
        report_of(ended(run, kit.ended(status)), INTERRUPTED)
    assert str(told.value) == INTERRUPTED


def test_a_worker_that_is_gone_leaves_its_last_words(place: Path) -> None:
    with passing(FitConfig(), place) as run:
        run.log_path.write_text("first\nlast\n")
        with pytest.raises(LoraError) as told:
            report_of(run, INTERRUPTED)
    assert str(told.value) == (
        f"The worker of {run.name} is gone without a word (killed, or out of memory). Try a "
        "smaller batch_size, fewer num_layers, grad_checkpoint, a smaller max_seq_length, or a "
        "quantised model. Its last words:\nfirst\nlast"
    )
