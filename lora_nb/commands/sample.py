"""`sample`: what a model says in the midst of its training."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import Call, Command
from lora_nb.commands.steer import sampled
from lora_nb.config import OWN, Flag
from lora_nb.errors import NO_PROMPT, LoraError
from lora_nb.runs.control import SAMPLE_TOKENS

__all__ = ["COMMAND"]

RUN = Flag(
    ("run",),
    ("--run",),
    "The training (default: the latest run).",
    group=OWN,
    metavar="RUN",
    completes="run",
    is_option=False,
)
MAX_TOKENS = Flag(
    ("max_tokens",),
    ("--max-tokens", "-m"),
    f"Longest answer in tokens (default: {SAMPLE_TOKENS}).",
    group=OWN,
    metavar="N",
    is_option=False,
)


def run(call: Call) -> str:
    """Ask a run for a sample, wait for it, and give its text back."""
    words = " ".join(call.parsed.rest)
    prompt = (call.cell or "").strip("\n") or words
    if not prompt.strip():
        raise LoraError(NO_PROMPT)
    wanted = call.parsed.extra.get("max_tokens", SAMPLE_TOKENS)
    if not str(wanted).isdecimal() or int(wanted) < 1:
        raise LoraError(f"--max-tokens: '{wanted}' is no whole number above 0.")
    return sampled(api.attach(call.parsed.extra.get("run") or "latest"), prompt, int(wanted))


COMMAND = Command(
    "sample",
    "Let a training generate from a prompt as it is now.",
    run,
    extra=(RUN, MAX_TOKENS),
    positional="PROMPT",
    cell="prompt",
    about=(
        "The prompt is the rest of the line, or the cell below %%lora_sample. The likeliest token "
        "is taken each time, so that samples differ by the training alone. Result: the text."
    ),
)
