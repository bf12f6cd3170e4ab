"""A run watched in the cell or terminal that has asked for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lora_nb.display.live import watch
from lora_nb.display.screen import Screen
from lora_nb.runs import attach, control
from lora_nb.runs.folder import RunFolder

__all__ = ["watch_run"]


def watch_run(
    run: RunFolder,
    *,
    on_interrupt: Callable[[int], None] | None = None,
    screen: Screen | None = None,
) -> None:
    """Show a run to its end. Interrupts stop it, then end it at once, unless told otherwise."""
    watch(
        str(run.path),
        partial(attach.follow, run),
        on_interrupt=on_interrupt or partial(control.interrupt, run),
        status=lambda: run.status,
        screen=screen,
    )
