"""What a sweep looks like: its leaderboard, its record, its live picture, and who it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lora_nb
from lora_nb import api
from lora_nb.display.screen import PLACEHOLDER, Frame
from lora_nb.display.state import RunState
from lora_nb.errors import LoraError
from lora_nb.runs import lock
from lora_nb.runs.adapters import find_adapter
from lora_nb.runs.death import explain
from lora_nb.runs.events import CheckpointSaved, Ended, Event, Progress
from lora_nb.sweeping.board import Board
from lora_nb.sweeping.resuming import find_sweep
from lora_nb.sweeping.screen import SweepScreen
from tests.html_check import read
from tests.tiny import until
from tests.unit.commands.conftest import Shell
from tests.unit.display.made import FakeKernel, train, valid
from tests.unit.display.made import ended as over
from tests.unit.display.made import started as began
from tests.unit.runs.kit import made
from tests.unit.sweep.kit import made_sweep

GOOD: list[Event] = [began(), valid(0, 2.0), train(2, 1.0, 4), valid(4, 0.5), over(4)]
BAD: list[Event] = [began(), Ended(status="failed", message="Step 2: it diverged.", step=2)]
DONE: list[Event] = [began("sweep"), Ended(status="completed", message="2 trials.", seconds=9)]


def test_the_leaderboard_is_sorted_and_has_the_swept_options(runs_root: Path) -> None:
    sweep = made_sweep(runs_root, BAD, GOOD, events=DONE)
    found = lora_nb.attach(sweep.name)
    assert isinstance(found, lora_nb.Sweep)
    frame = found.leaderboard
    assert list(frame.columns) == [
        "trial", "learning_rate", "rank", "status", "best_valid", "at_step", "train_loss",
        "steps", "seconds", "run",
    ]  # fmt: skip
    assert frame["trial"].tolist() == [2, 1]
    assert frame["learning_rate"].tolist() == [1e-3, 1e-4]
    assert frame["status"].tolist() == ["completed", "failed"]
    assert frame["best_valid"].tolist()[0] == 0.5
    assert frame["best_valid"].isna().tolist() == [False, True]
    assert frame["at_step"].tolist()[0] == 4
    assert found.best is not None
    assert found.best.name == frame["run"][0]
    assert [run.status for run in found.trials] == ["failed", "completed"]


def test_a_trial_that_has_failed_is_never_the_best(runs_root: Path) -> None:
    bad = [BAD[0], valid(0, 0.1), BAD[1]]
    sweep = made_sweep(runs_root, bad, GOOD, events=DONE)
    found = api.Sweep(sweep)
    assert found.leaderboard["status"].tolist() == ["completed", "failed"]
    assert lora_nb.list_runs(verb="sweep")["best_valid"].tolist() == [0.5]
    assert found.best is not None
    assert found.best.status == "completed"
    assert Board(sweep).line() == "best 0.500: learning_rate 0.001, rank 4"


def test_the_record_holds_the_ranking_and_the_curves(runs_root: Path) -> None:
    sweep = made_sweep(runs_root, BAD, GOOD, events=DONE, model="<script>alert(1)</script>")
    bundle = lora_nb.attach(sweep.name)._record()
    text = bundle["text/plain"]
    assert text.startswith("<lora_nb sweep>\n  run     " + sweep.name)
    assert "best    validation loss 0.500 with learning_rate 0.001, rank 4" in text
    head, first, second = text.splitlines()[-3:]
    assert " ".join(head.split()) == ("trial learning_rate rank status best valid at step run")
    assert first.split()[:6] == ["2", "0.001", "4", "completed", "0.500", "4"]
    assert second.split()[:4] == ["1", "0.0001", "4", "failed"]
    assert "<script" not in bundle["text/html"]
    assert read(bundle["text/html"]).faults == []
    assert (
        "the lowest validation loss is 0.500, of learning_rate 0.001, rank 4."
        in (bundle["text/html"])
    )
    assert bundle["image/png"]


def test_trials_that_are_waiting_or_deleted_are_told(runs_root: Path) -> None:
    sweep = made_sweep(runs_root, GOOD, events=[began("sweep")])
    board = Board(sweep)
    assert [row.status for row in board.rows] == ["completed", "waiting"]
    assert board.line() == "best 0.500: learning_rate 0.0001, rank 4"
    lora_nb.delete(board.rows[0].run.name, yes=True)  # type: ignore[union-attr]
    board.look()
    assert [row.status for row in board.rows] == ["deleted", "waiting"]
    assert board.line() == "2 trials, 1 waiting"
    assert Board(sweep).frame()["run"].tolist() == ["", ""]


def test_the_live_picture_has_one_text_and_a_line_with_the_trial_and_step(
    runs_root: Path, kernel: FakeKernel
) -> None:
    sweep = made_sweep(runs_root, GOOD, [began(), train(2, 1.0, 4)], events=[began("sweep")])
    trial = Board(sweep).rows[1].run
    assert trial is not None
    held = lock.take(trial.lock_path)
    assert held is not None
    screen = SweepScreen(sweep)
    state = RunState()
    state.feed(Progress(stage="trial 2/2", done=0, total=0))
    screen.draw(Frame(state, "the sweep's own line"))
    screen.draw(Frame(state, "completed in 0:09", last=True))
    assert screen.interval >= 1.0
    texts = [bundle["text/plain"] for bundle in (*kernel.shown, *kernel.updates)]
    assert texts == [PLACEHOLDER, PLACEHOLDER]
    first, last = (str(each["image/png"]["alt"]) for each in kernel.metadata)
    assert first.startswith(
        "trial 2/2 \N{MIDDLE DOT} step 2/4 \N{MIDDLE DOT} train 1.000 \N{MIDDLE DOT} best 0.500: "
        "learning_rate 0.0001, rank 4 | Losses of 2 runs over steps;"
    )
    assert last.startswith("completed in 0:09 \N{MIDDLE DOT} best 0.500: learning_rate 0.0001, ra")
    sizes = {each["image/png"]["height"] for each in kernel.metadata}
    assert len(sizes) == 1


def test_in_the_background_the_last_picture_is_of_the_end(
    runs_root: Path, kernel: FakeKernel
) -> None:
    sweep = made_sweep(runs_root, BAD, GOOD, events=DONE)
    found = api.Sweep(sweep).watch(background=True)
    assert isinstance(found, api.Sweep)
    until(lambda: kernel.updates, "the last picture", 20)
    assert {bundle["text/plain"] for bundle in (*kernel.shown, *kernel.updates)} == {PLACEHOLDER}
    last = str(kernel.metadata[-1]["image/png"]["alt"])
    assert last.startswith("completed in 0:09 \N{MIDDLE DOT} best 0.500: learning_rate 0.001, ran")


def test_the_adapter_of_a_sweep_is_that_of_its_best_trial(runs_root: Path) -> None:
    saved = CheckpointSaved(step=4, path="checkpoints/0000004", best=True)
    sweep = made_sweep(runs_root, [*BAD[:1], saved, BAD[1]], [*GOOD[:-1], saved, GOOD[-1]],
                       events=DONE)  # fmt: skip
    best = Board(sweep).rows[1].run
    assert best is not None
    (best.path / saved.path).mkdir(parents=True)
    assert find_adapter(sweep.name) == best.path / saved.path
    with pytest.raises(LoraError, match="has saved no adapter"):
        find_adapter(made_sweep(runs_root, events=DONE, name="without").name)


def test_while_a_sweep_goes_on_it_is_the_latest(runs_root: Path) -> None:
    sweep = made_sweep(runs_root, GOOD, events=[began("sweep")])
    held = lock.take(sweep.lock_path)
    assert held is not None
    assert lora_nb.attach().name == sweep.name
    assert lora_nb.attach().status == "running"
    with pytest.raises(LoraError, match=rf"^--resume: {sweep.name} is running, it needs no"):
        find_sweep("latest")


def test_what_can_not_go_on_is_refused(runs_root: Path, shell: Shell) -> None:
    problem = shell.error("%lora_sweep --resume latest")
    assert str(problem).startswith("No runs in ")
    plain = made(runs_root, began(), over())
    with pytest.raises(LoraError, match=f"^--resume: {plain.name} is no sweep, but a run of %lora"):
        find_sweep(plain.name)
    sweep = made_sweep(runs_root, BAD, GOOD, events=DONE)
    problem = shell.error("%lora_sweep --resume latest")
    assert str(problem) == (
        f"--resume: all 2 trials of {sweep.name} are over, 1 of them failed, which would fail "
        "again."
    )
    with pytest.raises(LoraError, match=r"^resume: the options are the sweep's own"):
        lora_nb.sweep(resume="latest", rank=[1, 2])


def test_damaged_state_is_one_message(runs_root: Path) -> None:
    sweep = made_sweep(runs_root, GOOD, events=DONE)
    sweep.sweep_path.write_text("{")
    with pytest.raises(LoraError, match=r"sweep\.json can't be read as the trials of a sweep\."):
        _ = api.Sweep(sweep).leaderboard
    assert api.list_runs(sweep.name)["status"].tolist() == ["damaged"]


@pytest.mark.parametrize("name", ["../../etc", "..", "", 7])
def test_runs_of_trials_lie_beside_the_sweep(name: Any, runs_root: Path) -> None:
    import json

    sweep = made_sweep(runs_root, GOOD, events=DONE)
    values = json.loads(sweep.sweep_path.read_text())
    values["trials"][0]["run"] = name
    sweep.sweep_path.write_text(json.dumps(values))
    # These would pass for runs.
    for folder in (runs_root, runs_root.parent):
        (folder / "run.json").write_text((sweep.path / "run.json").read_text())
    assert Board(sweep).rows[0].run is None


def test_a_sweep_that_has_crashed_says_how_it_goes_on(runs_root: Path) -> None:
    sweep = made_sweep(runs_root, events=[began("sweep")])
    assert explain(sweep).endswith(f"`%lora_sweep --resume {sweep.name}` goes on with it.")
