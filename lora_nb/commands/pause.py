"""`pause`: let a training wait."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import Call, Command, only_run_name
from lora_nb.commands.steer import answered

__all__ = ["COMMAND"]


def run(call: Call) -> None:
    """Ask a run to wait, and print its answer."""
    run = api.attach(only_run_name(call))
    print(answered(run, "pause", run.pause))


COMMAND = Command(
    "pause",
    "Let a training wait after its step.",
    run,
    positional="[RUN]",
    completes="run",
    about=(
        "Without a name the latest run. %lora_resume lets it go on; if nobody does within an hour, "
        "it is stopped and saved."
    ),
)
