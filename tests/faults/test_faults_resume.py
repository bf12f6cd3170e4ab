"""Resuming through the public API, from end to end, and all that it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

import lora_nb
from lora_nb.api import Run
from lora_nb.config import TrainConfig
from lora_nb.errors import LoraError
from lora_nb.runs import attach, lock, resume
from lora_nb.runs.adapters import ADAPTER_WEIGHTS
from lora_nb.runs.events import (
    CheckpointSaved,
    ControlAnswered,
    Ended,
    LearningRateSet,
    Notice,
    Record,
    Resumed,
    Resuming,
    Sample,
    Started,
    TrainLoss,
)
from lora_nb.runs.log import EventLog
from tests.faults.kills_runs import differences
from tests.tiny import ROOT, data_folder, model_folder, options_for, until
from tests.unit.runs.kit import ended, loss, made, started

Kind = TypeVar("Kind")

STEPS = 80


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that all runs of this module are started in, and whose `runs` has them."""
    folder = tmp_path_factory.mktemp("resume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORA_NB_RUNS", str(folder / "runs"))
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.chdir(folder)
        yield folder


@pytest.fixture(autouse=True)
def runs_root(place: Path) -> Path:
    """In place of a folder for each test: the runs are shared."""
    return place / "runs"


def options(home: Path, name: str, **more: Any) -> dict[str, Any]:
    """A training with dropout and accumulation, whose adapter goes to a relative path."""
    usual: dict[str, Any] = {
        "iters": STEPS,
        "lora_parameters": {"rank": 4, "scale": 20.0, "dropout": 0.1},
        "grad_accumulation_steps": 2,
        "steps_per_report": 4,
        "steps_per_eval": 20,
        "save_every": 12,
        "adapter_path": f"adapters-{name}",
        "name": name,
    }
    return options_for(home, **(usual | more))


def told(run: Run, kind: type[Kind]) -> list[Kind]:
    return [record.event for record in run.records if isinstance(record.event, kind)]


def warnings(run: Run) -> list[str]:
    return [notice.message for notice in told(run, Notice) if notice.level == "warning"]


def notices(run: Run) -> list[str]:
    return [notice.message for notice in told(run, Notice)]


def reached(run: Run, step: int) -> None:
    """Wait until the newest worker has told of a step."""

    def is_there() -> bool:
        events = [record.event for record in run.records]
        starts = [n for n, event in enumerate(events) if isinstance(event, Started)]
        newest = events[starts[-1] :] if starts else []
        resuming = [n for n, event in enumerate(events) if isinstance(event, Resuming)]
        if resuming and (not starts or resuming[-1] > starts[-1]):
            return False
        return any(isinstance(event, TrainLoss) and event.step >= step for event in newest)

    until(is_there, f"step {step} of {run.name}")


def pause_behind_a_checkpoint(run: Run) -> None:
    """Let a run wait where it has told of steps since its last checkpoint."""

    def is_behind() -> bool:
        kinds = (TrainLoss, CheckpointSaved)
        return isinstance(
            [r.event for r in run.records if isinstance(r.event, kinds)][-1], TrainLoss
        )

    while True:
        until(is_behind, f"a report of {run.name}")
        run.pause()
        until(lambda: run.status == "paused", f"a pause of {run.name}")
        if is_behind():
            return
        run.resume()
        until(lambda: run.status == "running", f"{run.name} to go on")


def kill(run: Run) -> None:
    os.kill(told(run, Started)[-1].pid, signal.SIGKILL)
    run.wait(20)
    assert run.status == "crashed"


def copy_of(run: Run, name: str, place: Path) -> Run:
    """The folder of a run under another name."""
    shutil.copytree(run.path, place / "runs" / name)
    copied = lora_nb.attach(name)
    (copied.path / "lock").unlink(missing_ok=True)
    return copied


def cut(run: Run, wanted: Callable[[Record], bool]) -> None:
    """Take the last events away, up to the last that is wanted, as if its worker was killed."""
    lines = run.folder.events_path.read_bytes().splitlines(keepends=True)
    last = max(n for n, record in enumerate(run.records) if wanted(record))
    run.folder.events_path.write_bytes(b"".join(lines[: last + 1]))


