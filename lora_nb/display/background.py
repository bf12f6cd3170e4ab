"""Watching a run from the side, while further cells are run."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from pathlib import Path

from lora_nb.display.live import Follow, LiveView
from lora_nb.display.screen import Screen, screen_here
from lora_nb.errors import LoraError

__all__ = ["monitor"]


def monitor(
    run_path: str, follow: Follow, status: Callable[[], str], *, screen: Screen | None = None
) -> threading.Thread:
    """Show the run in this cell's output from a daemon thread, until it ends; return the thread.

    Outside a notebook nothing is shown, since lines of a thread would cut into the prompt.
    """
    shown_on = screen or screen_here(Path(run_path).name, background=True)
    view = LiveView(run_path, screen=shown_on, notes_warnings=True)
    # The output must be made by the cell that asks for it; the thread then only replaces it.
    view.tick()
    # Without the copied context, newer kernels send a thread's output to whichever cell ran last.
    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run,
        args=(_follow, view, follow, status),
        name=f"lora_nb monitor of {run_path}",
        daemon=True,
    )
    thread.start()
    return thread


def _follow(view: LiveView, follow: Follow, status: Callable[[], str]) -> None:
    try:
        for record in follow(idle=view.tick):
            view.feed(record)
        view.close(status())
    except (OSError, ValueError, LoraError) as problem:
        # The run's folder may be moved or deleted meanwhile; a thread has nobody to raise to.
        view.say(f"no longer watched: {problem}")
