"""`convert`: quantise a model, dequantise it, or change the type of its weights."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import BACKGROUND, Call, Command
from lora_nb.config import ConvertConfig

__all__ = ["COMMAND"]


def run(call: Call) -> api.Run:
    """Start a conversion and watch it."""
    call.refuse_words()
    return api.start(call.config(ConvertConfig), background=call.on("background"))


COMMAND = Command(
    "convert",
    "Quantise a model, dequantise it, or change the type of its weights.",
    run,
    kind=ConvertConfig,
    extra=(BACKGROUND,),
    cell="yaml",
    about=(
        "The result is a folder that --model takes here and in mlx-lm. It is complete or not "
        "there: a stopped conversion leaves nothing behind. Result: a Run."
    ),
)
