"""`doctor`: what this machine has and lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_nb import api
from lora_nb.commands.command import Call, Command

if TYPE_CHECKING:
    from lora_nb.environment_report.report import Report

__all__ = ["COMMAND"]


def run(call: Call) -> Report:
    """Look at the environment."""
    call.refuse_words()
    return api.doctor()


COMMAND = Command(
    "doctor",
    "Show what this machine has and lacks: backend, BLAS, memory, versions, what to install.",
    run,
    about="Result: a Report; printed, it is what to send with a question.",
)
