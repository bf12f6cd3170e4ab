"""Trials whose place is taken: by what an earlier run of the trial has left, or by another run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lora_nb
from lora_nb import api
from lora_nb.config import SweepConfig, load
from lora_nb.errors import LoraError
from lora_nb.runs import launch
from lora_nb.runs.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, owner_of
from lora_nb.runs.events import Ended, Notice
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.ranking import first
from lora_nb.runs.sweep_state import keep_runs, results_of, sweep_state
from lora_nb.sweeping.board import Board
from lora_nb.worker.sweep import _config_of
from tests.tiny import options_for
from tests.unit.display.made import ended as over
from tests.unit.display.made import started as began
from tests.unit.display.made import train, valid
from tests.unit.sweep.kit import made_sweep, write


def taken_by(folder: Path, run: str) -> None:
    """An adapter of a run, as far as anybody looks at it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ADAPTER_WEIGHTS).write_bytes(b"theirs")
    (folder / ADAPTER_CONFIG).write_text(json.dumps({"run": run}))


def test_a_deleted_trial_comes_again_in_the_place_of_its_adapter(
    home: Path, tmp_path: Path, runs_root: Path
) -> None:
    out = tmp_path / "out"
    options = options_for(home, iters=2, val_batches=1, adapter_path=str(out))
    run = lora_nb.sweep(**options, seed=[1, 2])
    second = run.trials[1].name
    lora_nb.delete(run.trials[0].name, yes=True)
    again = lora_nb.sweep(resume=run.name)
    assert again.status == "completed"
    assert again.leaderboard["status"].tolist() == ["completed", "completed"]
    assert owner_of(out / "seed-1") == again.trials[0].name
    assert owner_of(out / "seed-2") == again.trials[1].name == second


def test_a_place_that_another_run_has_taken_costs_that_trial_only(
    home: Path, tmp_path: Path, runs_root: Path
) -> None:
    out = tmp_path / "out"
    options = options_for(home, iters=2, val_batches=1, adapter_path=str(out))
    # As if it had come between the check before the sweep and its first trial.
    sweep = launch.create(load(SweepConfig, flags={**options, "sweep": {"seed": [1, 2]}}))
    write(sweep, began("sweep"))
    taken_by(out / "seed-1", "somebody")
    again = lora_nb.sweep(resume=sweep.name)
    assert again.status == "completed"
    assert sorted(again.leaderboard["status"]) == ["completed", "waiting"]
    events = [record.event for record in sweep.records()]
    warned = [event.message for event in events if isinstance(event, Notice)]
    assert warned[0].startswith("Trial 1 (seed 1) could not start: adapter_path: ")
    assert "holds the adapter of the run somebody." in warned[0]
    end = sweep.ended
    assert end is not None
    assert end.message.startswith("2 trials (1 waiting). Best validation loss ")
    assert (out / "seed-1" / ADAPTER_WEIGHTS).read_bytes() == b"theirs"
    # With none left that can start, it says what keeps it.
    lora_nb.delete(again.trials[0].name, yes=True)
    taken_by(out / "seed-2", "another")
    with pytest.raises(LoraError, match=r"^No trial was completed\. Trial 1 \(seed 1\) could not"):
        lora_nb.sweep(resume=sweep.name)


def test_a_run_that_may_replace_an_adapter_still_may_when_it_goes_on(
    tmp_path: Path, runs_root: Path
) -> None:
    sweep = made_sweep(runs_root, [began()], events=[], adapter_path=str(tmp_path / "out"))
    state = sweep_state(sweep)
    gone = state.trials[0]
    assert gone.run is not None
    assert _config_of(gone) == gone.trial.config
    taken_by(Path(gone.trial.config.adapter_path), gone.run.name)
    lora_nb.delete(gone.run.name, yes=True)
    deleted = sweep_state(sweep).trials[0]
    assert (deleted.run, deleted.status) == (None, "deleted")
    config = _config_of(deleted)
    assert config.overwrite
    # Stopped before it has saved anything, it finds the adapter of the deleted one again.
    new = launch.create(config, runs_root)
    keep_runs(sweep, state, deleted.trial, new)
    assert _config_of(sweep_state(sweep).trials[0]).overwrite
    # What is somebody else's is never replaced.
    lora_nb.delete(new.name, yes=True)
    taken_by(Path(gone.trial.config.adapter_path), "somebody")
    assert not _config_of(sweep_state(sweep).trials[0]).overwrite


def reached(best: float, last: float, status: str = "") -> list[object]:
    end = Ended(status="failed", message="It broke.", step=4) if status else over(4)
    return [began(), valid(0, 9.0), train(4, last, 4), valid(4, best), end]


def test_board_and_end_rank_alike(runs_root: Path) -> None:
    told = [reached(0.5, 2.0), reached(0.5, 1.0), reached(0.1, 1.0, "failed"), reached(0.5, 1.0)]
    sweep = made_sweep(runs_root, *told, events=[], sweep={"seed": [1, 2, 3, 4]})  # type: ignore[arg-type]
    board = Board(sweep)
    # Of equal validation the lower training loss, of that the earlier trial; failed ones last.
    assert board.frame()["trial"].tolist() == [2, 4, 1, 3]
    best, by_events = board.first(), first(results_of(sweep_state(sweep)))
    assert best is not None
    assert by_events is not None
    assert best.trial.number == by_events.trial.number == 2
    assert (best.best, best.train) == (by_events.best, by_events.train) == (0.5, 1.0)
    found = api.Sweep(sweep).best
    assert found is not None
    assert found.name == api.Sweep(sweep).leaderboard["run"][0]


def test_only_failed_trials_have_no_best(runs_root: Path) -> None:
    sweep = made_sweep(runs_root, reached(0.1, 1.0, "failed"), events=[])  # type: ignore[arg-type]
    assert Board(sweep).first() is None
    assert first(results_of(sweep_state(RunFolder(sweep.path)))) is None