def cut_to_step(run: Run, step: int) -> None:
    """Leave a run as if its worker was killed after the checkpoint of this step."""
    cut(run, lambda r: isinstance(r.event, CheckpointSaved) and r.event.step == step)
    for path in run.folder.checkpoints_path.iterdir():
        if int(path.name) > step:
            shutil.rmtree(path)


@pytest.fixture(scope="module")
def whole(home: Path, place: Path) -> Run:
    """A training that nothing happens to."""
    run = lora_nb.train(**options(home, "whole"))
    assert run.status == "completed"
    return run


class Follower(threading.Thread):
    """Follows a run from its first event, from the side."""

    def __init__(self, run: Run) -> None:
        super().__init__(daemon=True)
        self.seen: list[Record] = []
        self._run = run
        self.start()

    def run(self) -> None:
        self.seen = list(attach.follow(self._run.folder))


@pytest.fixture(scope="module")
def broken(home: Path, place: Path, whole: Run) -> tuple[Run, Follower]:
    """The same, stopped once, killed once, and resumed from another folder in the end."""
    run = lora_nb.train(**options(home, "broken"), background=True)
    reached(run, 8)
    run.stop()
    run.wait(60)
    assert run.status == "stopped"

    again = lora_nb.train(resume=run.name, background=True)
    follower = Follower(again)
    assert again.path == run.path
    reached(run, told(run, Ended)[0].step + 14)
    pause_behind_a_checkpoint(run)
    kill(run)
    follower.join(10)
    assert not follower.is_alive()

    (place / "elsewhere").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place / "elsewhere")
        assert lora_nb.train(resume=str(run.path)).status == "completed"
    return run, follower


def test_stopped_killed_and_resumed_it_equals_one_that_was_not(
    whole: Run, broken: tuple[Run, Follower]
) -> None:
    run, _ = broken
    assert differences(whole.folder, run.folder) == []
    assert len(told(run, Started)) == 3
    assert [event.changes for event in told(run, Resuming)] == ["", ""]
    stop = told(run, Ended)[0].step
    first, second = told(run, Resumed)
    assert (first.step, first.keeps_rates, second.keeps_rates) == (stop, True, True)
    assert second.step >= stop
    for event in told(run, Resumed):
        assert f"Resumed from the checkpoint of step {event.step}." in notices(run)
    assert warnings(run) == []


def test_steps_behind_the_checkpoint_are_void_and_come_again(broken: tuple[Run, Follower]) -> None:
    run, _ = broken
    resumed = told(run, Resumed)[-1]
    before = run.records[: run.records.index(next(r for r in run.records if r.event == resumed))]
    lost = [
        r.event
        for r in before
        if isinstance(r.event, TrainLoss) and r.event.step > resumed.reported
    ]
    assert lost, "the kill came too soon to make anything void"
    # They come again just as they were, and stand there once.
    again = told(run, TrainLoss)
    for event in lost:
        twins = [other for other in again if other.step == event.step]
        assert len({(other.loss, other.grad_norm, other.trained_tokens) for other in twins}) == 1
        assert len(twins) > 1
    assert run.metrics.index.is_unique
    assert list(run.metrics["train_loss"].dropna().index) == list(range(4, STEPS + 1, 4))
    assert list(run.metrics["valid_loss"].dropna().index) == list(range(0, STEPS + 1, 20))


def test_a_follower_passes_over_an_earlier_end_and_sees_the_crash(
    broken: tuple[Run, Follower],
) -> None:
    _, follower = broken
    seen = [record.event for record in follower.seen]
    # The stop before is in the midst of it; nothing of the last worker is there.
    assert [type(event) for event in seen if isinstance(event, Ended | Resuming)] == [
        Ended,
        Resuming,
    ]
    assert len([event for event in seen if isinstance(event, Started)]) == 2
    assert [record.seq for record in follower.seen] == list(range(1, len(seen) + 1))


