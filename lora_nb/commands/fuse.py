"""`fuse`: put an adapter into its base model."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import BACKGROUND, Call, Command
from lora_nb.config import FuseConfig

__all__ = ["COMMAND"]


def run(call: Call) -> api.Run:
    """Start a fusing and watch it."""
    call.refuse_words()
    return api.start(call.config(FuseConfig), background=call.on("background"))


COMMAND = Command(
    "fuse",
    "Put an adapter into its base model, and check that the result answers as the two did.",
    run,
    kind=FuseConfig,
    extra=(BACKGROUND,),
    cell="yaml",
    about=(
        "The result is a folder that --model takes here and in mlx-lm, complete or not there. It "
        "is loaded again and compared with base and adapter; .fidelity of the result, a Run, has "
        "the figures."
    ),
)
