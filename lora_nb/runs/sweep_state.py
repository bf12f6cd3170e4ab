"""Which runs are the trials of a sweep: `sweep.json` in its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_nb.config import SweepConfig
from lora_nb.config.grid import Trial, trials_of
from lora_nb.config.values import said
from lora_nb.errors import LoraError
from lora_nb.runs import store
from lora_nb.runs.adapters import check_free
from lora_nb.runs.events import TrainLoss, ValidLoss
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.standing import standing
from lora_nb.runs.whole_file import write_whole

__all__ = [
    "ADAPTERS",
    "SweepState",
    "TrialResult",
    "TrialRun",
    "check_places",
    "in_words",
    "keep_runs",
    "result_of",
    "results_of",
    "sweep_around",
    "sweep_state",
    "sweep_trials",
    "sweeps_of",
]

ADAPTERS = "adapters"
"""Folder of a sweep's run for what its trials publish, if no other is named."""


@dataclass(frozen=True)
class TrialRun:
    """A trial and its run; None if it has not been started, or if its run is deleted.

    `called` is the name of its run, of a deleted one as well.
    """

    trial: Trial
    run: RunFolder | None
    called: str | None

    @property
    def status(self) -> str:
        """waiting, deleted, or the status of its run."""
        if self.run is not None:
            return self.run.status
        return "deleted" if self.called else "waiting"


@dataclass(frozen=True)
class TrialResult:
    """A trial and what it has reached: losses in nats, NaN where there is none."""

    trial: Trial
    run: RunFolder | None
    status: str
    best: float
    train: float


@dataclass(frozen=True)
class SweepState:
    """All trials of a sweep in their order, and the options in which they differ."""

    options: tuple[str, ...]
    trials: tuple[TrialRun, ...]

    @property
    def names(self) -> dict[int, str]:
        """The names of the runs so far, by the number of the trial."""
        return {each.trial.number: each.run.name for each in self.trials if each.run}


def sweep_trials(sweep: RunFolder) -> list[Trial]:
    """The trials that a sweep was made for. Raises LoraError if it is none."""
    config = sweep.config
    if not isinstance(config, SweepConfig):
        raise LoraError(f"{sweep.name} is no sweep, but a run of %lora_{sweep.verb}.")
    return trials_of(config, str(sweep.path.absolute() / ADAPTERS))


def sweep_state(sweep: RunFolder, trials: Sequence[Trial] | None = None) -> SweepState:
    """The trials of a sweep (`trials`, if they are at hand) and their runs so far.

    Raises LoraError if it is no sweep, or its files are damaged.
    """
    trials = sweep_trials(sweep) if trials is None else trials
    names = _names(sweep.sweep_path)
    return SweepState(
        tuple(trials[0].values) if trials else (),
        tuple(_with_run(sweep.path.parent, each, names.get(each.name)) for each in trials),
    )


def _with_run(root: Path, trial: Trial, name: str | None) -> TrialRun:
    there = name is not None and store.is_run(root / name)
    return TrialRun(trial, RunFolder(root / str(name)) if there else None, name)


def check_places(config: SweepConfig) -> None:
    """Raise LoraError if the adapter of a trial would take the place of another run's."""
    if config.adapter_path and not config.overwrite:
        for trial in trials_of(config):
            check_free(Path(trial.config.adapter_path).expanduser(), None)


def keep_runs(sweep: RunFolder, state: SweepState, added: Trial, run: RunFolder) -> None:
    """Write down that a run is that of a trial. Raises OSError."""
    names = _names(sweep.sweep_path) | {added.name: run.name}
    trials: list[dict[str, Any]] = [
        {"name": each.trial.name, "values": each.trial.values, "run": names.get(each.trial.name)}
        for each in state.trials
    ]
    content = {"format": 1, "options": list(state.options), "trials": trials}
    write_whole(sweep.sweep_path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _names(path: Path) -> dict[str, str]:
    """The names of runs by those of their trials."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = {str(each["name"]): each["run"] for each in values["trials"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        raise LoraError(f"{path} can't be read as the trials of a sweep.") from None
    # The name of a folder beside the sweep's, whatever else may stand there.
    return {
        key: name
        for key, name in found.items()
        if isinstance(name, str) and name.strip(".") and "/" not in name
    }


def sweep_around(run: RunFolder) -> RunFolder | None:
    """The living sweep that a run is a trial of, or None."""
    return next((sweep for sweep in sweeps_of(run) if sweep.is_alive), None)


def sweeps_of(run: RunFolder) -> Iterator[RunFolder]:
    """The sweeps that a run is a trial of: one, or none."""
    for other in store.all_runs(run.path.parent):
        try:
            is_trial = run.name in _names(other.sweep_path).values()
        except LoraError:
            continue
        if is_trial:
            yield other


def results_of(state: SweepState) -> list[TrialResult]:
    """What each trial has reached, in their order."""
    return list(map(result_of, state.trials))


def result_of(each: TrialRun) -> TrialResult:
    """What a trial has reached, by those of its events that a resume has not voided."""
    records = standing(each.run.records()) if each.run else []
    valids = [r.event.loss for r in records if isinstance(r.event, ValidLoss)]
    trains = [r.event.loss for r in records if isinstance(r.event, TrainLoss)]
    best = min(filter(math.isfinite, valids), default=math.nan)
    train = trains[-1] if trains else math.nan
    return TrialResult(each.trial, each.run, each.status, best, train)


def in_words(values: Mapping[str, Any]) -> str:
    """The options of a trial as they are told: `learning_rate 0.0001, rank 8`."""
    return ", ".join(f"{key} {said(value)}" for key, value in values.items())
