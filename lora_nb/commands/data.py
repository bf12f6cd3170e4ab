"""`data`: look at data before a model is trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lora_nb.commands.command import Call, Command
from lora_nb.config import OWN, DataConfig, Flag
from lora_nb.errors import LoraError

if TYPE_CHECKING:
    from lora_nb.dataset.report import DataReport
    from lora_nb.display.mask_view import MaskView

__all__ = ["COMMAND"]

ROW = Flag(
    ("row",),
    ("--row",),
    "Show one row as training sees it: 17 or valid:17 (from 0), valid.jsonl:17 (lines from 1).",
    group=OWN,
    metavar="N|FILE:LINE",
    is_option=False,
)
FIX = Flag(
    ("fix",),
    ("--fix",),
    "Write a cleaned copy beside the data (PATH-fixed) and say what was dropped or changed.",
    group=OWN,
    is_switch=True,
    is_option=False,
)


def run(call: Call) -> DataReport | MaskView:
    """Look at all rows, or with --row at one, or with --fix at a cleaned copy."""
    from lora_nb.dataset.fix import fix_data
    from lora_nb.dataset.look import look_at, look_at_row

    config = call.config(DataConfig, **_path(call))
    place = call.parsed.extra.get(ROW.path[-1])
    if call.on("fix"):
        if place is not None:
            raise LoraError("--row looks and --fix writes. Give one of the two.")
        return fix_data(config)
    return look_at(config) if place is None else look_at_row(config, place)


def _path(call: Call) -> dict[str, Any]:
    words = call.parsed.rest
    if len(words) > 1:
        raise LoraError(f"One data set at a time, please: got {', '.join(words)}.")
    if words and "data" in call.parsed.values:
        raise LoraError(f"The data is named twice: {words[0]} and {call.parsed.values['data']}.")
    return {"data": words[0]} if words else {}


COMMAND = Command(
    "data",
    "Look at data as training will see it: faults, lengths, trained tokens, single rows.",
    run,
    kind=DataConfig,
    extra=(ROW, FIX),
    positional="[PATH]",
    completes="data",
    about=(
        "PATH is a folder with train/valid/test .jsonl files, one .jsonl file, a Hugging Face "
        "data set, or 'demo'; in a notebook also $df, a variable with a pandas frame, a list of "
        "dicts, a datasets.Dataset, or a dict of them by split. With --model every row is turned "
        "into tokens and checked, in a process of its own; the result is kept, so a second look "
        "takes no time. Without a model only the rows are looked at. Result: a DataReport with "
        ".summary, .findings, .head(), .page(), .search(), .row() and .histogram(); with --row, "
        "that row's mask; with --fix, the report of the copy, and in .fixed what was done."
    ),
)
