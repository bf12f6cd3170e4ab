"""All commands, and how a command is called with words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lora_nb.commands import (
    attach,
    compare,
    convert,
    data,
    delete,
    diff,
    doctor,
    evaluate,
    fit,
    fuse,
    generate,
    note,
    pause,
    plot,
    resume,
    runs,
    sample,
    set_rate,
    stop,
    studio,
    sweep,
    test,
    train,
    upload,
)
from lora_nb.commands.command import Call, Command
from lora_nb.config import parse_flags, usage, yaml_only

__all__ = ["COMMANDS", "call", "help_of"]

COMMANDS: dict[str, Command] = {
    module.COMMAND.name: module.COMMAND
    for module in (
        train,
        sweep,
        fit,
        test,
        generate,
        data,
        convert,
        fuse,
        upload,
        compare,
        runs,
        attach,
        stop,
        pause,
        resume,
        set_rate,
        evaluate,
        sample,
        studio,
        plot,
        diff,
        note,
        delete,
        doctor,
    )
}


def call(command: Command, words: Sequence[str], cell: str | None = None) -> Any:
    """Carry out a command; returns what it gives back. Raises LoraError."""
    return command.run(Call(parse_flags(words, command.flags), cell))


def help_of(command: Command, prog: str) -> str:
    """The help text of a command, e.g. with prog `%lora_train` or `lora-nb train`."""
    purpose = "\n\n".join(filter(None, [command.purpose, command.about]))
    yaml = yaml_only(command.kind) if command.kind else ()
    return usage(prog, purpose, command.flags, command.positional, yaml=yaml)
