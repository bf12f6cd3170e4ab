"""The life of a worker: lock, log, signals, and one true last event."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType

from lora_nb.core.watchdog import set_farewell
from lora_nb.errors import LoraError
from lora_nb.runs import blas, lock
from lora_nb.runs.control import Inbox, Pause, Request
from lora_nb.runs.death import MEMORY_ADVICE, MEMORY_WORDS, oom_kills
from lora_nb.runs.events import ControlAnswered, Ended, Event, Notice, Resuming, Started
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import EventLog
from lora_nb.runs.refusal import as_it_stood
from lora_nb.worker.reserve import reserved
from lora_nb.worker.wishes import promise_of, wrong_with

__all__ = ["Aborted", "Session", "StoppedEarlyError", "work"]

_PACKAGES = ("lora-nb", "mlx", "mlx-lm", "transformers", "huggingface_hub")
_PAUSE_LIMIT_SECONDS = 3600.0
_EXIT = {"completed": 0, "stopped": 0, "failed": 1, "aborted": 130}


class Aborted(BaseException):
    """A request to end at once. No Exception, so that no handler on the way swallows it."""


class StoppedEarlyError(Exception):
    """A stop came before there was anything to save."""


@dataclass
class Session:
    """What the work of a run sees of the outside: it tells events and is told requests."""

    run: RunFolder
    log: EventLog
    inbox: Inbox
    stopping: bool = False
    trains: bool = False
    paused: bool = False
    _paused_until: float = 0.0
    pending: list[Request] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        """Append an event to the run's log."""
        self.log.write(event)

    def warn(self, message: str) -> None:
        """Record a warning."""
        self.emit(Notice(level="warning", message=message))

    def inform(self, message: str) -> None:
        """Record something worth knowing."""
        self.emit(Notice(level="info", message=message))

    def stop_wanted(self, step: int = 0, *, pause: Pause = "wait") -> bool:
        """Whether to stop. Answers the requests that have come; a pause waits in here.

        With `wishes` it returns in the midst of a pause, too, if there is one to carry out, and
        with `pass` at once: what is done in a pause is not to wait for its end.
        """
        self._answer_all(step)
        while self.paused and not self.stopping and pause != "pass":
            if pause == "wishes" and self.pending:
                break
            if time.monotonic() > self._paused_until:
                self.warn("The run was paused for an hour, so it is stopped and saved.")
                self.stopping = True
            time.sleep(0.1)
            self._answer_all(step)
        return self.stopping

    def wishes(self) -> list[Request]:
        """What was asked of the training since the last call, in its order."""
        wanted, self.pending = self.pending, []
        return wanted

    @property
    def resumes(self) -> bool:
        """Whether this worker goes on with what an earlier one has left."""
        return any(isinstance(record.event, Resuming) for record in self.run.records())

    def checkpoint_if_stopped(self) -> None:
        """Raise StoppedEarlyError if a stop is wanted, for stages that have nothing to save."""
        if self.stop_wanted():
            raise StoppedEarlyError

    def _answer_all(self, step: int) -> None:
        for request in self.inbox.take():
            self._answer(request, step)

    def _answer(self, request: Request, step: int) -> None:
        match request.name:
            case "stop":
                self.stopping = True
                self._reply(request, "stopping", step)
            case "resume":
                self._reply(request, "resumed" if self.paused else "not paused", step)
                self.paused = False
            case "pause":
                if not self.paused:
                    self._paused_until = time.monotonic() + _PAUSE_LIMIT_SECONDS
                self.paused = True
                self._reply(request, "paused", step)
            case _:
                self._steer(request, step)

    def _steer(self, request: Request, step: int) -> None:
        """Keep a wish for the training, or say what is wrong with it."""
        problem = wrong_with(request) if self.trains else "refused: this run trains nothing"
        if problem is None:
            self.pending.append(request)
        self._reply(request, problem or promise_of(request, step), step)

    def _reply(self, request: Request, answer: str, step: int) -> None:
        self.emit(ControlAnswered(request=request.name, answer=answer, step=step))


def work(run: RunFolder) -> int:
    """Do the work of a run to its end; returns the exit status.

    Raises LoraError if another worker holds the run, or if it has been worked on before.
    """
    held = lock.inherit(run.lock_path)
    if held is None:
        held = lock.take(run.lock_path)
    if held is None:
        raise LoraError(f"{run.path} is already worked on by another process.")
    records = run.records()
    if run.events_path.exists() and not (records and isinstance(records[-1].event, Resuming)):
        raise LoraError(f"{run.path} has been worked on before (status: {run.status}).")
    started = time.monotonic()
    with reserved(run.reserve_path) as make_room, EventLog(run.events_path) as log:
        session = Session(run, log, Inbox(run.control_path))
        _install_signals(session)
        set_farewell(lambda message: _last_words(session, make_room, message, started))
        ended = _ended(session, started)
        make_room()
        ended = _tell(run, ended)
    return 1 if ended.refused else _EXIT[ended.status]


