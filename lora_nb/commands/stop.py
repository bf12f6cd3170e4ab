"""`stop`: end a run, saved or at once."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import Call, Command, only_run_name
from lora_nb.config import OWN, Flag

__all__ = ["COMMAND"]

ABORT = Flag(
    ("abort",),
    ("--abort",),
    "End it at once; what it has learnt since its last checkpoint is lost.",
    group=OWN,
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
    about=(
        "Without a name the latest run. A training that was stopped goes on with %lora_train "
        "--resume RUN, a sweep with %lora_sweep --resume RUN."
    ),
)
