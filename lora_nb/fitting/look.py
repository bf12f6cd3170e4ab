"""Have a worker try a training, and give its answer."""

from __future__ import annotations

import shutil
from functools import partial

from lora_nb.config import FitConfig
from lora_nb.display.live import watch
from lora_nb.errors import LoraError
from lora_nb.fitting.report import FitReport
from lora_nb.runs import attach, control, launch
from lora_nb.runs.cache import cache_folder
from lora_nb.runs.events import Ended
from lora_nb.runs.fit_result import FitResult
from lora_nb.runs.folder import RunFolder

__all__ = ["try_fit"]


def try_fit(config: FitConfig) -> FitReport:
    """Try a training. Raises LoraError if it can't be tried, or if that was interrupted."""
    run = launch.start(config, cache_folder() / "fit")
    try:
        _follow(run)
        return FitReport(config, _result(run))
    finally:
        if run.is_alive:
            control.abort(run)
        shutil.rmtree(run.path, ignore_errors=True)


def _follow(run: RunFolder) -> None:
    def interrupted(count: int) -> None:
        if not run.is_alive:
            return
        if count == 1:
            control.send(run, "stop")
        else:
            control.abort(run)

    watch(
        str(run.path),
        partial(attach.follow, run),
        on_interrupt=interrupted,
        status=lambda: run.status,
    )


def _result(run: RunFolder) -> FitResult:
    attach.wait(run, 10.0)
    status = run.status
    if status == "completed":
        return FitResult.from_json(run.report_path.read_text(encoding="utf-8"))
    if status in ("stopped", "aborted"):
        raise LoraError("Interrupted: nothing was measured.")
    ends = [record.event for record in run.records() if isinstance(record.event, Ended)]
    if ends:
        raise LoraError(ends[-1].message)
    raise LoraError(
        "The process that tried a step was ended from outside, most likely for its memory: this "
        "does not fit. Try --grad-checkpoint, a smaller --batch-size or fewer --num-layers."
    )