def test_attached_again_it_ends_at_its_own_end(broken: tuple[Run, Follower]) -> None:
    run = lora_nb.attach("broken")
    records = list(attach.follow(run.folder, timeout=5))
    assert records == run.records
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    last = records[-1].event
    assert isinstance(last, Ended)
    assert (last.status, last.step, run.status) == ("completed", STEPS, "completed")
    assert run.watch().status == "completed"


def test_from_another_folder_the_adapter_still_goes_where_it_went(
    broken: tuple[Run, Follower], place: Path
) -> None:
    run, _ = broken
    assert not (place / "elsewhere" / "adapters-broken").exists()
    newest = run.adapter_path
    assert newest is not None
    assert int(newest.name) == STEPS
    there = place / "adapters-broken" / ADAPTER_WEIGHTS
    assert there.read_bytes() == (newest / ADAPTER_WEIGHTS).read_bytes()


def test_a_completed_one_can_be_extended_and_equals_a_longer_one(
    home: Path, place: Path, whole: Run
) -> None:
    short = lora_nb.train(**options(home, "short", iters=40))
    with pytest.raises(LoraError) as caught:
        lora_nb.train(resume="short")
    assert str(caught.value) == (
        f"{short.name} is completed: all of its 40 steps are done. "
        "Give --iters with more than 40 to go on."
    )
    with pytest.raises(LoraError, match=r"Give --iters with more than 40 to go on\.$"):
        lora_nb.train(resume="short", iters=40)
    # What was asked of the worker before is not for the next one.
    stale = short.folder.control_path / "00000000000000000001-stop.json"
    stale.parent.mkdir(exist_ok=True)
    stale.write_text(json.dumps({"request": "stop"}))

    run = lora_nb.train(resume="short", iters=STEPS)
    assert run.status == "completed"
    assert told(run, Resuming)[0].changes == f"iters: 40 -> {STEPS}"
    assert told(run, ControlAnswered) == []
    assert not stale.exists()
    assert differences(whole.folder, run.folder) == []
    assert run.config.iters == STEPS  # type: ignore[union-attr]


def test_killed_before_its_first_checkpoint_it_begins_anew_and_says_so(
    whole: Run, place: Path
) -> None:
    run = copy_of(whole, "early", place)
    cut(run, lambda record: isinstance(record.event, TrainLoss) and record.event.step == 8)
    shutil.rmtree(run.folder.checkpoints_path)
    assert run.status == "crashed"
    assert lora_nb.train(resume="early", adapter_path="adapters-early").status == "completed"
    assert "There is no checkpoint yet, so the run begins anew." in notices(run)
    assert told(run, Resumed) == [Resumed(step=0, reported=0)]
    assert differences(whole.folder, run.folder) == []


@pytest.mark.parametrize("step", [36, STEPS])
def test_a_checkpoint_that_was_saved_but_not_told_of_is_told_of(
    step: int, whole: Run, place: Path
) -> None:
    name = f"untold-{step}"
    run = copy_of(whole, name, place)
    cut_to_step(run, step)
    lines = run.folder.events_path.read_bytes().splitlines(keepends=True)
    run.folder.events_path.write_bytes(b"".join(lines[:-1]))
    before = [each for each in whole.checkpoints if each.step <= step]
    assert [each.step for each in run.checkpoints] == [each.step for each in before[:-1]]
    assert lora_nb.train(resume=name, adapter_path=f"adapters-{name}").status == "completed"
    assert [(each.step, each.best) for each in run.checkpoints] == [
        (each.step, each.best) for each in whole.checkpoints
    ]
    assert differences(whole.folder, run.folder) == []


def test_a_damaged_newest_checkpoint_is_told_of_and_the_one_before_used(
    whole: Run, place: Path
) -> None:
    run = copy_of(whole, "damaged", place)
    cut_to_step(run, 36)
    weights = run.folder.checkpoints_path / "0000036" / ADAPTER_WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert lora_nb.train(resume="damaged", adapter_path="adapters-damaged").status == "completed"
    words = "The checkpoint of step 36 is damaged: adapters.safetensors is not what was saved."
    assert warnings(run) == [f"{words} The one before is used."]
    assert [event.step for event in told(run, Resumed)] == [24]
    assert differences(whole.folder, run.folder) == []


