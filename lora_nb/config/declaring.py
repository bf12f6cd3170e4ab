"""What options are declared with: their types and bounds, and what a flag needs beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticKnownError

__all__ = [
    "STRICT", "Completes", "Count", "Everything", "Fraction", "Name", "Number", "Opt", "Positive",
    "RunName", "Seed", "Share", "Size", "Whole", "Words", "spelled",
]  # fmt: skip

STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)
Completes = Literal["", "path", "model", "data", "run", "adapter"]


@dataclass(frozen=True)
class Opt:
    """What an option needs beside its type: group, further flag names, what TAB offers.

    `on_resume` options may change when a run goes on; the others make it another run.
    """

    group: str = "General"
    flags: tuple[str, ...] = ()
    completes: Completes = ""
    metavar: str = ""
    flag: bool = True
    on_resume: bool = False


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticKnownError("int_type")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticKnownError("float_type")
    return value


def spelled(value: Any) -> Any:
    """Text as the whole number that it spells: a choice among numbers is compared as it is."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _words(value: Any) -> Any:
    """A text of several words with commas between them as a list."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


# Left alone, pydantic takes true for 1.
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Count = Annotated[Whole, Field(ge=1, lt=2**63)]
Size = Annotated[Whole, Field(ge=0, lt=2**63)]
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]
Everything = Annotated[Whole, Field(ge=-1)]
Positive = Annotated[Number, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
Share = Annotated[Number, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1)]
Words = Annotated[list[str], BeforeValidator(_words)]
RunName = Annotated[str | None, Field(pattern=r"^[\w.-]{1,64}$"), Opt("Run", metavar="NAME")]
