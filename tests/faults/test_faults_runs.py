"""Workers that are stopped, aborted, killed, or fail by themselves."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

import lora_nb
from lora_nb import api
from lora_nb.errors import LoraError
from lora_nb.runs import attach, control, lock, store
from lora_nb.runs.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from lora_nb.runs.death import MEMORY_ADVICE
from lora_nb.runs.events import (
    CheckpointSaved,
    ControlAnswered,
    Ended,
    Started,
    TrainLoss,
    ValidLoss,
)
from lora_nb.runs.folder import RunFolder
from tests.faults.conftest import Start
from tests.tiny import options_for, program, until, write_rows

Kind = TypeVar("Kind")


def told(run: RunFolder, kind: type[Kind]) -> list[Kind]:
    return [record.event for record in run.records() if isinstance(record.event, kind)]


def pid_of(run: RunFolder) -> int:
    return until(lambda: told(run, Started), "a worker")[0].pid


def trains(run: RunFolder) -> None:
    until(lambda: told(run, TrainLoss), "the first report")


def manifest_is_true(checkpoint: Path) -> bool:
    hashes: dict[str, str] = json.loads((checkpoint / "manifest.json").read_text())["sha256"]
    return ADAPTER_WEIGHTS in hashes and all(
        hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() == wanted
        for name, wanted in hashes.items()
    )


def test_a_run_is_steered_and_its_stop_saves_the_adapter(endless: Start, tmp_path: Path) -> None:
    run = endless()
    assert run.status in ("starting", "running")
    trains(run)
    pid = pid_of(run)
    assert str(run.status) == "running"
    assert os.getsid(pid) == pid != os.getsid(0)

    # Asked twice, it still goes on when asked once.
    control.send(run, "pause")
    control.send(run, "pause")
    until(lambda: len(told(run, ControlAnswered)) == 2, "two answers")
    assert str(run.status) == "paused"
    control.send(run, "resume")
    until(lambda: run.status == "running", "the run to go on")
    reports = len(told(run, TrainLoss))
    until(lambda: len(told(run, TrainLoss)) > reports, "another report")

    control.send(run, "evaluate")
    until(lambda: told(run, ValidLoss)[1:], "a validation")
    other = program(sys.executable, "-m", "lora_nb.worker", str(run.path))
    assert (other.returncode, other.stderr.strip()) == (
        1,
        f"lora_nb: {run.path} is already worked on by another process.",
    )

    control.send(run, "stop")
    assert attach.wait(run, 60)
    end = told(run, Ended)[0]
    assert (run.status, end.status) == ("stopped", "stopped")
    assert end.adapter_path == str(tmp_path / "adapters")
    # The validation that was asked for is the best so far, so it made a checkpoint.
    asked_for = told(run, ValidLoss)[1].step
    assert [checkpoint.step for checkpoint in run.checkpoints] == [asked_for, end.step]
    assert manifest_is_true(run.checkpoints[0].path)
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        assert (tmp_path / "adapters" / name).is_file()
    assert [record.seq for record in run.records()] == list(range(1, len(run.records()) + 1))
    until(lambda: not psutil.pid_exists(pid), "the worker to be collected", 10)

    again = program(sys.executable, "-m", "lora_nb.worker", str(run.path))
    assert again.returncode == 1
    assert "has been worked on before (status: stopped)" in again.stderr


def test_an_abort_ends_at_once_and_keeps_earlier_checkpoints(endless: Start) -> None:
    run = endless(save_every=2)
    until(lambda: told(run, CheckpointSaved), "a checkpoint")
    control.abort(run)

    assert not run.is_alive
    assert run.status == "aborted"
    assert told(run, Ended)[0].message == "Ended at once. Checkpoints before that are kept."
    assert run.checkpoints
    assert all(manifest_is_true(checkpoint.path) for checkpoint in run.checkpoints)


def test_an_abort_reaches_a_worker_that_has_only_just_been_started(endless: Start) -> None:
    run = endless()
    control.abort(run)
    assert not run.is_alive
    assert run.status in ("aborted", "crashed")


def test_a_killed_worker_is_a_crashed_run(endless: Start) -> None:
    run = endless(save_every=2)
    until(lambda: told(run, CheckpointSaved), "a checkpoint")
    os.kill(pid_of(run), signal.SIGKILL)
    until(lambda: not run.is_alive, "the end of the worker", 10)

    assert run.status == "crashed"
    assert all(manifest_is_true(checkpoint.path) for checkpoint in run.checkpoints)
    assert list(attach.follow(run, timeout=5))[-1].seq == len(run.records())
    with pytest.raises(LoraError, match=r"is crashed: there is no worker to stop\.$"):
        control.send(run, "stop")
    assert run.name in api.list_runs()["run"].tolist()


class FromTheSide(threading.Thread):
    """Does something to the newest run once it trains, while the main thread watches it."""

    def __init__(self, deed: Any) -> None:
        super().__init__(daemon=True)
        self._deed = deed
        self.start()

    def run(self) -> None:
        newest = until(lambda: store.all_runs(), "a run")[0]
        trains(newest)
        self._deed(newest)


def test_watching_a_worker_that_is_killed_raises(
    home: Path, tmp_path: Path, runs_root: Path
) -> None:
    FromTheSide(lambda run: os.kill(pid_of(run), signal.SIGKILL))
    options = options_for(home, iters=10**6, adapter_path=str(tmp_path / "adapters"))
    with pytest.raises(LoraError) as caught:
        lora_nb.train(**options)
    run = store.find()
    assert str(caught.value).startswith(
        f"The worker of {run.name} was killed. The system does so when memory runs out, if nobody "
        f"else has. {MEMORY_ADVICE}"
    )
    assert run.status == "crashed"


@pytest.mark.parametrize(
    ("deed", "status", "code", "words"),
    [
        (lambda run: control.send(run, "stop"), "stopped", 0, ""),
        (control.abort, "aborted", 1, "lora-nb: Ended at once."),
        (lambda run: os.kill(pid_of(run), signal.SIGABRT), "crashed", 1, "ended with SIGABRT"),
        (lambda run: shutil.rmtree(run.checkpoints_path), "failed", 1, "can't be written"),
    ],
    ids=["stop", "abort", "crash", "failure"],
)
def test_a_terminal_is_told_of_each_end_by_the_exit_status(
    deed: Any, status: str, code: int, words: str, home: Path, tmp_path: Path, runs_root: Path
) -> None:
    FromTheSide(deed)
    options = options_for(home, iters=10**6, save_every=25, adapter_path=tmp_path / "adapters")
    flags = [word for key, value in options.items() for word in (_flag(key), str(value))]
    done = program(sys.executable, "-m", "lora_nb.console", "train", *flags)
    run = store.find()
    assert (run.status, done.returncode) == (status, code), done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert attach.wait(run, 20)


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def test_an_interrupt_stops_and_saves(home: Path, tmp_path: Path, runs_root: Path) -> None:
    FromTheSide(lambda run: os.kill(os.getpid(), signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    run = lora_nb.train(**options_for(home, iters=10**6, adapter_path=str(tmp_path / "adapters")))
    assert run.status == "stopped"
    assert (tmp_path / "adapters" / ADAPTER_WEIGHTS).is_file()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_aborts(
    home: Path, tmp_path: Path, runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def lose(run: RunFolder, name: str, **_: Any) -> None:
        asked.append(name)
        os.kill(os.getpid(), signal.SIGINT)

    # A worker that is too busy to hear of the first one.
    monkeypatch.setattr(control, "send", lose)
    FromTheSide(lambda run: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(LoraError, match=r"^Ended at once\. Checkpoints before that are kept\.$"):
        lora_nb.train(**options_for(home, iters=10**6, adapter_path=str(tmp_path / "adapters")))
    assert asked == ["stop"]
    assert store.find().status == "aborted"


def test_an_adapter_is_not_replaced_by_one_that_went_too_far(
    home: Path, tmp_path: Path, runs_root: Path
) -> None:
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    (adapters / ADAPTER_WEIGHTS).write_bytes(b"the one before")
    with pytest.raises(LoraError, match=r"^Step 1: the trained weights are no") as caught:
        lora_nb.train(
            **options_for(home, optimizer="sgd", learning_rate=1e39, save_every=1),
            adapter_path=adapters,
            overwrite=True,
        )
    run = store.find()
    assert run.status == "failed"
    assert told(run, Ended)[0].message == str(caught.value)
    assert (adapters / ADAPTER_WEIGHTS).read_bytes() == b"the one before"
    assert run.checkpoints == []


def test_wrong_rows_fail_before_the_training_with_their_place(
    home: Path, tmp_path: Path, runs_root: Path
) -> None:
    rows = [{"prompt": "q", "completion": "a"}] * 5 + [{"prompt": "q"}]
    for split in ("train", "valid"):
        write_rows(tmp_path / f"{split}.jsonl", rows)
    with pytest.raises(LoraError, match=r"train\.jsonl:6"):
        lora_nb.train(**options_for(home, data=str(tmp_path), adapter_path=str(tmp_path / "a")))
    run = store.find()
    assert run.status == "failed"
    assert told(run, TrainLoss) == []


def test_a_broken_model_config_is_told_in_plain_words(
    home: Path, tmp_path: Path, runs_root: Path
) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(LoraError, match=r"^model: .*config\.json can't be read"):
        lora_nb.test(model=str(tmp_path), data=options_for(home)["data"])


def test_no_lock_of_a_run_is_inherited_by_what_its_worker_starts(
    endless: Start, tmp_path: Path
) -> None:
    run = endless()
    trains(run)
    fds = Path(f"/proc/{pid_of(run)}/fd")
    held = [fd for fd in fds.iterdir() if fd.resolve() == run.lock_path.resolve()]
    flags = Path(f"/proc/{pid_of(run)}/fdinfo/{held[0].name}").read_text()
    mode = int(flags.split("flags:")[1].split()[0], 8)
    assert mode & os.O_CLOEXEC
    assert lock.LOCK_FD not in psutil.Process().environ()
