"""`test`: loss and perplexity on the test rows."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import BACKGROUND, Call, Command
from lora_nb.config import TestConfig

__all__ = ["COMMAND"]


def run(call: Call) -> api.Run:
    """Start a test run and watch it."""
    call.refuse_words()
    return api.start(call.config(TestConfig), background=call.on("background"))


COMMAND = Command(
    "test",
    "Loss and perplexity on the test rows, of a model with or without an adapter.",
    run,
    kind=TestConfig,
    extra=(BACKGROUND,),
    cell="yaml",
    about="The same YAML as for training may be given with -c. Result: a Run.",
)
