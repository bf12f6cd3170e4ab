"""`stop`: end a run, saved or at once."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import Call, Command, only_run_name
from lora_nb.config import Flag

__all__ = ["COMMAND"]

ABORT = Flag(
    ("abort",),
    ("--abort",),
    "End it at once, without saving.",
    group="Here",
    is_switch=True,
    is_option=False,
)


def run(call: Call) -> None:
    """Ask a run to stop and wait a moment for its answer."""
    run = api.attach(only_run_name(call))
    if call.on("abort"):
        run.abort()
    else:
        run.stop()
    print(f"{run.name}: {run.settle()}")


COMMAND = Command(
    "stop",
    "Stop a run after its step and save what it has learnt.",
    run,
    extra=(ABORT,),
    positional="[RUN]",
    completes="run",
    about="Without a name the latest run.",
)
