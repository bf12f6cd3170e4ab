"""A training that is killed again and again, resumed until it is complete, and compared."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from safetensors.numpy import load_file

from lora_nb.config import TrainConfig
from lora_nb.display.metrics import metrics
from lora_nb.runs import attach, control, launch, resume
from lora_nb.runs.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from lora_nb.runs.events import LearningRateSet, Resumed, Resuming, TrainLoss
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import Tail
from tests.faults.kills_cases import Case
from tests.faults.kills_saves import torn
from tests.faults.kills_watch import ReadCounts, Readers
from tests.tiny import options_for, until

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["RunCounts", "differences", "killed", "uninterrupted", "weights_alone"]

CURVE = ["train_loss", "valid_loss", "grad_norm", "trained_tokens", "learning_rate"]
_HASHED = (ADAPTER_WEIGHTS, "optimizer.safetensors")
_LONGEST_SECONDS = 120


@dataclass
class RunCounts:
    """What was killed and resumed, and what was found."""

    runs: int = 0
    kills: int = 0
    in_a_save: int = 0
    resumes: int = 0
    steps_again: int = 0
    aims: Counter[str] = field(default_factory=Counter)
    differing: list[str] = field(default_factory=list)
    controls: int = 0
    controls_equal: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    read: ReadCounts = field(default_factory=ReadCounts)


def _config(case: Case, home: Path, adapters: Path, **more: Any) -> TrainConfig:
    usual = {"iters": 60, "save_every": 1, "steps_per_report": 1, "steps_per_eval": 8}
    options = {**usual, "adapter_path": str(adapters), "name": case.name, **case.options, **more}
    return TrainConfig(**options_for(home, **options))


def _complete(run: RunFolder) -> RunFolder:
    assert attach.wait(run, _LONGEST_SECONDS), run.log_tail()
    assert run.status == "completed", (run.status, run.ended, run.log_tail())
    return run


def uninterrupted(case: Case, home: Path, folder: Path) -> RunFolder:
    """The training as it is when nothing happens, but that its learning rate may be set once."""
    run = launch.start(_config(case, home, folder / "whole"))
    if case.rate is not None:
        until(lambda: _told_steps(run) >= 15, "a quarter of the steps")
        control.send(run, "learning_rate", value=case.rate)
    return _complete(run)


def _told_steps(run: RunFolder) -> int:
    return max((r.event.step for r in run.records() if isinstance(r.event, TrainLoss)), default=0)


def weights_alone(case: Case, whole: RunFolder, home: Path, folder: Path) -> RunFolder:
    """The control: the second half of the training, from the weights of its middle alone."""
    middle = whole.checkpoints[len(whole.checkpoints) // 2]
    rest = whole.checkpoints[-1].step - middle.step
    config = _config(
        case,
        home,
        folder / "control",
        iters=rest,
        epochs=None,
        resume_adapter_file=str(middle.path / ADAPTER_WEIGHTS),
    )
    return _complete(launch.start(config))


def differences(one: RunFolder, other: RunFolder) -> list[str]:
    """In which files of the last checkpoint and columns of the curve two runs differ."""
    found = [name for name in _HASHED if _hashes(one).get(name) != _hashes(other).get(name)]
    mine, others = _curve(one), _curve(other)
    if list(mine.index) != list(others.index):
        return [*found, "steps"]
    return found + [name for name in CURVE if not mine[name].equals(others[name])]


def _hashes(run: RunFolder) -> dict[str, str]:
    manifest = json.loads((run.checkpoints[-1].path / "manifest.json").read_text())
    hashes: dict[str, str] = manifest["sha256"]
    return hashes


def _curve(run: RunFolder) -> DataFrame:
    return metrics(run.records())[CURVE]


def killed(case: Case, whole: RunFolder, home: Path, folder: Path, counts: RunCounts) -> RunFolder:
    """The training killed at random moments, and resumed until it is complete."""
    choose = random.Random(f"kills of {case.name}")
    if case.rate is None:
        run = launch.start(_config(case, home, folder / "adapters"))
    else:
        run = _broken_off(whole, folder / "broken-off")
        _resume(run, adapter_path=str(folder / "adapters"))
    counts.runs += 1
    readers = Readers(run, folder)
    kills = 0
    try:
        while kills < case.kills and _kill(run, choose, _startup_seconds(whole), counts):
            kills += 1
            counts.torn += _torn(run, folder / "adapters")
            readers.wait_for_end(kills)
            _resume(run)
            counts.resumes += 1
        _complete(run)
        readers.finish(counts.read)
    finally:
        readers.kill()
        control.abort(run)
    counts.steps_again += _steps_again(run)
    return run


def _resume(run: RunFolder, **changes: Any) -> None:
    """As `lora_nb.train(resume=...)` does, unseen."""
    launch.resume(run, *resume.options_for(resume.find_training(str(run.path)), changes))


def _startup_seconds(run: RunFolder) -> float:
    """From the launch of a run to its first report."""
    first = next(r.time for r in run.records() if isinstance(r.event, TrainLoss))
    return first - float(run.about["started"])


def _broken_off(whole: RunFolder, path: Path) -> RunFolder:
    """A copy of a run as its worker would have left it if killed when its rate was set.

    Of the checkpoints only those of the first half until then are there: some didn't come to be.
    """
    records = whole.records()
    place = next(n for n, r in enumerate(records) if isinstance(r.event, LearningRateSet))
    event = records[place].event
    assert isinstance(event, LearningRateSet)
    shutil.copytree(whole.path, path)
    run = RunFolder(path)
    lines = run.events_path.read_bytes().splitlines(keepends=True)
    run.events_path.write_bytes(b"".join(lines[: place + 1]) + lines[place + 1][:20])
    for checkpoint in run.checkpoints_path.iterdir():
        if int(checkpoint.name) > event.step // 2:
            shutil.rmtree(checkpoint)
    return run


def _kill(run: RunFolder, choose: random.Random, startup: float, counts: RunCounts) -> bool:
    """Kill the worker at a random moment; False if it was done before."""
    worker = until(_worker, "a worker")
    assert worker is not None
    parts = set(_parts(run))
    aim = choose.choices(["a save", "a step", "any time"], [6, 2, 2])[0]
    if aim == "any time":
        time.sleep(choose.uniform(0, startup))
    else:
        trains = _wait_for_steps(run, worker, 1 if aim == "a save" else choose.randint(1, 6))
        if trains and aim == "a save":
            trains = _wait_for_saves(run, worker, choose.randint(1, 4))
        time.sleep(choose.uniform(0, 0.006 if aim == "a save" else 0.03))
    with suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGKILL)
    assert attach.wait(run, 20)
    if run.ended is not None:
        return False
    assert run.status == "crashed", run.status
    counts.kills += 1
    counts.aims[aim] += 1
    counts.in_a_save += bool(set(_parts(run)) - parts)
    return True


def _worker() -> psutil.Process | None:
    """The worker that this process has started, None while it is not yet quite there."""
    for child in psutil.Process().children():
        # One that was killed may just now be collected.
        with suppress(psutil.Error):
            if "lora_nb.worker" in child.cmdline() and _is_there(child):
                return child
    return None


def _is_there(worker: psutil.Process) -> bool:
    try:
        return worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _parts(run: RunFolder) -> list[tuple[str, int]]:
    """The folders of saves that are not done, each with its number on the disk."""
    try:
        with os.scandir(run.checkpoints_path) as entries:
            return [(each.name, each.inode()) for each in entries if each.name.endswith(".part")]
    except FileNotFoundError:
        return []


def _wait_for_steps(run: RunFolder, worker: psutil.Process, count: int) -> bool:
    """Wait until this worker has told of so many steps; False if it ends before that."""
    tail, seen = Tail(run.events_path), 0
    while _is_there(worker):
        for record in tail.poll():
            match record.event:
                case Resuming():
                    seen = 0
                case TrainLoss():
                    seen += 1
        if seen >= count:
            return True
        time.sleep(0.003)
    return False


def _wait_for_saves(run: RunFolder, worker: psutil.Process, count: int) -> bool:
    """Wait until so many further saves have begun; False if the worker ends before that."""
    before = set(_parts(run))
    seen: set[tuple[str, int]] = set()
    while _is_there(worker):
        # A save takes milliseconds, so there is no time for a nap.
        for _ in range(200):
            seen.update(part for part in _parts(run) if part not in before)
            if len(seen) >= count:
                return True
    return False


def _torn(run: RunFolder, adapters: Path) -> list[str]:
    """What is wrong with the checkpoints and the published adapter after a kill."""
    folders = [path for path in run.checkpoints_path.glob("*") if path.name.isdecimal()]
    found = [f"{run.name}: {path.name}: {why}" for path in folders if (why := torn(path))]
    if (adapters / ADAPTER_WEIGHTS).is_file():
        try:
            load_file(adapters / ADAPTER_WEIGHTS)
            json.loads((adapters / ADAPTER_CONFIG).read_text())
        except Exception as problem:  # noqa: BLE001 (whatever it is, that's the finding)
            found.append(f"{run.name}: {adapters}: {problem!r}")
    return found


def _steps_again(run: RunFolder) -> int:
    """How many steps were told of and then void, by all of a run's kills together."""
    again = told = 0
    for record in run.records():
        match record.event:
            case TrainLoss(step=step):
                told = max(told, step)
            case Resumed(step=step):
                again += max(0, told - step)
                told = step
    return again
