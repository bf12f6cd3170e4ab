"""`studio`: the panels for data, training and what comes of it, in tabs."""

from __future__ import annotations

from lora_nb import api
from lora_nb.commands.command import Call, Command
from lora_nb.config import TrainConfig
from lora_nb.display.notebook import in_kernel
from lora_nb.errors import LoraError

__all__ = ["COMMAND"]


def run(call: Call) -> object:
    """Open the studio, a panel, with the options of the line."""
    call.refuse_words()
    if not in_kernel():
        raise LoraError(
            "The studio needs a notebook: use %lora_studio in JupyterLab or Jupyter Notebook. "
            "The commands for a terminal are lora-nb data, train, attach, generate and fuse."
        )
    return api.studio(call.parsed.config_file, **call.parsed.values)


COMMAND = Command(
    "studio",
    "Open the studio: data, training, watching, playground and fusing in one panel with tabs.",
    run,
    kind=TrainConfig,
    about=(
        "It needs a notebook. The options are those of %lora_train, and fill in the form to begin "
        "with; without any, the embedded demo is chosen. Result: a Studio; its .form.config is "
        "what the form describes, .run the run."
    ),
)
