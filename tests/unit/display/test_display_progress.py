from __future__ import annotations

import math

from lora_nb.display import progress_line
from lora_nb.runs.events import ControlAnswered, Ended, Event, Progress
from lora_nb.runs.events import TestLoss as OnTestRows
from tests.unit.display.made import data, finished, model, numbered, saved, started, train, valid


def line(*events: Event, status: str = "running", run_path: str = "") -> str:
    return progress_line(numbered(events), status, run_path=run_path)


def test_before_training_it_says_what_is_waited_for() -> None:
    assert line(status="starting") == "starting the worker…"
    assert line(started()) == "loading model…"
    assert line(started(), model()) == "reading data…"
    reading = Progress(stage="reading data", done=300, total=1600)
    assert line(started(), model(), reading) == "reading data 300/1600…"
    assert line(started(), model(), data()) == "starting training…"
    checking = Progress(stage="validating", done=3, total=25)
    assert line(started(), model(), data(), checking) == "validating 3/25…"
    assert line(Progress(stage="loading model", done=0, total=0)) == "loading model…"


def test_during_training() -> None:
    told = line(valid(0, 2.5), valid(100, 0.398), train(120, 0.412))
    assert told == (
        "step 120/300 · epoch 0.6 · train 0.412 · valid 0.398 (best) · 5.2k tok/s · 31 it/s"
        " · 0.42 GB · 0:12 left"
    )


def test_a_validation_under_way_stands_in_for_the_time_left() -> None:
    told = line(train(120, 0.412), Progress(stage="validating", done=3, total=25))
    assert told.endswith(" · 0.42 GB · validating 3/25…")
    assert "left" in line(
        train(120, 0.4), Progress(stage="validating", done=3, total=25), valid(120, 0.3)
    )


def test_an_older_best_is_named() -> None:
    assert "valid 0.500 (best 0.398 at 100)" in line(
        valid(100, 0.398), valid(200, 0.5), train(200, 0.4)
    )


def test_numbers_that_are_none_do_not_break_it() -> None:
    told = line(train(10, math.nan), valid(10, math.inf))
    assert "train nan · valid inf · " in told


def test_paused() -> None:
    assert line(train(120, 0.4), status="paused").startswith("paused: step 120/300")
    pause = ControlAnswered(request="pause", answer="paused", step=120)
    resume = ControlAnswered(request="resume", answer="resumed", step=120)
    assert line(train(120, 0.4), pause).startswith("paused: ")
    assert line(train(120, 0.4), pause, resume).startswith("step 120/300")


def test_completed() -> None:
    assert progress_line(finished(), "completed") == (
        "completed: 300 steps in 0:41 · train 0.200 · valid 0.034 (best 0.031 at 250)"
        " · adapter in adapters"
    )


def test_a_completed_test_run() -> None:
    tested = OnTestRows(loss=0.5, perplexity=1.649, rows=9, tokens=99, seconds=2)
    done = Ended(status="completed", message="", seconds=3)
    assert line(started("test"), tested, done) == (
        "completed in 0:03 · test 0.500 (perplexity 1.649)"
    )


def test_failed_says_why() -> None:
    end = Ended(status="failed", message="the loss is nan", step=12, seconds=4)
    assert line(train(10, 0.4), end, status="failed").startswith(
        "failed at step 12 after 0:04: the loss is nan · train 0.400"
    )


def test_stopped_does_not_say_things_twice() -> None:
    end = Ended(
        status="stopped",
        message="120 steps, adapter in adapters.",
        step=120,
        seconds=12,
        adapter_path="adapters",
    )
    assert line(train(120, 0.4), end) == (
        "stopped at step 120 after 0:12 · train 0.400 · adapter in adapters"
    )
    early = Ended(status="stopped", message="Stopped before there was anything to save.")
    assert line(started(), early) == "stopped: Stopped before there was anything to save"


def test_crashed_explains_itself() -> None:
    told = line(train(120, 0.4), saved(100), status="crashed", run_path="runs/a")
    assert told == (
        "crashed at step 120/300: the worker ended without a word; see runs/a/worker.log"
        " · train 0.400 · last checkpoint at step 100"
    )
    assert "worker.log in the run's folder" in line(status="crashed")


def test_a_resumed_run_goes_on_after_its_earlier_end() -> None:
    again = numbered([*(r.event for r in finished()), started(), train(310, 0.1, 400)])
    assert progress_line(again, "running").startswith("step 310/400")


def test_it_is_one_line_without_control_characters() -> None:
    end = Ended(status="failed", message="bad\n\x1b[2Jrow", step=1)
    assert line(end).isprintable()