def test_with_all_checkpoints_damaged_it_is_refused(whole: Run, place: Path) -> None:
    run = copy_of(whole, "all-damaged", place)
    cut_to_step(run, 24)
    steps = [checkpoint.step for checkpoint in run.checkpoints]
    for checkpoint in run.checkpoints:
        (checkpoint.path / "optimizer.safetensors").unlink()
    with pytest.raises(LoraError) as caught:
        lora_nb.train(resume="all-damaged", adapter_path="adapters-all-damaged")
    assert str(caught.value).startswith("No checkpoint is left to resume from. ")
    # The best validation has made the one of step 20.
    assert steps == [12, 20, 24]
    for step in steps:
        assert (
            f"The checkpoint of step {step} is damaged: optimizer.safetensors can't be read "
            "(No such file or directory)."
        ) in str(caught.value)
    assert run.status == "failed"
    assert not (place / "adapters-all-damaged" / ADAPTER_WEIGHTS).exists()


@pytest.mark.parametrize("what", ["rows", "model"])
def test_with_another_model_or_other_rows_it_is_refused(
    what: str, whole: Run, home: Path, place: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(data_folder(home) if what == "rows" else model_folder(home), other)
    run = copy_of(whole, f"other-{what}", place)
    cut_to_step(run, 24)
    config = run.folder.config_path
    there = str(data_folder(home) if what == "rows" else model_folder(home))
    config.write_text(config.read_text().replace(there, str(other)))
    changed = other / ("train.jsonl" if what == "rows" else "model.safetensors")
    content = bytearray(changed.read_bytes())
    # A letter of a completion, or the last bit of a weight.
    place_of_change = content.rindex(b"SELECT") if what == "rows" else len(content) - 1
    content[place_of_change] ^= 1
    changed.write_bytes(content)
    with pytest.raises(LoraError) as caught:
        lora_nb.train(resume=run.name, adapter_path=f"adapters-other-{what}")
    names = {"rows": "the training rows or their tokens", "model": "the model's files"}
    assert str(caught.value) == (
        f"Not resumed: {names[what]} have changed since step 24, so the run can't go on as it "
        "was. Put them back, or start a new run from its weights with "
        f"--resume-adapter-file {run.name}."
    )
    assert run.status == "failed"
    assert [checkpoint.step for checkpoint in run.checkpoints] == [12, 20, 24]


def test_a_completed_one_stays_completed_if_it_can_not_go_on(
    whole: Run, home: Path, place: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(data_folder(home), other)
    run = copy_of(whole, "stays", place)
    config = run.folder.config_path
    config.write_text(config.read_text().replace(str(data_folder(home)), str(other)))
    before, steps = config.read_text(), whole.checkpoints[-1].step
    rows = (other / "train.jsonl").read_bytes()
    (other / "train.jsonl").write_bytes(rows.replace(b"SELECT", b"SELEKT", 1))
    usual: dict[str, Any] = {"iters": steps + 4, "adapter_path": "adapters-stays"}
    with pytest.raises(LoraError, match=r"^Not resumed: the training rows or their tokens have"):
        lora_nb.train(resume="stays", **usual)
    assert run.status == "completed"
    assert config.read_text() == before
    assert "Not resumed: the training rows" in run.summary()
    (other / "train.jsonl").write_bytes(rows)
    more = lora_nb.train(resume="stays", **usual)
    assert more.status == "completed"
    assert more.checkpoints[-1].step == steps + 4
    assert "Not resumed" not in more.summary()


def refusal(name: str, **more: Any) -> str:
    """What is said to a resumption that is refused; its run must stay as it is."""
    folder = lora_nb.attach(name).folder
    before = (folder.events_path.read_bytes(), folder.config_path.read_bytes())
    with pytest.raises(LoraError) as caught:
        lora_nb.train(resume=name, **more)
    assert (folder.events_path.read_bytes(), folder.config_path.read_bytes()) == before
    return str(caught.value)


def test_a_run_that_lives_is_not_resumed(runs_root: Path) -> None:
    run = made(runs_root, started(), loss(1), name="lives")
    held = lock.take(run.lock_path)
    assert held is not None
    try:
        assert refusal("lives") == f"--resume: {run.name} is running, it needs no resuming."
        with EventLog(run.events_path) as log:
            log.write(ControlAnswered(request="pause", answer="paused", step=1))
        assert refusal("lives") == (
            f"--resume: {run.name} is paused, it needs no resuming. "
            f"`%lora_resume {run.name}` ends its pause."
        )
    finally:
        os.close(held)


def test_only_trainings_are_resumed(runs_root: Path) -> None:
    run = made(runs_root, started(), ended("failed"), name="no-training")
    about = run.path / "run.json"
    about.write_text(about.read_text().replace('"train"', '"test"'))
    run.config_path.write_text("model: m\ndata: d\n")
    assert refusal("no-training") == (f"--resume: {run.name} trains nothing, it is a test run.")
    with pytest.raises(LoraError, match="No run is called 'xyzzy'"):
        lora_nb.train(resume="xyzzy")
    with pytest.raises(LoraError, match=r"^resume: the config is the run's own\."):
        lora_nb.train("some.yaml", resume="no-training")


def test_what_would_make_it_another_run_is_refused(runs_root: Path) -> None:
    run = made(runs_root, started(), loss(1), name="options")
    text = refusal("options", rank=16, seed=7, iters=99)
    assert text.splitlines()[1:] == [
        f"  - {words} would make it another run. Leave it out, or start a new run with "
        f"--resume-adapter-file {run.name}, which takes its weights alone."
        for words in ("lora_parameters.rank: 8 -> 16", "seed: 0 -> 7")
    ]
    assert "learning_rte" in refusal("options", learning_rte=1e-4)


def test_a_new_learning_rate_leaves_the_schedule_as_it_was(runs_root: Path) -> None:
    schedule = {"name": "cosine_decay", "arguments": [1e-3, 9]}
    run = made(runs_root, started(), loss(1), name="scheduled", lr_schedule=schedule)
    config, changes = resume.options_for(run, {"learning_rate": 5e-6})
    before = run.config
    assert isinstance(before, TrainConfig)
    assert (config.learning_rate, config.lr_schedule) == (5e-6, before.lr_schedule)
    assert changes == "learning_rate: 1e-05 -> 5e-06"
    assert "lr_schedule.arguments: " in refusal(
        "scheduled", lr_schedule={"name": "cosine_decay", "arguments": [1e-3, 99]}
    )


def test_a_damaged_run_does_not_hide_the_latest_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_NB_RUNS", str(tmp_path))
    run = made(tmp_path, started(), loss(1))
    damaged = tmp_path / "99999999-damaged"
    damaged.mkdir()
    (damaged / "run.json").write_text("{")
    assert resume.find_training("latest").name == run.name


def test_one_that_stopped_early_needs_more_patience(runs_root: Path) -> None:
    early = "the validation loss has not fallen for 3 validations"
    end = replace(ended("completed"), step=1, early=early)
    run = made(runs_root, started(), loss(1), end, name="early-stop", early_stop=3)
    assert refusal("early-stop", iters=99) == (
        f"{run.name} stopped early, as {early}. Give a larger --early-stop to go on."
    )


def test_one_whose_folder_is_gone_is_refused(runs_root: Path) -> None:
    run = made(runs_root, started(), loss(1), name="homeless")
    about = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**about, "folder": "/nowhere/at/all"}))
    assert refusal("homeless") == (
        f"{run.name} was started in /nowhere/at/all, which is not there any more."
    )
    assert run.status == "crashed"


