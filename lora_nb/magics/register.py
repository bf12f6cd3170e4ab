"""Give the commands to a shell as magics, and take them away again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import needs_local_scope, no_var_expand

from lora_nb.commands.command import Command
from lora_nb.commands.table import COMMANDS, call, help_of
from lora_nb.magics import completion, questions
from lora_nb.magics.line import words_of
from lora_nb.magics.variables import Variables, takes_data

__all__ = ["register", "unregister"]


def register(shell: InteractiveShell) -> None:
    """Register `%lora_...` for every command; doing it again changes nothing."""
    unregister(shell)
    for command in COMMANDS.values():
        kind = "line_cell" if command.cell else "line"
        # A method that is made when the class is, so nobody knows its type.
        give: Any = shell.register_magic_function
        give(_magic(command, shell), kind, _name(command))
    completion.install(shell)
    questions.install(shell)


def unregister(shell: InteractiveShell) -> None:
    """Take the magics and their completion away."""
    completion.remove(shell)
    questions.remove(shell)
    for table in shell.magics_manager.magics.values():
        for command in COMMANDS.values():
            table.pop(_name(command), None)


def _name(command: Command) -> str:
    return f"lora_{command.name}"


def _magic(command: Command, shell: InteractiveShell) -> Callable[..., Any]:
    def magic(line: str, cell: str | None = None) -> Any:
        return call(command, words_of(line, command), cell)

    def with_data(line: str, cell: str | None = None, local_ns: Any = None) -> Any:
        variables = Variables({**shell.user_ns, **(local_ns or {})})
        words = words_of(variables.fill(line), command)
        return call(command, variables.words(words, command), cell)

    if takes_data(command):
        magic = no_var_expand(needs_local_scope(with_data))
    magic.__name__ = _name(command)
    magic.__qualname__ = magic.__name__
    magic.__doc__ = help_of(command, f"%{magic.__name__}")
    return magic
