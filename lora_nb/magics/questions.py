"""Let a prompt end with a question mark.

IPython reads any line that ends with `?` as a wish for help, so `%lora_generate How old is Bob?`
would never reach the magic. A line with a prompt is turned into the call before that happens;
`%lora_generate?` stays a wish for help.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from IPython.core.interactiveshell import InteractiveShell

from lora_nb.commands.table import COMMANDS
from lora_nb.errors import LoraError
from lora_nb.magics.line import words_of

__all__ = ["install", "remove"]

_LINE = re.compile(
    r"^(?P<head>\s*(?:[\w, ]+=\s*)?)%lora_(?P<verb>\w+)[ \t]+(?P<words>[^\n]*\?)[ \t]*\n?$"
)


def keep_questions(lines: list[str]) -> list[str]:
    """The lines of a cell, those with a question as a prompt made into calls."""
    if lines and lines[0].startswith("%%"):
        return lines
    kept: list[str] = []
    for group in _continued(lines):
        whole = _joined(group)
        made = _call_of(whole)
        kept += group if made == whole else [made]
    return kept


def _continued(lines: list[str]) -> Iterator[list[str]]:
    """Each line with those that continue it after a backslash."""
    group: list[str] = []
    for line in lines:
        group.append(line)
        if not line.rstrip().endswith("\\"):
            yield group
            group = []
    if group:
        yield group


def _joined(group: list[str]) -> str:
    """A continued line as IPython joins it for magics."""
    return " ".join([*(line.rstrip()[:-1] for line in group[:-1]), group[-1]])


def _call_of(line: str) -> str:
    found = _LINE.match(line)
    command = COMMANDS.get(found["verb"]) if found else None
    if found is None or command is None or command.cell != "prompt":
        return line
    try:
        prompt = words_of(found["words"], command)[-1]
    except LoraError:
        return line
    if not prompt.strip("? "):
        return line
    name = f"lora_{found['verb']}"
    call = f"get_ipython().run_line_magic({name!r}, {found['words']!r})"
    return f"{found['head']}{call}\n"


def install(shell: InteractiveShell) -> None:
    """Look at every cell before IPython does, once."""
    if keep_questions not in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.append(keep_questions)


def remove(shell: InteractiveShell) -> None:
    """Look no more."""
    if keep_questions in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(keep_questions)