_RESUME = """
import sys
import lora_nb
from lora_nb.errors import LoraError
print("ready", flush=True)
sys.stdin.readline()
try:
    run = lora_nb.train(resume=sys.argv[1], adapter_path="adapters-race")
    print(run.status)
except LoraError as problem:
    print(problem)
"""


def test_of_two_that_resume_at_once_one_wins(whole: Run, place: Path) -> None:
    run = copy_of(whole, "race", place)
    cut_to_step(run, 24)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", _RESUME, str(run.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for each in both:
        assert each.stdout
        assert each.stdout.readline() == "ready\n"
    for each in both:
        assert each.stdin
        each.stdin.write("go\n")
        each.stdin.flush()
    answers = sorted(each.communicate(timeout=120)[0].splitlines()[-1] for each in both)
    lost = [answer for answer in answers if answer != "completed"]
    assert len(lost) == 1, answers
    # How far the winner has come by then is a matter of chance.
    refusals = (f"{run.path} is already worked on", f"--resume: {run.name} is", f"{run.name} is")
    assert lost[0].startswith(refusals), lost
    assert len(told(run, Started)) == 2
    assert [record.seq for record in run.records] == list(range(1, len(run.records) + 1))
    assert differences(whole.folder, run.folder) == []


@pytest.fixture(scope="module")
def steered(home: Path, place: Path) -> Run:
    """Paused, sampled, given another rate; killed soon after that, and resumed."""
    run = lora_nb.train(
        **options(home, "steered", iters=120, trunk_cache="memory", save_every=40), background=True
    )
    reached(run, 20)
    run.sample("how old is Bob?", max_tokens=4)
    until(lambda: len(run.samples) == 1, "a sample")
    run.pause()
    until(lambda: run.status == "paused", "the pause")
    run.sample("how old is Bob?", max_tokens=4)
    until(lambda: len(run.samples) == 2, "a sample in the pause")
    assert str(run.status) == "paused"
    run.set_learning_rate(2e-4)
    until(lambda: told(run, LearningRateSet), "the rate in the pause")
    run.resume()
    rate = told(run, LearningRateSet)[0]
    reached(run, rate.step + 8)
    return run


