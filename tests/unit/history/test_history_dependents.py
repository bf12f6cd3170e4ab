"""Deleting runs that others need: refused while those live, told of before it is done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import lora_nb
from lora_nb.config import FuseConfig
from lora_nb.errors import LoraError
from lora_nb.runs import launch, lock
from lora_nb.runs.events import Event
from lora_nb.runs.folder import RunFolder
from tests.unit.commands.conftest import Shell
from tests.unit.display.made import ended as over
from tests.unit.display.made import started as began
from tests.unit.runs.kit import ended, made, started
from tests.unit.sweep.kit import made_sweep

OVER: list[Event] = [began(), over()]


def test_what_a_living_run_uses_is_refused(
    runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(runs_root, started(), ended("completed"), name="used")
    (run.path / "checkpoints" / "0000003").mkdir(parents=True)
    monkeypatch.chdir(runs_root)
    # Relative to where that one was started.
    fuse = launch.create(FuseConfig(adapter_path=f"{run.name}/checkpoints/0000003"), runs_root)
    held = lock.take(fuse.lock_path)
    assert held is not None
    monkeypatch.chdir("/")
    with pytest.raises(LoraError) as problem:
        lora_nb.delete("used", yes=True)
    assert str(problem.value) == (
        f"{run.name} is used by {fuse.name}, which is starting. Stop that first; nothing is "
        "deleted."
    )
    assert run.path.is_dir()
    os.close(held)
    lora_nb.delete("used", yes=True)
    assert not run.path.exists()


def test_a_trial_of_a_living_sweep_is_refused(runs_root: Path) -> None:
    sweep = made_sweep(runs_root, OVER, OVER, events=[began("sweep")])
    held = lock.take(sweep.lock_path)
    assert held is not None
    trial = lora_nb.attach(sweep.name).trials[0]  # type: ignore[attr-defined]
    with pytest.raises(LoraError, match=f"^{trial.name} is a trial of the sweep {sweep.name}, whi"):
        lora_nb.delete(trial, yes=True)
    assert trial.path.is_dir()
    os.close(held)


def test_what_is_lost_with_it_is_told_before(runs_root: Path) -> None:
    sweep = made_sweep(runs_root, OVER, OVER, events=[began("sweep"), over()])
    trial = RunFolder(runs_root / lora_nb.attach(sweep.name).trials[0].name)  # type: ignore[attr-defined]
    weights = str(trial.path / "checkpoints" / "0000004")
    later = made(runs_root, started(), ended("stopped"), resume_adapter_file=weights, name="later")
    shown = repr(lora_nb.delete(trial.name))
    assert (
        f"{trial.name} is a trial of {sweep.name}, which loses it and would train it again."
    ) in shown
    assert (f"{later.name} began with weights of {trial.name}, which its --resume reads.") in shown
    # Not of those that go as well.
    together = repr(lora_nb.delete(sweep.name, "later", trials=True))
    assert "is a trial of" not in together
    assert "began with" not in together


def test_trials_are_asked_for_of_sweeps_only(shell: Shell, runs_root: Path) -> None:
    run = made(runs_root, started(), ended("completed"))
    problem = shell.error("%lora_delete latest --trials --yes")
    assert str(problem) == f"--trials is about sweeps, and {run.name} is none. Leave it out."
    assert run.path.is_dir()


def test_an_empty_name_means_no_run(shell: Shell, runs_root: Path) -> None:
    run = made(runs_root, started(), ended("completed"))
    for line in ('%lora_delete "" --yes', '%lora_note " " text', '%lora_attach ""'):
        assert str(shell.error(line)).startswith("The name of the run is empty."), line
    assert str(shell.error('%lora_plot ""')).startswith("The name of the run is empty.")
    assert run.path.is_dir()
    assert not run.notes_path.exists()
