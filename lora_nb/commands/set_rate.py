"""`set`: another learning rate for a training that runs."""

from __future__ import annotations

from functools import partial

from lora_nb import api
from lora_nb.commands.command import Call, Command, only_run_name
from lora_nb.commands.steer import answered
from lora_nb.config import OWN, Flag
from lora_nb.errors import LoraError

__all__ = ["COMMAND"]

LEARNING_RATE = Flag(
    ("learning_rate",),
    ("--learning-rate",),
    "Learning rate from the next step on; it takes the place of a schedule, too.",
    group=OWN,
    metavar="X",
    is_option=False,
)


def run(call: Call) -> None:
    """Ask a run for another learning rate, and print its answer."""
    run = api.attach(only_run_name(call))
    given = call.parsed.extra.get("learning_rate")
    if given is None:
        raise LoraError("Nothing to set. Give --learning-rate X.")
    try:
        value = float(given)
    except ValueError:
        raise LoraError(f"--learning-rate: '{given}' is no number.") from None
    print(answered(run, "learning_rate", partial(run.set_learning_rate, value)))


COMMAND = Command(
    "set",
    "Give a running training another learning rate.",
    run,
    extra=(LEARNING_RATE,),
    positional="[RUN]",
    completes="run",
    about="Without a name the latest run. A resumed run repeats the change at the same step.",
)
