"""`diff`: where runs differ, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_nb import api
from lora_nb.commands.command import Call, Command

if TYPE_CHECKING:
    from lora_nb.history.differences import Differences

__all__ = ["COMMAND"]


def run(call: Call) -> Differences:
    """Compare the runs of the line."""
    return api.diff(*call.parsed.rest)


COMMAND = Command(
    "diff",
    "Show the options in which runs differ, and their results side by side.",
    run,
    positional="RUN RUN ...",
    completes="run",
    about=(
        "RUN is a run's name, or a part of it that fits no other. Result: Differences with .frame "
        "(only options that differ) and .results."
    ),
)
