"""Sweeps with real workers: trials that fail, stops, kills, and going on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import lora_nb
from lora_nb import api
from lora_nb.commands.steer import sampled
from lora_nb.errors import LoraError
from lora_nb.runs import attach, control
from lora_nb.runs.adapters import ADAPTER_WEIGHTS
from lora_nb.runs.events import (
    ControlAnswered,
    Notice,
    Progress,
    Resumed,
    Sample,
    Started,
    TrainLoss,
)
from lora_nb.runs.folder import RunFolder
from tests.tiny import options_for, until
from tests.unit.commands.conftest import Shell

LONG = 10**6


def told(run: RunFolder, kind: type[Any]) -> list[Any]:
    return [record.event for record in run.records() if isinstance(record.event, kind)]


def pids(sweep: api.Sweep) -> set[int]:
    """Every worker that the sweep has had, its own among them."""
    runs = [sweep, *sweep.trials]
    return {event.pid for run in runs for event in told(run.folder, Started)}


def trains(sweep: api.Sweep, number: int = 0) -> RunFolder:
    """A trial that has told of its first steps."""

    def look() -> RunFolder | None:
        found = sweep.trials[number:]
        return found[0].folder if found and told(found[0].folder, TrainLoss) else None

    found = until(look, "a trial to train")
    assert found is not None
    return found


def are_gone(numbers: set[int]) -> None:
    until(lambda: not any(map(psutil.pid_exists, numbers)), "the workers to be collected", 10)


@pytest.fixture(autouse=True)
def nothing_stays(runs_root: Path) -> Iterator[None]:
    """End what a test has left behind, and say so."""
    yield
    runs = list(map(RunFolder, runs_root.glob("*")))
    # A worker takes a moment to go after its last word.
    alive = [run for run in runs if not attach.wait(run, 10 if run.ended else 0)]
    for run in sorted(alive, key=lambda run: run.verb != "sweep"):
        control.abort(run)
    assert [run.name for run in alive] == []


def test_a_sweep_in_a_cell_with_a_trial_that_fails(
    shell: Shell, home: Path, tmp_path: Path, runs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = options_for(home, iters=4, val_batches=1, learning_rate="1e30,1e-3")
    options["adapter_path"] = tmp_path / "out"
    words = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in options.items())
    found = shell.value(f"found = %lora_sweep {words} --optimizer sgd\nfound")
    shown = capsys.readouterr()

    assert isinstance(found, api.Sweep)
    assert found.status == "completed"
    board = found.leaderboard
    assert board["learning_rate"].tolist() == [1e-3, 1e30]
    assert board["status"].tolist() == ["completed", "failed"]
    assert board["best_valid"].notna().tolist()[0]
    assert "trial 1/2" in shown.out
    assert "\ncompleted in " in shown.out
    assert "warning: Trial 1 (learning_rate 1e+30) failed: " in shown.err
    assert "Traceback" not in shown.out + shown.err
    ended = found.folder.ended
    assert ended is not None
    assert ended.message.startswith("2 trials (1 failed). Best validation loss ")
    assert ended.message.endswith(": learning_rate 0.001.")
    assert (tmp_path / "out" / "lr-0.001" / ADAPTER_WEIGHTS).is_file()
    assert not (tmp_path / "out" / ADAPTER_WEIGHTS).exists()
    assert ended.adapter_path == str(tmp_path / "out" / "lr-0.001")
    # Its own process has read no model: its log has no steps, only how far its trials are.
    assert told(found.folder, TrainLoss) == []
    assert told(found.folder, Progress)[-1] == Progress(
        stage="trial 2/2 \N{MIDDLE DOT} step", done=4, total=4
    )
    assert [getattr(each.config, "seed", None) for each in found.trials] == [0, 0]
    runs = api.list_runs()
    assert sorted(runs["verb"]) == ["sweep", "train", "train"]
    assert runs.set_index("run")["best_valid"][found.name] == board["best_valid"][0]
    assert lora_nb.attach(found.name).summary().startswith("<lora_nb sweep>")
    are_gone(pids(found))
    # Said before anything starts, and no adapter is replaced unnoticed.
    problem = shell.error(f"%lora_sweep {words}")
    assert str(problem).startswith(f"adapter_path: {tmp_path}/out/lr-0.001 holds the adapter of th")
    assert len(list(runs_root.iterdir())) == 3


def test_a_stop_ends_the_trial_saved_and_the_sweep_goes_on_where_it_was(
    shell: Shell, home: Path, runs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = options_for(home, iters=60, val_batches=1)
    run = lora_nb.sweep(**options, seed=[1, 2], background=True)
    first = trains(run)
    control.send(run.folder, "learning_rate", value=1.0)
    until(lambda: told(run.folder, ControlAnswered), "an answer")
    assert told(run.folder, ControlAnswered)[0].answer == (
        "refused: the trials of a sweep keep theirs"
    )
    capsys.readouterr()
    shell.run("%lora_stop")
    assert capsys.readouterr().out == f"{run.name}: stopped\n"
    assert run.wait(30).status == "stopped"
    assert first.status == "stopped"
    stopped_at = first.checkpoints[-1].step
    assert 0 < stopped_at < 60
    assert run.folder.ended is not None
    assert run.folder.ended.message == (
        f"0 of 2 trials are complete; %lora_sweep --resume {run.name} goes on."
    )
    assert run.leaderboard["status"].tolist() == ["stopped", "waiting"]
    are_gone(pids(run))

    again = shell.value("%lora_sweep --resume latest")
    assert (again.name, again.status) == (run.name, "completed")
    assert [each.status for each in again.trials] == ["completed", "completed"]
    # The same run, from its last step on.
    assert again.trials[0].name == first.name
    assert len(list(runs_root.iterdir())) == 3
    assert [event.step for event in told(first, Resumed)] == [stopped_at]
    assert again.leaderboard["steps"].tolist() == [60, 60]
    with pytest.raises(LoraError, match=r"--resume: all 2 trials of .* are over\."):
        lora_nb.sweep(resume="latest")
    are_gone(pids(again))


def test_an_interrupt_stops_trial_and_sweep(
    home: Path, runs_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        until(lambda: list(runs_root.glob("*-sweep/sweep.json")), "the first trial")
        trains(api.Sweep(RunFolder(next(runs_root.glob("*-sweep")))))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    run = lora_nb.sweep(**options_for(home, iters=LONG), seed=[1, 2])
    thread.join()
    assert (run.status, [each.status for each in run.trials]) == ("stopped", ["stopped"])
    assert run.trials[0].checkpoints
    assert "stopped after 0:" in capsys.readouterr().out
    are_gone(pids(run))


def test_a_killed_sweep_leaves_a_trial_that_ends_by_itself_and_counts(
    home: Path, runs_root: Path
) -> None:
    run = lora_nb.sweep(**options_for(home, iters=60, val_batches=1), seed=[1, 2], background=True)
    first = trains(run)
    (pid,) = {event.pid for event in told(run.folder, Started)}
    os.kill(pid, signal.SIGKILL)
    until(lambda: run.status == "crashed", "the sweep to be gone")
    assert first.is_alive
    # Taken up while that trial still goes on, it waits for it instead of starting another.
    again = lora_nb.sweep(resume=run.name, background=True)
    again.wait(60)
    assert again.status == "completed"
    assert again.trials[0].name == first.name
    assert len(list(runs_root.iterdir())) == 3
    assert told(first, Resumed) == []
    assert first.status == "completed"
    are_gone(pids(again))


def test_an_abort_ends_the_trial_as_well(home: Path, runs_root: Path) -> None:
    run = lora_nb.sweep(**options_for(home, iters=LONG), seed=[1, 2], background=True)
    first = trains(run)
    numbers = pids(run)
    run.abort()
    assert (run.status, first.status) == ("aborted", "aborted")
    are_gone(numbers)


def test_pausing_a_sweep_pauses_its_trial(home: Path, runs_root: Path) -> None:
    run = lora_nb.sweep(**options_for(home, iters=LONG), seed=[1, 2], background=True)
    first = trains(run)
    run.pause()
    until(lambda: run.status == first.status == "paused", "both to be paused")
    run.resume()
    until(lambda: run.status == first.status == "running", "both to go on")
    # A trial that is stopped alone does not end the sweep.
    control.send(first, "stop")
    trains(run, 1)
    assert run.status == "running"
    run.stop()
    run.wait(30)
    assert run.leaderboard["status"].tolist() == ["stopped", "stopped"]
    are_gone(pids(run))


def test_a_pause_ends_with_its_trial_and_a_sample_comes_through(
    home: Path, runs_root: Path
) -> None:
    run = lora_nb.sweep(**options_for(home, iters=LONG), seed=[1, 2], background=True)
    first = trains(run)
    text = sampled(run, "hello", 3)
    assert [sample.text for sample in told(first, Sample)] == [text]
    run.pause()
    until(lambda: run.status == first.status == "paused", "both to be paused")
    control.abort(first)
    trains(run, 1)
    assert run.status == "running"
    run.stop()
    assert run.wait(30).status == "stopped"
    are_gone(pids(run))


def test_a_sweep_of_which_nothing_is_left_fails(home: Path, runs_root: Path) -> None:
    options = options_for(home, num_layers=[8, 9])
    with pytest.raises(LoraError) as problem:
        lora_nb.sweep(**options)
    assert str(problem.value) == (
        "No trial was completed. Trial 1 (num_layers 8): num_layers: 8 blocks can't be trained, "
        "the model has 4. Give at most 4, or -1 for all."
    )
    run = lora_nb.attach(str(next(runs_root.glob("*-sweep"))))
    assert run.status == "failed"
    assert [event.level for event in told(run.folder, Notice)] == ["warning", "warning"]
