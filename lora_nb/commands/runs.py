"""`runs`: every run, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_nb import api
from lora_nb.commands.command import Call, Command
from lora_nb.config import Flag
from lora_nb.errors import LoraError
from lora_nb.history.listing import COLUMNS, STATUSES, VERBS, narrow

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COMMAND"]


def _flag(name: str, said: str, metavar: str = "", choices: tuple[str, ...] = ()) -> Flag:
    return Flag(
        (name,),
        (f"--{name}",),
        said,
        group="Here",
        metavar=metavar,
        choices=choices,
        is_switch=not (metavar or choices),
        is_option=False,
    )


FLAGS = (
    _flag("verb", "Only runs that do this.", choices=VERBS),
    _flag("status", "Only runs that stand so.", choices=STATUSES),
    _flag("tag", "Only runs with this tag.", "TAG"),
    _flag("sort", "Sort by this column, the lowest first.", choices=COLUMNS),
    _flag("reverse", "The other way round."),
    _flag("limit", "At most so many.", "N"),
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
    "List the runs, the newest first, as a DataFrame.",
    run,
    extra=FLAGS,
    positional="[PART OF A NAME ...]",
    completes="run",
    about="Empty columns are left out, and paths are cut, unless --wide is given.",
)
