"""Showing a run: to its end in the cell that asks, or in the background."""

from __future__ import annotations

from functools import partial

from lora_nb.display import monitor
from lora_nb.display.foreground import watch_run
from lora_nb.display.notebook import is_leaving
from lora_nb.display.screen import Screen
from lora_nb.errors import LoraError
from lora_nb.runs import attach, control
from lora_nb.runs.death import explain
from lora_nb.runs.folder import RunFolder

__all__ = ["monitored", "watched"]


def _screen(folder: RunFolder, *, background: bool = False) -> Screen | None:
    """What a sweep is shown on; other runs are shown as ever."""
    if folder.verb != "sweep":
        return None
    from lora_nb.sweeping.screen import SweepScreen

    return SweepScreen(folder, background=background)


def monitored(folder: RunFolder) -> None:
    """Show a run from a thread, while the cell goes on."""
    screen = _screen(folder, background=True)
    follow = partial(attach.follow, folder)
    monitor(str(folder.path), follow, lambda: folder.status, screen=screen)


class _DetachedError(Exception):
    """The watching was interrupted; the run goes on."""


def watched(folder: RunFolder, *, owner: bool) -> None:
    """Show a run to its end. An interrupt stops it if this cell has started it (`owner`).

    Raises LoraError if the run is no success.
    """

    def interrupted(count: int) -> None:
        # A restart of the kernel begins with an interrupt, too, but is no wish to stop the run.
        if not owner or is_leaving():
            raise _DetachedError
        control.interrupt(folder, count)

    try:
        watch_run(folder, on_interrupt=interrupted, screen=_screen(folder))
    except _DetachedError:
        print(f"No longer watched, but going on. %lora_stop {folder.name} stops it.")
        return
    problem = _problem(folder)
    if problem is not None:
        raise LoraError(problem)


def _problem(folder: RunFolder) -> str | None:
    """Why a run is no success, or None."""
    status, end = folder.status, folder.ended
    if end is not None and end.refused:
        return end.refused
    if status == "crashed":
        tail = folder.log_tail(3)
        words = f" Its last words:\n{tail}" if tail else ""
        return f"{explain(folder)}{words}"
    if status not in ("failed", "aborted"):
        return None
    return end.message if end else f"{folder.name}: {status}."
