"""`sweep`: train once with each combination of several values."""

from __future__ import annotations

import dataclasses

from lora_nb import api
from lora_nb.commands.command import BACKGROUND, Call, Command, resume_flag
from lora_nb.config import SweepConfig
from lora_nb.config.several import between_commas, spread
from lora_nb.errors import LoraError

__all__ = ["COMMAND"]

RESUME = resume_flag(
    "Go on with the trials of a sweep that are not over: its run's name, or latest."
)


def run(call: Call) -> api.Run:
    """Start a sweep, or let one go on, and watch it."""
    call.refuse_words()
    name = call.parsed.extra.get("resume")
    if name is None:
        values = spread(call.parsed.values, between_commas)
        given = Call(dataclasses.replace(call.parsed, values=values), call.cell)
        return api.start(given.config(SweepConfig), background=call.on("background"))
    if call.parsed.values or call.parsed.config_file or (call.cell or "").strip():
        raise LoraError("--resume: the options are the sweep's own. Give nothing beside its name.")
    return api.resumed_sweep(name, background=call.on("background"))


COMMAND = Command(
    "sweep",
    "Train once with each combination of several values, one training after another.",
    run,
    kind=SweepConfig,
    extra=(RESUME, BACKGROUND),
    cell="yaml",
    about=(
        "Takes the options of %lora_train. One with commas is swept: --learning-rate 1e-5,1e-4 "
        "--rank 4,8 makes four trials. In YAML, lists stand below the key sweep, also for switches "
        "and for options that are lists: sweep: {mask_prompt: [true, false]}. All values are "
        "checked before the first trial starts. Each trial is a run like any other, with an "
        "adapter of its own; one that fails does not end the others. %lora_stop and an interrupt "
        "end the running trial, saved, and the sweep; --resume goes on with it. If the sweep's "
        "own process is killed, the running trial ends by itself, and --resume counts it. Result: "
        "a Sweep, a Run with .leaderboard, .trials and .best."
    ),
)
