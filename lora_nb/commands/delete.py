"""`delete`: remove runs and their checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_nb import api
from lora_nb.commands.command import Call, Command
from lora_nb.config import OWN, Flag

if TYPE_CHECKING:
    from lora_nb.history.deletion import Deletion

__all__ = ["COMMAND"]

YES = Flag(
    ("yes",),
    ("--yes",),
    "Delete them for good. Without it, what would go is shown.",
    group=OWN,
    is_switch=True,
    is_option=False,
)
TRIALS = Flag(
    ("trials",),
    ("--trials",),
    "With a sweep, delete the runs of its trials, too.",
    group=OWN,
    is_switch=True,
    is_option=False,
)


def run(call: Call) -> Deletion:
    """Show what would go, or delete it."""
    return api.delete(*call.parsed.rest, yes=call.on("yes"), trials=call.on("trials"))


COMMAND = Command(
    "delete",
    "Delete runs with their checkpoints; without --yes only show what would go.",
    run,
    extra=(YES, TRIALS),
    positional="RUN ...",
    completes="run",
    about=(
        "A run that goes on is refused, and so is what lies outside the folder of runs; links are "
        "not followed. Adapters that were published elsewhere stay. Result: a Deletion with .frame."
    ),
)
