"""The words of a magic line: quotes respected, a prompt kept as it is written."""

from __future__ import annotations

import re
import shlex

from lora_nb.commands.command import Command
from lora_nb.config.flags import flag_table, looks_like_flag
from lora_nb.errors import LoraError

__all__ = ["words_of"]

_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\]|["'\\])+""")
_UNFILLED = re.compile(r"\{[A-Za-z_][^{}]*\}")


def words_of(line: str, command: Command) -> list[str]:
    """The words of a line as a shell would see them; a prompt is one word, quotes and all.

    Raises LoraError for a `{name}` that no variable has filled, and for an open quote.
    """
    if command.cell == "prompt":
        flags, prompt = _cut_prompt(line, command)
        words = _split(flags)
        return [*words, "--", prompt] if prompt else words
    unfilled = _UNFILLED.search(line)
    if unfilled:
        raise LoraError(f"{unfilled.group()} is not filled in: there is no such variable.")
    return _split(line)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        raise LoraError(f"A quote is not closed in: {text.strip()}") from None


def _cut_prompt(line: str, command: Command) -> tuple[str, str]:
    """Flags up to the first word that is none, and the rest of the line."""
    table = flag_table(command.flags)
    awaits_value = False
    for match in _WORD.finditer(line):
        word = match.group()
        if awaits_value:
            awaits_value = False
        elif word == "--":
            return line[: match.start()], _unquoted(line[match.end() :])
        elif looks_like_flag(word):
            known = table.get(word)
            awaits_value = known is not None and not known[0].is_switch
        else:
            return line[: match.start()], _unquoted(line[match.start() :])
    return line, ""


def _unquoted(text: str) -> str:
    """The text without a pair of quotes around all of it."""
    text = text.strip()
    for quote in "\"'":
        if len(text) > 1 and text[0] == text[-1] == quote and quote not in text[1:-1]:
            return text[1:-1]
    return text
