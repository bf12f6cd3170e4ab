"""`train`: fine-tune a model."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import BACKGROUND, Call, Command
from lora_nb.config import TrainConfig

__all__ = ["COMMAND"]


def run(call: Call) -> api.Run:
    """Start a training run and watch it."""
    call.refuse_words()
    return api.start(call.config(TrainConfig), background=call.on("background"))


COMMAND = Command(
    "train",
    "Fine-tune a model with LoRA, QLoRA, DoRA or in full.",
    run,
    kind=TrainConfig,
    extra=(BACKGROUND,),
    cell="yaml",
    about=(
        "Options come from a YAML file (-c), from the cell below %%lora_train, and from flags, "
        "which win. The model is fine-tuned in a process of its own: an interrupt stops it "
        "after the step and saves, a second one ends it at once. Result: a Run."
    ),
)