def _last_words(
    session: Session, make_room: Callable[[], None], message: str, started: float
) -> None:
    """Tell of an end that comes from another thread."""
    make_room()
    seconds = round(time.monotonic() - started, 3)
    _tell(session.run, Ended(status="failed", message=message, seconds=seconds))


def _tell(run: RunFolder, ended: Ended) -> Ended:
    """Write the last event; returns it as it stands there.

    The log is opened anew: a signal may have come between a line and the count of it.
    """
    if ended.status == "failed":
        ended = as_it_stood(run, ended)
    print(f"lora_nb: {ended.status}. {ended.refused or ended.message}", flush=True)
    with EventLog(run.events_path) as log:
        log.write(ended, durable=True)
    return ended


def _ended(session: Session, started: float) -> Ended:
    try:
        ended = _end_of(session)
        # What has been learnt is saved, so there is nothing left for a signal to end.
        _ignore_signals()
    except Aborted:
        ended = Ended(status="aborted", message="Ended at once. Checkpoints before that are kept.")
    return dataclasses.replace(ended, seconds=round(time.monotonic() - started, 3))


def _end_of(session: Session) -> Ended:
    try:
        ended = _do(session)
    except LoraError as problem:
        ended = Ended(status="failed", message=str(problem))
    except StoppedEarlyError:
        ended = Ended(status="stopped", message="Stopped before there was anything to save.")
    except MemoryError:
        ended = Ended(status="failed", message=_OUT_OF_MEMORY)
    except OSError as problem:
        traceback.print_exc()
        ended = Ended(status="failed", message=_broken(session.run, problem))
    except Exception as problem:  # noqa: BLE001 (whatever it is, the run must end truly)
        traceback.print_exc()
        ended = Ended(status="failed", message=_unexpected(session.run, problem))
    return ended


_OUT_OF_MEMORY = f"Out of memory. {MEMORY_ADVICE}"


def _broken(run: RunFolder, problem: OSError) -> str:
    """What is said of an error of the system, of which a full disk is the usual one."""
    if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
        return _unexpected(run, problem)
    where = f" ({problem.filename} can't be written)" if problem.filename else ""
    message = f"The disk is full{where}. Free some disk space."
    if run.verb != "train":
        return message
    return f"{message} `%lora_train --resume {run.name}` goes on from the last checkpoint."


def _unexpected(run: RunFolder, problem: Exception) -> str:
    text = " ".join(str(problem).split())[:400]
    if MEMORY_WORDS.search(text):
        return _OUT_OF_MEMORY
    return f"Unexpected {type(problem).__name__}: {text} (details: {run.log_path})"


def _do(session: Session) -> Ended:
    backend, library = _backend(), _blas()
    session.emit(
        Started(
            verb=session.run.verb,
            pid=os.getpid(),
            backend=backend,
            blas=library,
            versions=_versions(),
            oom_kills=oom_kills(),
        )
    )
    print(f"lora_nb: {backend}, BLAS: {library}", flush=True)
    module, function = _WORK[session.run.verb]
    # Each verb's imports are its own: a test needs no exporter, a look at data no model.
    work_of: Callable[[Session], Ended] = getattr(import_module(module), function)
    return work_of(session)


_WORK = {
    "train": ("lora_nb.worker.train", "train"),
    "test": ("lora_nb.worker.test", "test"),
    "data": ("lora_nb.worker.data", "look_through"),
    "fit": ("lora_nb.worker.fit", "fit"),
    "convert": ("lora_nb.worker.convert", "convert"),
    "fuse": ("lora_nb.worker.fuse", "fuse"),
    "upload": ("lora_nb.worker.upload", "upload"),
    "compare": ("lora_nb.worker.compare", "compare"),
    "sweep": ("lora_nb.worker.sweep", "sweep"),
}


def _backend() -> str:
    import mlx.core as mx

    if mx.default_device() == mx.Device(mx.DeviceType.cpu):
        return "CPU"
    return "Metal" if mx.metal.is_available() else "CUDA"


def _blas() -> str:
    """The BLAS that this process really uses, which the launcher chose."""
    chosen = blas.preload()
    if chosen.path is not None and str(chosen.path) not in Path("/proc/self/maps").read_text():
        return "reference BLAS (slow: the worker was started without the fast one)"
    return str(chosen)


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _install_signals(session: Session) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        session.stopping = True

    def abort(_number: int, _frame: FrameType | None) -> None:
        # A second one must not come in the midst of telling the end.
        _ignore_signals()
        raise Aborted

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, abort)
    # A terminal that is closed ends no run.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
