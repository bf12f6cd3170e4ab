"""The commands on a terminal: `lora-nb train --model demo --data demo`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

from lora_nb import __version__
from lora_nb.errors import LoraError, did_you_mean

__all__ = ["main"]

_HELP = ("-h", "--help", "help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command; returns the exit status (0 done, 1 a problem, 2 wrong use)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        # Where the terminal has ASCII only, a dot is better than an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if words and words[0] == "--version":
        print(f"lora-nb {__version__}")
        return 0
    from lora_nb.commands.table import COMMANDS, call, help_of

    if not words or words[0] in _HELP:
        print(_overview())
        return 0 if words else 2
    command = COMMANDS.get(words[0])
    if command is None:
        hint = did_you_mean(words[0], COMMANDS)
        print(f"lora-nb: there is no command '{words[0]}'.{hint}", file=sys.stderr)
        return 2
    if any(word in _HELP[:2] for word in words[1:]):
        print(help_of(command, f"lora-nb {command.name}"))
        return 0
    try:
        _show(call(command, words[1:]))
    except LoraError as problem:
        print(f"lora-nb: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _overview() -> str:
    from lora_nb.commands.table import COMMANDS

    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.purpose}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "lora-nb COMMAND [flags]",
            "",
            "Fine-tune language models with LoRA and QLoRA on Apple's MLX.",
            "",
            *lines,
            "",
            "lora-nb COMMAND --help shows the flags of a command.",
        ]
    )


def _show(result: Any) -> None:
    """Print a result that is not on the screen yet."""
    import pandas as pd

    from lora_nb.api import Run
    from lora_nb.display import Generated

    if isinstance(result, pd.DataFrame):
        print(result.to_string(index=False) if len(result) else "No runs yet.")
    elif isinstance(result, Run):
        print(result.summary())
    elif result is not None and not isinstance(result, Generated):
        print(result)


if __name__ == "__main__":
    sys.exit(main())
