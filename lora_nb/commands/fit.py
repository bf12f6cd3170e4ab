"""`fit`: try whether a training fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_nb import api
from lora_nb.commands.command import Call, Command
from lora_nb.config import FitConfig

if TYPE_CHECKING:
    from lora_nb.fitting.report import FitReport

__all__ = ["COMMAND"]


def run(call: Call) -> FitReport:
    """Try a training."""
    call.refuse_words()
    return api.tried(call.config(FitConfig))


COMMAND = Command(
    "fit",
    "Try whether a training fits into memory, how long it takes, and what to change if not.",
    run,
    kind=FitConfig,
    cell="yaml",
    about=(
        "Takes the options of %lora_train. One step on the longest batch is taken in a process of "
        "its own, and its memory compared with what the device has. Result: a FitReport with "
        ".fits, .verdict, .proposal and .frame, the changes that were looked at."
    ),
)
