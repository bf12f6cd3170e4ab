"""What is said of a worker that told no end."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lora_nb.runs import death
from lora_nb.runs.death import MEMORY_ADVICE, explain, note_exit
from lora_nb.runs.events import CheckpointSaved, Event, Resuming
from lora_nb.runs.folder import NEXT_WORKER, RunFolder
from lora_nb.runs.log import EventLog
from tests.unit.runs.kit import made, started


@pytest.fixture
def crashed(runs_root: Path) -> RunFolder:
    run = made(runs_root)
    with EventLog(run.events_path) as log:
        log.write(started())
    age(run)
    return run


def begin(run: RunFolder, *events: Event, kills: int | None = None) -> None:
    """Let another worker begin, by these events or as one that has counted these kills."""
    with EventLog(run.events_path) as log:
        for event in events or (replace(started(), oom_kills=kills),):
            log.write(event)
    age(run)


def age(run: RunFolder) -> None:
    """Make the events old enough for no exit status to be awaited."""
    long_ago = time.time() - 60
    os.utime(run.events_path, (long_ago, long_ago))


def test_nothing_is_known(crashed: RunFolder) -> None:
    assert explain(crashed) == (
        f"The worker of {crashed.name} is gone without a word (killed, or out of memory). "
        f"{MEMORY_ADVICE}"
    )


def test_it_was_killed_and_can_go_on(crashed: RunFolder) -> None:
    note_exit(crashed, -signal.SIGKILL)
    (crashed.checkpoints_path / "0000004").mkdir(parents=True)
    with EventLog(crashed.events_path) as log:
        log.write(CheckpointSaved(step=4, path="checkpoints/0000004", best=False))
    assert explain(crashed) == (
        f"The worker of {crashed.name} was killed. The system does so when memory runs out, if "
        f"nobody else has. {MEMORY_ADVICE} `%lora_train --resume {crashed.name}` goes on from "
        "step 4."
    )


def test_a_driver_has_aborted(crashed: RunFolder) -> None:
    note_exit(crashed, -signal.SIGABRT)
    assert explain(crashed) == (
        f"The worker of {crashed.name} ended with SIGABRT, by an error in the GPU's driver or a "
        f"library, most often for want of memory. {MEMORY_ADVICE}"
    )


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGSEGV, "ended with SIGSEGV, by an error in the GPU's driver or a library."),
        (44, "ended with signal 44, by an error in the GPU's driver or a library."),
        (signal.SIGTERM, "was ended by SIGTERM, from outside."),
    ],
)
def test_other_signals_have_nothing_to_do_with_memory(
    number: int, words: str, crashed: RunFolder
) -> None:
    note_exit(crashed, -number)
    assert explain(crashed) == f"The worker of {crashed.name} {words}"


@pytest.mark.parametrize(
    "line",
    [
        "[METAL] Insufficient Memory (kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        "what():  cudaMallocAsync(&data, size, stream) failed: out of memory",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ],
)
def test_a_log_that_speaks_of_memory_is_quoted(line: str, crashed: RunFolder) -> None:
    note_exit(crashed, -signal.SIGABRT)
    crashed.log_path.write_text(f"lora_nb: CUDA\n{line}\n")
    assert explain(crashed) == (
        f"The worker of {crashed.name} ran out of memory: {line}. {MEMORY_ADVICE}"
    )


def test_the_system_tells_that_it_ended_one(
    crashed: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(crashed, kills=2)
    monkeypatch.setattr(death, "oom_kills", lambda: 3)
    assert explain(crashed) == (
        f"The worker of {crashed.name} was ended by the system, which had no memory left. "
        f"{MEMORY_ADVICE}"
    )
    monkeypatch.setattr(death, "oom_kills", lambda: 2)
    assert "gone without a word" in explain(crashed)


def test_what_the_system_ended_before_the_newest_worker_is_no_reason(
    crashed: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(crashed, kills=2)
    monkeypatch.setattr(death, "oom_kills", lambda: 3)
    begin(crashed, Resuming(changes=""))
    assert "gone without a word" in explain(crashed)
    begin(crashed, kills=3)
    assert "gone without a word" in explain(crashed)
    monkeypatch.setattr(death, "oom_kills", lambda: 4)
    assert "ended by the system" in explain(crashed)


def test_what_other_processes_had_no_memory_for_is_no_reason(
    crashed: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(crashed, kills=2)
    monkeypatch.setattr(death, "oom_kills", lambda: 3)
    note_exit(crashed, -signal.SIGSEGV)
    assert "ended with SIGSEGV" in explain(crashed)


def test_the_words_of_a_worker_before_are_not_quoted(crashed: RunFolder) -> None:
    crashed.log_path.write_text(f"lora_nb: failed. Out of memory.\n{NEXT_WORKER}lora_nb: CPU\n")
    assert "gone without a word" in explain(crashed)
    assert crashed.log_tail() == "lora_nb: CPU"