def test_a_sample_comes_in_the_midst_and_in_a_pause(steered: Run) -> None:
    samples = told(steered, Sample)
    assert [sample.prompt for sample in samples] == ["how old is Bob?"] * 2
    assert all(sample.step > 0 for sample in samples)
    frame = steered.samples
    assert list(frame.columns) == ["step", "prompt", "text"]
    # The frozen blocks were let go after the first epoch, and a sample needs them.
    assert any(
        text.startswith("The frozen blocks are not needed any more") for text in notices(steered)
    )
    assert warnings(steered) == []
    answers = [(event.request, event.answer) for event in told(steered, ControlAnswered)]
    step = told(steered, LearningRateSet)[0].step
    assert answers[:5] == [
        ("sample", "generating"),
        ("pause", "paused"),
        ("sample", "generating"),
        ("learning_rate", f"0.0002 from step {step + 1} on"),
        ("resume", "resumed"),
    ]


def test_a_rate_that_was_set_is_set_again_at_the_same_step(steered: Run, place: Path) -> None:
    steered.wait(60)
    assert steered.status == "completed"
    rate = told(steered, LearningRateSet)[0]
    # As if it had been killed when the rate was set, long after its last checkpoint.
    run = copy_of(steered, "rate-again", place)
    cut(run, lambda record: record.event == rate)
    for path in run.folder.checkpoints_path.iterdir():
        shutil.rmtree(path)
    assert lora_nb.train(resume="rate-again", adapter_path="adapters-rate").status == "completed"
    assert told(run, LearningRateSet) == [rate, dataclasses.replace(rate, again=True)]
    # Samples and pauses have not changed a bit, and weren't asked for again.
    assert differences(steered.folder, run.folder) == []
    rates = run.metrics["learning_rate"].dropna()
    assert rates[rates.index > rate.step + 1].to_numpy() == pytest.approx(2e-4)
    assert rates.iloc[0] == pytest.approx(1e-3)


