"""`compare`: models and adapters side by side on the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lora_nb import api
from lora_nb.commands.command import Call, Command
from lora_nb.config import CompareConfig

if TYPE_CHECKING:
    from lora_nb.display.comparison import Comparison

__all__ = ["COMMAND"]


def run(call: Call) -> Comparison:
    """Let those on the line answer."""
    words = call.parsed.rest
    named: dict[str, Any] = {"contenders": words} if words else {}
    return api.compared(call.config(CompareConfig, **named))


COMMAND = Command(
    "compare",
    "Let models and adapters answer the same rows, side by side, and compare their losses.",
    run,
    kind=CompareConfig,
    positional="[WHAT ...]",
    completes="adapter",
    cell="yaml",
    about=(
        "WHAT is base, an adapter folder, a run, run@step for a checkpoint, or the folder or run "
        "of a fused model; base and adapters if nothing is named. Result: a Comparison with .frame "
        "(the rows with the highest loss of the last one first) and .summary."
    ),
)
