"""Make a run folder and start its worker in a session of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from lora_nb.config import DataConfig, TrainConfig, UploadConfig, as_yaml
from lora_nb.errors import LoraError
from lora_nb.redact import redacted
from lora_nb.runs import lock, store
from lora_nb.runs.adapters import check_free
from lora_nb.runs.death import note_exit
from lora_nb.runs.environment import worker_environment
from lora_nb.runs.events import Ended, Resuming
from lora_nb.runs.folder import KINDS, NEXT_WORKER, RunConfig, RunFolder
from lora_nb.runs.log import EventLog
from lora_nb.runs.refusal import as_it_stood
from lora_nb.runs.whole_file import write_whole

__all__ = ["create", "resume", "start"]


def start(
    config: RunConfig,
    base: Path | None = None,
    *,
    made: Callable[[RunFolder], None] = lambda run: None,
) -> RunFolder:
    """Start a run and return at once; its worker outlives this process.

    `made` is called with the run when its folder is there, before its worker is started.
    Raises LoraError if the folder can't be made or the worker can't be started.
    """
    _check_place(config, Path.cwd(), None)
    run = create(config, base)
    made(run)
    with _locked(run) as held:
        _spawn(run, held)
    return run


def resume(run: RunFolder, config: TrainConfig, changes: str = "") -> None:
    """Let a training or a sweep that is over go on in a new worker, from where it was.

    `changes` says which options of `config` are new. Raises LoraError if a worker lives.
    """
    home = _home_of(run)
    _check_place(config, home, run.name)
    with _locked(run) as held:
        _let_go_on(run, held, config, changes, home)


def _let_go_on(run: RunFolder, held: int, config: TrainConfig, changes: str, home: Path) -> None:
    """Raises OSError, and leaves the run as it stood."""
    before = run.config
    # What was asked of the worker before is not for this one.
    for path in (*run.control_path.glob("*.json"), run.exit_path):
        path.unlink(missing_ok=True)
    write_whole(run.earlier_config_path, run.config_path.read_text(encoding="utf-8"))
    rate = before.learning_rate if isinstance(before, TrainConfig) else None
    resuming = Resuming(changes=changes, rate_before=None if rate == config.learning_rate else rate)
    with EventLog(run.events_path) as log:
        log.write(resuming, durable=True)
        try:
            write_whole(run.config_path, as_yaml(config))
            _spawn(run, held, folder=home)
        except (LoraError, OSError) as problem:
            log.write(as_it_stood(run, Ended(status="failed", message=str(problem))), durable=True)
            raise


@contextmanager
def _locked(run: RunFolder) -> Iterator[int]:
    """The lock of a run, to be handed on to its worker. Raises LoraError, of what goes on too."""
    try:
        held = lock.take(run.lock_path)
        if held is None:
            raise LoraError(f"{run.path} is already worked on by another process.")
        try:
            yield held
        finally:
            os.close(held)
    except OSError as problem:
        raise LoraError(f"{run.path} can't be written to: {problem.strerror}.") from None


def _check_place(config: RunConfig, home: Path, run: str | None) -> None:
    """Raise LoraError if the adapter would take the place of another run's."""
    # Configs of other verbs have its options, too, but write no adapter.
    if type(config) is TrainConfig and not config.overwrite:
        check_free(home / Path(config.adapter_path).expanduser(), run)


def _home_of(run: RunFolder) -> Path:
    """Where the run was started: relative paths of its config count from there."""
    folder = Path(str(run.about.get("folder") or "."))
    if not folder.is_dir():
        raise LoraError(f"{run.name} was started in {folder}, which is not there any more.")
    return folder


def create(config: RunConfig, base: Path | None = None) -> RunFolder:
    """A new run folder with its config, not yet started."""
    base = (base or store.root()).absolute()
    verb = next(verb for verb, kind in KINDS.items() if isinstance(config, kind))
    try:
        base.mkdir(parents=True, exist_ok=True)
        path = _new_folder(base, f"{datetime.now():%Y%m%d-%H%M%S}-{_name_of(config, verb)}")
        _write(path / "config.yaml", as_yaml(config))
        about = {
            "verb": verb,
            "started": time.time(),
            "folder": str(Path.cwd()),
            "version": _version(),
        }
        _write(path / "run.json", json.dumps(about, indent=1))
    except OSError as problem:
        raise LoraError(
            f"Can't make a run folder in {base}: {problem.strerror}. "
            "Free or choose another place with the environment variable LORA_NB_RUNS."
        ) from None
    return RunFolder(path)


def _spawn(run: RunFolder, held: int, folder: Path | None = None) -> None:
    environment = worker_environment(dict(os.environ)) | {lock.LOCK_FD: str(held)}
    # A worker that goes on adds to what the one before has printed.
    with run.log_path.open("ab") as output:
        if output.tell():
            output.write(f"\n{NEXT_WORKER}".encode())
            output.flush()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "lora_nb.worker", str(run.path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                pass_fds=(held,),
                # Interrupting a cell signals the kernel's whole process group.
                start_new_session=True,
            )
        except OSError as problem:
            raise LoraError(f"Can't start a worker: {problem.strerror}.") from None
    _reap(process, run)


def _reap(process: subprocess.Popen[bytes], run: RunFolder) -> None:
    """Collect the worker's exit status when it ends, so that it leaves no zombie."""
    import threading

    def wait() -> None:
        note_exit(run, process.wait())

    threading.Thread(target=wait, daemon=True, name="lora_nb-reap").start()


def _new_folder(base: Path, name: str) -> Path:
    for number in range(1, 1000):
        path = base / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise LoraError(f"{base} holds too many runs called {name}.")


def _name_of(config: RunConfig, verb: str) -> str:
    if not isinstance(config, DataConfig) and config.name:
        return config.name
    subject = config.upload_repo if isinstance(config, UploadConfig) else config.model
    texts = (subject, getattr(config, "data", None))
    parts = dict.fromkeys(_tail(redacted(text)) for text in texts if text)
    name = "-".join([*parts, *([] if verb == "train" else [verb])])
    return name[:48].strip("-") or verb


def _tail(path: str) -> str:
    return re.sub(r"[^\w.-]+", "-", Path(path).name).strip("-.")[:24]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _version() -> str:
    from lora_nb import __version__

    return __version__
