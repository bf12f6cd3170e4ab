"""`generate`: text from a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_nb import api
from lora_nb.commands.command import Call, Command
from lora_nb.config import OWN, Flag, GenerateConfig
from lora_nb.errors import LoraError

if TYPE_CHECKING:
    from lora_nb.display import Generated

__all__ = ["COMMAND"]

COMPARE = Flag(
    ("compare",),
    ("--compare",),
    "Let the base model answer too, side by side with the adapter.",
    group=OWN,
    is_switch=True,
    is_option=False,
)
RELEASE = Flag(
    ("release",),
    ("--release",),
    "Free the memory of the model that is kept for the next prompt.",
    group=OWN,
    is_switch=True,
    is_option=False,
)


def run(call: Call) -> Generated | None:
    """Generate, or with --release free the memory."""
    if call.on("release"):
        print("The model is out of memory." if api.release() else "No model was in memory.")
        return None
    words = " ".join(call.parsed.rest)
    # IPython ends every cell with a newline, which is no part of the prompt.
    cell = (call.cell or "").strip("\n")
    prompt = {"prompt": text} if (text := cell or words) else {}
    if cell and words:
        raise LoraError("The prompt stands both on the line and in the cell. Give one of the two.")
    given = Call(call.parsed).config(GenerateConfig, **prompt)
    if call.on("compare") and not given.adapter_path:
        given = Call(call.parsed).config(GenerateConfig, adapter_path="adapters", **prompt)
    return api.generated(given, compare=call.on("compare"))


COMMAND = Command(
    "generate",
    "Generate text with a base model, an adapter, or both side by side.",
    run,
    kind=GenerateConfig,
    extra=(COMPARE, RELEASE),
    positional="PROMPT",
    cell="prompt",
    about=(
        "The prompt is the rest of the line, or the cell below %%lora_generate. The model stays "
        "in a process of its own for the next prompt, until it has been idle for ten minutes. "
        "Result: the text, with statistics in .stats."
    ),
)
