"""A training that was over and could not go on: it is what it was before."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path

from lora_nb.runs.events import Ended, Resumed, Resuming
from lora_nb.runs.folder import RunFolder
from lora_nb.runs.whole_file import write_whole

__all__ = ["as_it_stood"]


def as_it_stood(run: RunFolder, failed: Ended) -> Ended:
    """The end to be told of a run that has failed.

    If it failed before what its checkpoint holds was back, that is its earlier end with the
    reason, and its config is the earlier one again. A run that had told no end has failed.
    """
    if run.verb != "train":
        # Only trainings tell when they are back.
        return failed
    events = [record.event for record in run.records()]
    starts = [place for place, event in enumerate(events) if isinstance(event, Resuming)]
    if not starts or any(isinstance(event, Resumed) for event in events[starts[-1] :]):
        return failed
    before = events[starts[-1] - 1] if starts[-1] else None
    if not isinstance(before, Ended):
        return failed
    # On a full disk the end is told all the same.
    with suppress(OSError):
        _put_back(run.config_path, run.earlier_config_path.read_text(encoding="utf-8"))
    return dataclasses.replace(before, refused=failed.message)


def _put_back(path: Path, text: str) -> None:
    if path.read_text(encoding="utf-8") != text:
        write_whole(path, text)
