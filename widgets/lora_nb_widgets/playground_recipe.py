"""A request of the playground as code: a magic where that can say it, else a call in Python."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_nb.config import GenerateConfig, as_yaml
from lora_nb_widgets.recipe import Recipe, console_line, recipe_of

__all__ = ["Request", "recipe_for"]


@dataclass(frozen=True)
class Request:
    """What one side is asked: its label, its heading, how its adapter is called, its config."""

    label: str
    title: str
    word: str
    config: GenerateConfig
    values: Mapping[str, Any]

    @property
    def said(self) -> dict[str, Any]:
        """The given options with the adapter as it is called on a line."""
        return {**self.values, **({"adapter_path": self.word} if self.word else {})}


def recipe_for(requests: Sequence[Request]) -> Recipe | None:
    """The requests as code; None for none."""
    if not requests:
        return None
    said = requests[-1].said
    options = {key: value for key, value in said.items() if key != "prompt"}
    line = recipe_of("generate", GenerateConfig, options)
    prompt: str = said["prompt"]
    # A cell loses the empty lines at its ends, and belongs to the prompt, so that options which are
    # no flags have no place there.
    is_cell = prompt == prompt.strip("\n")
    if line.magic.startswith("%%") or not is_cell:
        return _calls(requests)
    flag = _flag(requests)
    magic = " ".join([f"%{line.magic}", *flag])
    console = shlex.join([*flag, "--", prompt])
    return Recipe(f"{magic}\n{prompt}", as_yaml(said), f"{line.console} {console}")


def _calls(requests: Sequence[Request]) -> Recipe:
    """As Python: each side with what it has said itself."""
    calls = [
        f"lora_nb.generate({', '.join(f'{key}={value!r}' for key, value in request.said.items())})"
        for request in requests
    ]
    prompt: str = requests[-1].said["prompt"]
    options = {key: value for key, value in requests[-1].said.items() if key != "prompt"}
    return Recipe(
        "\n".join(["import lora_nb", *calls]),
        as_yaml(options),
        console_line("generate", _flag(requests), options, ("--", prompt)),
    )


def _flag(requests: Sequence[Request]) -> list[str]:
    """The flag for both sides. With what each has said itself, one command can only be one side."""
    compares = len(requests) > 1 and "history" not in requests[-1].values
    return ["--compare"] if compares else []
