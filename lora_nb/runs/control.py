"""Requests to a running worker: one small file each, so a busy kernel never loses one."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from lora_nb.errors import LoraError
from lora_nb.runs import lock
from lora_nb.runs.events import Ended, Resuming, Started
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import EventLog

__all__ = [
    "NO_SAMPLE",
    "SAMPLE_TOKENS",
    "Inbox",
    "Pause",
    "Request",
    "RequestName",
    "abort",
    "interrupt",
    "send",
]

NO_SAMPLE = "No sample: "
"""How the warning begins that tells why a sample could not be generated."""
SAMPLE_TOKENS = 64
"""The longest sample in tokens, if nothing else is asked for."""

RequestName = Literal["stop", "pause", "resume", "evaluate", "learning_rate", "sample"]
# What a pause does to a worker's look for requests: it is waited for, or waited for until there
# is a wish to carry out, or ignored.
Pause = Literal["wait", "wishes", "pass"]
# What a worker does, where the request is no verb.
_DOES = {"learning_rate": "give another learning rate", "sample": "generate a sample"}
_GRACE_SECONDS = 5.0
_FORCED = "Ended by force, as it did not answer. Checkpoints before that are kept."


@dataclass(frozen=True)
class Request:
    """What is asked of the worker, and with which values."""

    name: RequestName
    values: dict[str, Any] = field(default_factory=dict)


def send(run: RunFolder, name: RequestName, **values: Any) -> None:
    """Ask the worker of a run for something; it answers with a ControlAnswered event.

    Raises LoraError if the run is over, or its folder can't be written to.
    """
    if not run.is_alive:
        more = ""
        if name == "resume" and run.verb == "train":
            more = f" `%lora_train --resume {run.name}` goes on from its last checkpoint."
        does = _DOES.get(name, name)
        raise LoraError(f"{run.name} is {run.status}: there is no worker to {does}.{more}")
    final = run.control_path / f"{time.time_ns():020d}-{name}.json"
    part = final.with_suffix(".part")
    try:
        run.control_path.mkdir(exist_ok=True)
        part.write_text(json.dumps({"request": name, **values}), encoding="utf-8")
        part.rename(final)
    except OSError as problem:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise LoraError(
            f"{name}: {run.control_path} can't be written to: {problem.strerror}."
        ) from None


def interrupt(run: RunFolder, count: int) -> None:
    """What interrupts mean to a run: the first stops it, a further one ends it at once."""
    if not run.is_alive:
        return
    if count == 1:
        send(run, "stop")
    else:
        abort(run)


def abort(run: RunFolder) -> None:
    """End the worker at once, without saving: asked first, killed after a few seconds."""
    pid = _worker_pid(run, _GRACE_SECONDS)
    if pid is None:
        return
    for wanted in (signal.SIGTERM, signal.SIGKILL):
        # Only while the lock is held is the process id certain to be the worker's.
        if run.is_alive:
            _signal(run, pid, wanted)
            _wait_for_end(run, _GRACE_SECONDS)
    _end_for(run)


def _signal(run: RunFolder, pid: int, wanted: signal.Signals) -> None:
    try:
        os.kill(pid, wanted)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise LoraError(f"{run.name}: its worker (process {pid}) is another user's.") from None


def _end_for(run: RunFolder) -> None:
    """Write the last event of a worker that was killed and so could not; else it looks crashed."""
    if run.status != "crashed" or (held := lock.take(run.lock_path)) is None:
        return
    try:
        with EventLog(run.events_path) as log:
            log.write(Ended(status="aborted", message=_FORCED), durable=True)
    finally:
        os.close(held)


def _worker_pid(run: RunFolder, seconds: float) -> int | None:
    """The worker's process id, waited for: one that has just been started has not told it yet."""
    deadline = time.monotonic() + seconds
    while True:
        pid = None
        for record in run.records():
            match record.event:
                case Started(pid=told):
                    pid = told
                case Resuming():
                    # The one before is gone, and its number may be another process's by now.
                    pid = None
        if pid is not None or not run.is_alive or time.monotonic() > deadline:
            return pid
        time.sleep(0.05)


def _wait_for_end(run: RunFolder, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while run.is_alive and time.monotonic() < deadline:
        time.sleep(0.05)


class Inbox:
    """The worker's side: reads requests in their order and removes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self) -> Iterator[Request]:
        """The requests since the last look. A file that holds none is removed unseen."""
        for path in sorted(self._folder.glob("*.json")):
            request = _read(path)
            path.unlink(missing_ok=True)
            if request is not None:
                yield request


def _read(path: Path) -> Request | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        name = values.pop("request")
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None
    return Request(name, values) if name in get_args(RequestName) else None
