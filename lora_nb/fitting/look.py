"""Have a worker try a training, and give its answer."""

from __future__ import annotations

import shutil

from lora_nb.config import FitConfig
from lora_nb.display.foreground import watch_run
from lora_nb.errors import LoraError
from lora_nb.fitting.report import FitReport
from lora_nb.runs import attach, control, launch
from lora_nb.runs.cache import cache_folder
from lora_nb.runs.fit_result import FitResult
from lora_nb.runs.folder import RunFolder

__all__ = ["try_fit"]


def try_fit(config: FitConfig) -> FitReport:
    """Try a training. Raises LoraError if it can't be tried, or if that was interrupted."""
    run = launch.start(config, cache_folder() / "fit")
    try:
        watch_run(run)
        return FitReport(config, _result(run))
    finally:
        if run.is_alive:
            control.abort(run)
        shutil.rmtree(run.path, ignore_errors=True)


def _result(run: RunFolder) -> FitResult:
    attach.wait(run, 10.0)
    status = run.status
    if status == "completed":
        return FitResult.from_json(run.report_path.read_text(encoding="utf-8"))
    if status in ("stopped", "aborted"):
        raise LoraError("Interrupted: nothing was measured.")
    if (end := run.ended) is not None:
        raise LoraError(end.message)
    raise LoraError(
        "The process that tried a step was ended from outside, most likely for its memory: this "
        "does not fit. Try --grad-checkpoint, a smaller --batch-size or fewer --num-layers."
    )
