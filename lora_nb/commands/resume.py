"""`resume`: end the pause of a training."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import Call, Command, only_run_name
from lora_nb.commands.steer import answered

__all__ = ["COMMAND"]


def run(call: Call) -> None:
    """Ask a paused run to go on, and print its answer."""
    run = api.attach(only_run_name(call))
    print(answered(run, "resume", run.resume))


COMMAND = Command(
    "resume",
    "End the pause of a training.",
    run,
    positional="[RUN]",
    completes="run",
    about="Without a name the latest run. One that is over goes on with %lora_train --resume RUN.",
)
