"""`plot`: the loss curves of several runs in one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_nb import api
from lora_nb.commands.command import Call, Command
from lora_nb.config import OWN, Flag

if TYPE_CHECKING:
    from lora_nb.history.overlay import Overlay

__all__ = ["COMMAND"]

SAVE = Flag(
    ("save",),
    ("--save",),
    "Also write the picture to a file: .png, .svg or .pdf.",
    group=OWN,
    completes="path",
    metavar="FILE",
    is_option=False,
)


def run(call: Call) -> Overlay:
    """Draw the runs of the line, by default the latest one."""
    drawn = api.plot(*call.parsed.rest)
    file = call.parsed.extra.get("save")
    if file is not None:
        print(f"Written to {drawn.save(file)}.")
    return drawn


COMMAND = Command(
    "plot",
    "Draw the losses of several runs in one picture, named after what differs between them.",
    run,
    extra=(SAVE,),
    positional="[RUN ...]",
    completes="run",
    about=(
        "RUN is a run's name, a part of the names of several, or a sweep, which stands for its "
        "trials; without any the latest run. Training is faint, validation strong, the lowest "
        "validation loss of those that have not failed ringed. Result: an Overlay with .figure and"
        " .save()."
    ),
)
