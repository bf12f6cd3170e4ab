"""Sweeps made by hand: their trials have the events of a worker, and never had one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_nb.config import SweepConfig, load
from lora_nb.runs import launch
from lora_nb.runs.events import Event
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import EventLog
from lora_nb.runs.sweep_state import keep_runs, sweep_state

GRID: dict[str, list[Any]] = {"learning_rate": [1e-4, 1e-3], "rank": [4]}


def sweep_of(**options: Any) -> SweepConfig:
    return load(SweepConfig, flags={"model": "m", "data": "d", "sweep": GRID, **options})


def write(run: RunFolder, *events: Event) -> None:
    with EventLog(run.events_path) as log:
        for event in events:
            log.write(event)


def made_sweep(root: Path, *trials: list[Event], events: list[Event], **options: Any) -> RunFolder:
    """A sweep with these events, and a run for each list of events of a trial."""
    sweep = launch.create(sweep_of(**options), root)
    write(sweep, *events)
    state = sweep_state(sweep)
    for each, told in zip(state.trials, trials, strict=False):
        run = launch.create(each.trial.config, root)
        write(run, *told)
        keep_runs(sweep, state, each.trial, run)
    return sweep
