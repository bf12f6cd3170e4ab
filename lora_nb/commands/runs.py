"""`runs`: every run, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_nb import api
from lora_nb.commands.command import Call, Command
from lora_nb.config import OWN, Flag
from lora_nb.errors import LoraError
from lora_nb.history.listing import SORTS, STATUSES, VERBS, narrow

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COMMAND"]


def _flag(name: str, said: str, metavar: str = "", choices: tuple[str, ...] = ()) -> Flag:
    return Flag(
        (name,),
        (f"--{name}",),
        said,
        group=OWN,
        metavar=metavar,
        choices=choices,
        is_switch=not (metavar or choices),
        is_option=False,
    )


FLAGS = (
    _flag("verb", "Only runs of this kind.", choices=VERBS),
    _flag("status", "Only runs with this status.", choices=STATUSES),
    _flag("tag", "Only runs with this tag.", "TAG"),
    _flag("sort", "Sort by this column, the lowest first, what has no value last.", choices=SORTS),
    _flag("reverse", "The other way round: the oldest, or the highest, first."),
    _flag("limit", "At most this many runs.", "N"),
    _flag("wide", "All columns, with paths in full."),
)


def run(call: Call) -> pd.DataFrame:
    """The table of runs; words narrow it to names that hold one of them."""
    given = call.parsed.extra
    frame = api.list_runs(
        *call.parsed.rest,
        verb=given.get("verb"),
        status=given.get("status"),
        tag=given.get("tag"),
        sort=given.get("sort"),
        reverse=call.on("reverse"),
        limit=_limit(given.get("limit")),
    )
    return frame if call.on("wide") else narrow(frame)


def _limit(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        raise LoraError(f"--limit: '{text}' is not a whole number.") from None


COMMAND = Command(
    "runs",
    "List the runs as a table, the newest first.",
    run,
    extra=FLAGS,
    positional="[PART OF A NAME ...]",
    completes="run",
    about=(
        "Words narrow the list to runs with one of them in their name; latest is the newest. Empty "
        "columns are left out, and paths are cut, unless --wide is given. In a notebook the result "
        "is the DataFrame; losses are in nats per trained token."
    ),
)
