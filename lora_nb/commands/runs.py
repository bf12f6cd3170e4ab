"""`runs`: every run, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_nb import api
from lora_nb.commands.command import Call, Command

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COMMAND"]


def run(call: Call) -> pd.DataFrame:
    """The table of runs; words narrow it to names that hold one of them."""
    frame = api.list_runs()
    if call.parsed.rest:
        frame = frame[frame["run"].map(lambda name: any(w in name for w in call.parsed.rest))]
    return frame


COMMAND = Command(
    "runs",
    "List the runs, the newest first, as a DataFrame.",
    run,
    positional="[PART OF A NAME ...]",
    completes="run",
)
