"""Make a run folder and start its worker in a session of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from lora_nb.config import DataConfig, as_yaml
from lora_nb.errors import LoraError
from lora_nb.redact import redacted
from lora_nb.runs import lock, store
from lora_nb.runs.environment import worker_environment
from lora_nb.runs.folder import KINDS, RunConfig, RunFolder

__all__ = ["create", "start"]


def start(config: RunConfig, base: Path | None = None) -> RunFolder:
    """Start a run and return at once; its worker outlives this process.

    Raises LoraError if the folder can't be made or the worker can't be started.
    """
    run = create(config, base)
    held = lock.take(run.lock_path)
    if held is None:
        raise LoraError(f"{run.path} is already worked on by another process.")
    try:
        _spawn(run, held)
    finally:
        os.close(held)
    return run


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


def _spawn(run: RunFolder, held: int) -> None:
    environment = worker_environment(dict(os.environ)) | {lock.LOCK_FD: str(held)}
    with run.log_path.open("wb") as output:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "lora_nb.worker", str(run.path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(held,),
                # Interrupting a cell signals the kernel's whole process group.
                start_new_session=True,
            )
        except OSError as problem:
            raise LoraError(f"Can't start a worker: {problem.strerror}.") from None
    _reap(process)


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Collect the worker's exit status when it ends, so that it leaves no zombie."""
    import threading

    threading.Thread(target=process.wait, daemon=True, name="lora_nb-reap").start()


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
    texts = (config.model, getattr(config, "data", None))
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
