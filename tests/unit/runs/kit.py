"""Run folders made by hand: with the events that a worker would have left, and without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_nb.config import TrainConfig
from lora_nb.runs import launch
from lora_nb.runs.events import Ended, Event, Started, Status, TrainLoss
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.log import EventLog


def made(root: Path, *events: Event, **options: Any) -> RunFolder:
    """A run that was made, with these events in its log."""
    run = launch.create(TrainConfig(**{"model": "m", "data": "d", **options}), root)
    if events:
        with EventLog(run.events_path) as log:
            for event in events:
                log.write(event)
    return run


def started(pid: int = 1) -> Started:
    """The first event of a run."""
    return Started(verb="train", pid=pid, backend="CPU", blas="none")


def ended(status: Status, message: str = "") -> Ended:
    """The last one."""
    return Ended(status=status, message=message)


def loss(step: int, value: float = 1.0) -> TrainLoss:
    """A report."""
    return TrainLoss(
        step=step,
        steps=10,
        epoch=0.5,
        loss=value,
        learning_rate=1e-5,
        tokens_per_second=1.0,
        iterations_per_second=1.0,
        trained_tokens=10,
        peak_memory=0.1,
        grad_norm=1.0,
        elapsed=1.0,
        eta=1.0,
    )
