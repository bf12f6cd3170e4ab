"""Runs whose folders are kept only until their result has been read."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lora_nb.errors import LoraError
from lora_nb.runs import attach, control, launch
from lora_nb.runs.cache import age_of
from lora_nb.runs.death import explain
from lora_nb.runs.folder import RunConfig, RunFolder

__all__ = ["passing", "report_of"]

_OLD_SECONDS = 86_400.0
_END_SECONDS = 10.0
_TRIES = 50
_PAUSE_SECONDS = 0.02


@contextmanager
def passing(config: RunConfig, place: Path) -> Iterator[RunFolder]:
    """Start a run in `place`; afterwards its worker and its folder are gone.

    Folders that killed processes left in `place` more than a day ago are removed first.
    Raises LoraError if the run can't be started.
    """
    for path in _old(place):
        _remove(path)
    run = launch.start(config, place)
    try:
        yield run
    finally:
        if run.is_alive:
            control.abort(run)
        _remove(run.path)


def report_of(run: RunFolder, interrupted: str) -> str:
    """What the run has found, as it wrote it, once its worker is gone.

    Raises LoraError with `interrupted` if it was stopped, else with the reason why there is none.
    """
    attach.wait(run, _END_SECONDS)
    status = run.status
    if status == "completed":
        return run.report_path.read_text(encoding="utf-8")
    if status in ("stopped", "aborted"):
        raise LoraError(interrupted)
    if (end := run.ended) is not None:
        raise LoraError(end.message)
    words = run.log_tail(3)
    raise LoraError(explain(run) + (f" Its last words:\n{words}" if words else ""))


def _old(place: Path) -> list[Path]:
    try:
        paths = list(place.iterdir())
    except OSError:
        return []
    return [path for path in paths if age_of(path) > _OLD_SECONDS and not RunFolder(path).is_alive]


def _remove(path: Path) -> None:
    """Remove a folder, again if its worker's exit status was put into it meanwhile."""
    for _ in range(_TRIES):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(_PAUSE_SECONDS)
