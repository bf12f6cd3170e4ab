"""What a command is: its flags, what stands behind them, and what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from lora_nb.config import OWN, Flag, Parsed, flags_of, load
from lora_nb.config.declaring import Completes
from lora_nb.config.layers import Config
from lora_nb.errors import LoraError

__all__ = ["BACKGROUND", "Call", "Command", "only_run_name", "resume_flag"]

BACKGROUND = Flag(
    ("background",),
    ("--background",),
    "Return at once; the run goes on in its worker.",
    group=OWN,
    is_switch=True,
    is_option=False,
)


def resume_flag(said: str) -> Flag:
    """The flag of a command that lets a run which is over go on."""
    return Flag(
        ("resume",),
        ("--resume",),
        said,
        group="Run",
        metavar="RUN",
        completes="run",
        is_option=False,
    )


_ON_AND_OFF = {"true", "false", "yes", "no", "on", "off"}


@dataclass(frozen=True)
class Call:
    """One use of a command: its parsed words, and the cell below the line."""

    parsed: Parsed
    cell: str | None = None

    def config(self, kind: type[Config], **values: Any) -> Config:
        """The checked config: `-c` file, then the cell as YAML, then flags, then `values`."""
        return load(
            kind,
            file=self.parsed.config_file,
            cell=self.cell,
            flags={**self.parsed.values, **values},
        )

    def on(self, name: str) -> bool:
        """Whether a switch of the command's own is on."""
        return bool(self.parsed.extra.get(name, False))

    def refuse_words(self) -> None:
        """Raise LoraError if there are words that are no flags."""
        if self.parsed.rest:
            words = " ".join(self.parsed.rest)
            told = f"'{words}' is no flag. Options are written --like-this VALUE"
            if {*words.lower().replace(",", " ").split()} <= _ON_AND_OFF:
                told += ", switches --like-this or --no-like-this without one"
            raise LoraError(f"{told}.")


@dataclass(frozen=True)
class Command:
    """A verb: `name` gives `%lora_name` and `lora-nb name`."""

    name: str
    purpose: str
    run: Callable[[Call], Any]
    kind: type[Any] | None = None
    extra: tuple[Flag, ...] = ()
    positional: str = ""
    completes: Completes = ""
    cell: Literal["", "yaml", "prompt"] = ""
    about: str = ""

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Every flag of the command: the options of its config, and its own."""
        return (*(flags_of(self.kind) if self.kind else ()), *self.extra)


def only_run_name(call: Call) -> str:
    """The one word of a call that names a run (`latest` if there is none)."""
    if len(call.parsed.rest) > 1:
        raise LoraError(f"One run at a time, please: got {', '.join(call.parsed.rest)}.")
    return call.parsed.rest[0] if call.parsed.rest else "latest"
