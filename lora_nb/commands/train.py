"""`train`: fine-tune a model."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import BACKGROUND, Call, Command, resume_flag
from lora_nb.config import TrainConfig
from lora_nb.errors import LoraError

__all__ = ["COMMAND"]

RESUME = resume_flag(
    "Let a training that is over go on exactly where it was: a run's name, or latest."
)


def run(call: Call) -> api.Run:
    """Start a training run, or let one go on, and watch it."""
    call.refuse_words()
    name = call.parsed.extra.get("resume")
    if name is not None:
        if call.parsed.config_file is not None or (call.cell or "").strip():
            raise LoraError(
                "--resume: the config is the run's own, so neither -c nor a cell is taken. "
                "Give flags for what changes, e.g. --iters 1200."
            )
        return api.resumed(name, call.parsed.values, background=call.on("background"))
    return api.start(call.config(TrainConfig), background=call.on("background"))


COMMAND = Command(
    "train",
    "Fine-tune a model with LoRA, QLoRA, DoRA or in full.",
    run,
    kind=TrainConfig,
    extra=(RESUME, BACKGROUND),
    cell="yaml",
    about=(
        "Options come from a YAML file (-c), in a notebook also from the cell below %%lora_train, "
        "and from flags, which win. The model is fine-tuned in a process of its own: an interrupt "
        "stops it after the step and saves, a second one ends it at once. A training that was "
        "stopped or killed goes on with --resume, a finished one with more --iters. Result: a Run."
    ),
)
