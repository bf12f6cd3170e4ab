"""`upload`: a model, or an adapter alone, to the Hugging Face Hub."""

from __future__ import annotations

from typing import Any

from lora_nb import api
from lora_nb.commands.command import BACKGROUND, Call, Command
from lora_nb.config import UploadConfig
from lora_nb.errors import LoraError

__all__ = ["COMMAND"]


def run(call: Call) -> api.Run:
    """Start an upload and watch it."""
    words = call.parsed.rest
    if len(words) > 1:
        raise LoraError(f"One folder or run at a time, please: got {', '.join(words)}.")
    named: dict[str, Any] = {"path": words[0]} if words else {}
    return api.start(call.config(UploadConfig, **named), background=call.on("background"))


COMMAND = Command(
    "upload",
    "Upload a model, or an adapter alone, to the Hugging Face Hub.",
    run,
    kind=UploadConfig,
    extra=(BACKGROUND,),
    positional="WHAT",
    completes="adapter",
    cell="yaml",
    about=(
        "WHAT is the folder of a model or adapter, or the run that made it. Only files that belong "
        "to it go, none with a secret; the list is shown first. The repository is private unless "
        "--public. An upload that was cut off goes on when the same is called again. It needs "
        "`hf auth login`, or HF_TOKEN. Result: a Run."
    ),
)
