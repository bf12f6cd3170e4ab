"""How the trials of a sweep stand: read from their folders, again and again while it goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_nb.config.grid import Trial
from lora_nb.display.state import RunState
from lora_nb.display.words import loss
from lora_nb.runs import ranking
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import Tail
from lora_nb.runs.sweep_state import TrialRun, in_words, sweep_state, sweep_trials

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Board", "Row"]

DOT = " \N{MIDDLE DOT} "


@dataclass(frozen=True)
class Row:
    """A trial: its run if it has one, its status in a word, and what its events say."""

    trial: Trial
    run: RunFolder | None
    status: str
    state: RunState

    @property
    def best(self) -> float:
        """Its lowest validation loss; NaN before the first validation."""
        return self.state.best.loss if self.state.best else math.nan

    @property
    def train(self) -> float:
        """Its last training loss; NaN before the first report."""
        return self.state.train.loss if self.state.train else math.nan


class Board:
    """All trials of a sweep. `look` reads what is new since the last look."""

    def __init__(self, sweep: RunFolder) -> None:
        self.sweep = sweep
        self._trials = sweep_trials(sweep)
        self.rows: list[Row] = []
        self._read: dict[str, tuple[Tail, RunState]] = {}
        self.look()

    def look(self) -> None:
        """Read on. Raises LoraError if the sweep's own files are damaged."""
        self.rows = [self._row(each) for each in sweep_state(self.sweep, self._trials).trials]

    def _row(self, each: TrialRun) -> Row:
        run = each.run
        if run is None:
            return Row(each.trial, None, each.status, RunState())
        # Looked at before reading: what a worker wrote before its end is then never missed.
        alive = run.is_alive
        tail, state = self._read.setdefault(run.name, (Tail(run.events_path), RunState()))
        for record in tail.poll():
            state.feed(record.event)
        return Row(each.trial, run, _status(state, alive=alive), state)

    def ranked(self) -> list[Row]:
        """The trials, the best first."""
        return ranking.ranked(self.rows)

    def first(self) -> Row | None:
        """The best trial with a validation that has not failed, or None."""
        return ranking.first(self.rows)

    def states(self) -> dict[str, RunState]:
        """What the events of each trial say, by its options in words."""
        return {in_words(row.trial.values): row.state for row in self.rows}

    def line(self) -> str:
        """Where the sweep is: the trial that is going on, and the best one so far."""
        words = [*self._going_on(), *self.best()]
        if not words:
            waiting = sum(row.status == "waiting" for row in self.rows)
            return f"{len(self.rows)} trials, {waiting} waiting"
        return DOT.join(words)

    def _going_on(self) -> list[str]:
        for row in self.rows:
            if row.status in ("starting", "running", "paused"):
                told = [f"trial {row.trial.number}/{len(self.rows)}"]
                if row.status == "paused":
                    told.append("paused")
                if row.state.train:
                    told.append(f"step {row.state.train.step}/{row.state.train.steps}")
                    told.append(f"train {loss(row.state.train.loss)}")
                return told
        return []

    def best(self) -> list[str]:
        """The lowest validation loss so far and its options in words, or nothing."""
        first = self.first()
        if first is None:
            return []
        return [f"best {loss(first.best)}: {in_words(first.trial.values)}"]

    def frame(self) -> DataFrame:
        """A row for each trial, the best first: its number, options, status, losses and run."""
        import pandas as pd

        frame = pd.DataFrame([_cells(row) for row in self.ranked()])
        return frame.astype({"at_step": "Int64", "steps": "Int64"})


def _status(state: RunState, *, alive: bool) -> str:
    """That of a run, without reading all of its events anew."""
    if state.ended:
        return state.ended.status
    if not alive:
        return "crashed"
    return state.status if state.started else "starting"


def _cells(row: Row) -> dict[str, Any]:
    state = row.state
    seconds = state.ended.seconds if state.ended else state.train.elapsed if state.train else None
    return {
        "trial": row.trial.number,
        **row.trial.values,
        "status": row.status,
        "best_valid": row.best,
        "at_step": state.best.step if state.best else None,
        "train_loss": row.train,
        "steps": state.step,
        "seconds": math.nan if seconds is None else seconds,
        "run": row.run.name if row.run else "",
    }
