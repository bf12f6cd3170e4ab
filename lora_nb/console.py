"""The commands on a terminal: `lora-nb train --model demo --data demo`."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from lora_nb import __version__
from lora_nb.errors import LoraError, did_you_mean

__all__ = ["main"]

_HELP = ("-h", "--help")
_NOBODY_READS = 141
# The studio is for notebooks alone.
_MAGIC = re.compile(r"(?<!%)%lora_(?!studio\b)(\w+)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command; returns the exit status.

    0 done, 1 a problem, 2 wrong use, 130 interrupted, 141 nobody reads what is printed.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        # Where the terminal has ASCII only, a dot is better than an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        status = _answered(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # As after `| head`. What is still to be written would be complained of at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOBODY_READS
    return status


def _answered(words: list[str]) -> int:
    if words and words[0] == "--version":
        print(f"lora-nb {__version__}")
        return 0
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if not words or words[0] in _HELP:
        print(_overview())
        return 0 if words else 2
    return _carried_out(words[0], words[1:])


def _carried_out(name: str, words: Sequence[str]) -> int:
    from lora_nb.commands.table import COMMANDS, call, help_of

    command = COMMANDS.get(name)
    if command is None:
        hint = did_you_mean(name, COMMANDS)
        print(f"lora-nb: there is no command '{name}'.{hint}", file=sys.stderr)
        return 2
    if any(word in _HELP for word in words):
        print(_for_terminal(help_of(command, f"lora-nb {command.name}")))
        return 0
    try:
        _show(call(command, words))
    except LoraError as problem:
        print(f"lora-nb: {_for_terminal(str(problem))}", file=sys.stderr)
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
            _for_terminal("\n".join(lines)),
            "",
            "lora-nb COMMAND --help shows the flags of a command, lora-nb --version the version.",
            "",
            "To begin with, on the embedded model and data:",
            "  lora-nb train --model demo --data demo --iters 200",
            '  lora-nb generate --model demo --adapter-path adapters --compare "How old is Bob?"',
            "  lora-nb runs",
        ]
    )


def _for_terminal(text: str) -> str:
    """The text with magics that it names as commands; a cell's magic, `%%...`, stays one."""
    return _MAGIC.sub(r"lora-nb \1", text)


def _show(result: Any) -> None:
    """Print a result that is not on the screen yet."""
    import pandas as pd

    from lora_nb.api import Run
    from lora_nb.display import Generated

    if isinstance(result, pd.DataFrame):
        print(result.to_string(index=False) if len(result) else _none_listed())
    elif isinstance(result, Run):
        print(_for_terminal(result.summary()))
    elif isinstance(result, str):
        print(result)
    elif result is not None and not isinstance(result, Generated):
        print(_for_terminal(str(result)))


def _none_listed() -> str:
    from lora_nb.runs import store

    return "No run fits." if store.all_runs() else "No runs yet."


if __name__ == "__main__":
    sys.exit(main())