def test_a_rate_given_to_resume_holds_from_there_and_survives_a_crash(
    whole: Run, place: Path
) -> None:
    run = copy_of(whole, "new-rate", place)
    cut_to_step(run, 36)
    resumed = lora_nb.train(resume="new-rate", learning_rate=5e-5, adapter_path="adapters-new-rate")
    assert resumed.status == "completed"
    assert "learning_rate: 0.001 -> 5e-05" in told(run, Resuming)[0].changes
    assert told(run, Resumed) == [Resumed(step=36, reported=36, keeps_rates=False)]
    assert told(run, LearningRateSet) == [LearningRateSet(step=36, value=5e-5)]
    rates = run.metrics["learning_rate"].dropna()
    assert rates[36] == pytest.approx(1e-3)
    assert rates[rates.index > 36].to_numpy() == pytest.approx(5e-5)
    assert differences(whole.folder, run.folder) != []

    # Killed after that, it goes on with the new one.
    again = copy_of(run, "new-rate-killed", place)
    cut_to_step(again, 60)
    lora_nb.train(resume="new-rate-killed", adapter_path="adapters-new-rate-killed")
    assert told(again, Resumed)[-1].keeps_rates
    assert differences(run.folder, again.folder) == []

    # Killed before its next checkpoint, it also repeats what was set on the way.
    lost = copy_of(run, "new-rate-lost", place)
    cut(lost, lambda r: r.event == LearningRateSet(step=36, value=5e-5))
    for path in lost.folder.checkpoints_path.iterdir():
        if int(path.name) > 36:
            shutil.rmtree(path)
    with EventLog(lost.folder.events_path) as log:
        log.write(LearningRateSet(step=40, value=1e-4))
    lora_nb.train(resume="new-rate-lost", adapter_path="adapters-new-rate-lost")
    wanted = [LearningRateSet(step=36, value=5e-5), LearningRateSet(step=40, value=1e-4)]
    repeated = [dataclasses.replace(each, again=True) for each in wanted]
    assert told(lost, LearningRateSet) == wanted + repeated
    rates = lost.metrics["learning_rate"].dropna()
    assert rates[40] == pytest.approx(5e-5)
    assert rates[rates.index > 40].to_numpy() == pytest.approx(1e-4)


def test_a_rate_given_to_resume_wins_before_the_first_checkpoint_too(
    whole: Run, place: Path
) -> None:
    run = copy_of(whole, "rate-early", place)
    cut(run, lambda record: isinstance(record.event, TrainLoss) and record.event.step == 8)
    shutil.rmtree(run.folder.checkpoints_path)
    before = LearningRateSet(step=8, value=2e-4)
    with EventLog(run.folder.events_path) as log:
        log.write(before)
    # One that is killed before it begins has given it all the same.
    killed = copy_of(run, "rate-early-killed", place)
    with EventLog(killed.folder.events_path) as log:
        log.write(Resuming(changes="learning_rate: 0.001 -> 5e-05", rate_before=1e-3))
    config = killed.folder.config_path
    config.write_text(config.read_text().replace("learning_rate: 0.001", "learning_rate: 5.0e-05"))

    lora_nb.train(resume="rate-early", learning_rate=5e-5, adapter_path="adapters-early-rate")
    lora_nb.train(resume=killed.name, adapter_path="adapters-early-killed")
    for each in (run, killed):
        assert told(each, Resumed) == [Resumed(step=0, reported=0, keeps_rates=False)]
        assert told(each, LearningRateSet) == [before, LearningRateSet(step=0, value=5e-5)]
        rates = each.metrics["learning_rate"].dropna()
        assert rates.to_numpy() == pytest.approx(5e-5)

    # Killed once more, it goes on with the new one.
    again = copy_of(run, "rate-early-again", place)
    cut(again, lambda r: r.event == LearningRateSet(step=0, value=5e-5))
    shutil.rmtree(again.folder.checkpoints_path)
    lora_nb.train(resume="rate-early-again", adapter_path="adapters-early-again")
    assert told(again, Resumed)[-1].keeps_rates
    assert differences(run.folder, again.folder) == []


def test_what_the_worker_refuses_is_answered(steered: Run) -> None:
    with pytest.raises(LoraError, match=r"there is no worker to generate a sample\."):
        steered.sample("hello")
    with pytest.raises(LoraError) as caught:
        steered.resume()
    assert str(caught.value).endswith(
        f"`%lora_train --resume {steered.name}` goes on from its last checkpoint."
    )
