"""`evaluate`: a validation now."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import Call, Command, only_run_name
from lora_nb.commands.steer import answered

__all__ = ["COMMAND"]


def run(call: Call) -> None:
    """Ask a run for a validation, and print its answer."""
    run = api.attach(only_run_name(call))
    print(answered(run, "evaluate", run.evaluate))


COMMAND = Command(
    "evaluate",
    "Let a training compute its validation loss now.",
    run,
    positional="[RUN]",
    completes="run",
    about="Without a name the latest run. The loss appears in the run's curve.",
)
