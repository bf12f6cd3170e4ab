"""The table of magics of the documentation, made from the table of commands.

`python -m lora_nb.commands.docs` writes `docs/magics.md`; with `--check` it only says whether the
file is in step. Another file may be named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lora_nb.commands.command import Command
from lora_nb.commands.table import COMMANDS
from lora_nb.config import Flag
from lora_nb.config.docs import table_cell, write_or_check

__all__ = ["magics_page", "main"]

_PAGE = Path("docs/magics.md")

_HEAD = """# Magics

Made from `lora_nb/commands/` by `make docs`; edit it there. `%load_ext lora_nb` brings them all.
`%lora_NAME?` shows the flags of one, TAB completes flags, runs and paths. Magics with `%%` also
take the cell below the line: as YAML with options, or as the prompt. [options.md](options.md) lists
the options of training, testing, generating and the others with their defaults; the flags that are
no options, and so never stand in YAML, follow below.

| magic | what it does | on a terminal | words behind it |
|---|---|---|---|
"""

_FLAGS = """
## Flags of their own

| magic | flag | what it does |
|---|---|---|
"""


def magics_page() -> str:
    """The page in Markdown: a row for each command."""
    flags = (_flag_row(each, flag) for each in COMMANDS.values() for flag in each.extra)
    return _HEAD + "".join(map(_row, COMMANDS.values())) + _FLAGS + "".join(flags)


def _flag_row(command: Command, flag: Flag) -> str:
    written = f"{', '.join(flag.names)} {flag.placeholder}".strip()
    cell = table_cell(f"`{written}`")
    return f"| `%lora_{command.name}` | {cell} | {table_cell(flag.help)} |\n"


def _row(command: Command) -> str:
    magic = f"`%lora_{command.name}`" + (f", `%%lora_{command.name}`" if command.cell else "")
    words = f"`{table_cell(command.positional)}`" if command.positional else ""
    return f"| {magic} | {table_cell(command.purpose)} | `lora-nb {command.name}` | {words} |\n"


def main(arguments: Sequence[str]) -> int:
    """Write or check the page; returns the exit status."""
    return write_or_check(arguments, _PAGE, magics_page(), "commands")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
