"""`attach`: look at a run again, live or over."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import BACKGROUND, Call, Command, only_run_name

__all__ = ["COMMAND"]


def run(call: Call) -> api.Run:
    """Follow a live run to its end, or show one that is over."""
    run = api.attach(only_run_name(call))
    # Not whether its worker lives: that takes a moment to go after its last word.
    if run.status not in ("starting", "running", "paused"):
        return run
    return run.watch(background=call.on("background"))


COMMAND = Command(
    "attach",
    "Follow a live run to its end, or show one that is over.",
    run,
    extra=(BACKGROUND,),
    positional="[RUN]",
    completes="run",
    about=(
        "Without a name the latest run. An interrupt ends the watching; the run goes on. Result: a "
        "Run with .metrics, .checkpoints, .plot() and more."
    ),
)
