"""Which sweep is meant to go on."""

from __future__ import annotations

from lora_nb.config import SweepConfig
from lora_nb.errors import LoraError
from lora_nb.runs import attach, store
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.sweep_state import sweep_state

__all__ = ["find_sweep"]


def find_sweep(name: str) -> tuple[RunFolder, SweepConfig]:
    """A sweep that is over with trials that are not; `latest` is the newest sweep.

    Raises LoraError if there is none, it goes on, or nothing is left to do.
    """
    sweeps = (run for run in store.all_runs() if name == "latest" and store.does(run, "sweep"))
    run = next(sweeps, None) or store.find(name)
    config = run.config
    if not isinstance(config, SweepConfig):
        raise LoraError(f"--resume: {run.name} is no sweep, but a run of %lora_{run.verb}.")
    if not attach.is_over(run):
        raise LoraError(f"--resume: {run.name} is {run.status}, it needs no resuming.")
    statuses = [each.status for each in sweep_state(run).trials]
    if all(status in ("completed", "failed") for status in statuses):
        failed = statuses.count("failed")
        more = f", {failed} of them failed, which would fail again" if failed else ""
        raise LoraError(f"--resume: all {len(statuses)} trials of {run.name} are over{more}.")
    return run, config
