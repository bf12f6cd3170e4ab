"""Have a worker try a training, and give its answer."""

from __future__ import annotations

from lora_nb.config import FitConfig
from lora_nb.display.foreground import watch_run
from lora_nb.fitting.report import FitReport
from lora_nb.runs.cache import cache_folder
from lora_nb.runs.fit_result import FitResult
from lora_nb.runs.passing import passing, report_of

__all__ = ["try_fit"]


def try_fit(config: FitConfig) -> FitReport:
    """Try a training. Raises LoraError if it can't be tried, or if that was interrupted."""
    with passing(config, cache_folder() / "fit") as run:
        watch_run(run)
        found = report_of(run, "Interrupted: nothing was measured.")
    return FitReport(config, FitResult.from_json(found))
