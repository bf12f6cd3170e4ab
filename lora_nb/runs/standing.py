"""What of a run's events still counts once it was resumed."""

from __future__ import annotations

from collections.abc import Iterable

from lora_nb.runs.events import CheckpointSaved, Event, Record, Resumed, TrainLoss, ValidLoss

__all__ = ["standing", "voids"]


def voids(resumed: Resumed, event: Event) -> bool:
    """Whether an earlier event is void by a run's going on from a checkpoint: it comes again."""
    match event:
        case TrainLoss(step=step):
            return step > resumed.reported
        case ValidLoss(step=step) | CheckpointSaved(step=step):
            return step > resumed.step
    return False


def standing(records: Iterable[Record]) -> list[Record]:
    """The records without those that are void."""
    kept: list[Record] = []
    for record in records:
        if isinstance(record.event, Resumed):
            resumed = record.event
            kept = [earlier for earlier in kept if not voids(resumed, earlier.event)]
        kept.append(record)
    return kept
