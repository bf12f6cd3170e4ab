"""The rows that an explorer shows: opened once, chosen by a finding or a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from lora_nb.config import DataConfig
from lora_nb.data.faults import RowError
from lora_nb.data.findings import Finding
from lora_nb.data.rows import Rows
from lora_nb.data.search import Needle
from lora_nb.data.sources import Splits
from lora_nb.data.survey import open_all, survey
from lora_nb.dataset.look import look_at, with_model
from lora_nb.dataset.places import find_row, rows_of_split
from lora_nb.dataset.report import DataReport
from lora_nb.display.data_screen import DataScreen
from lora_nb.display.screen import Frame
from lora_nb.errors import LoraError

__all__ = ["MOST", "Chosen", "Source", "TextScreen", "chosen_by"]

MOST = 1000
"""A search ends after so many rows."""


@dataclass(frozen=True)
class Source:
    """Opened data and what is known of it."""

    config: DataConfig
    splits: Splits
    report: DataReport

    @classmethod
    def opened(cls, config: DataConfig) -> Source:
        """Open data and look at its rows, without turning them into tokens.

        Raises LoraError if the data is not there.
        """
        config = with_model(config)
        splits = open_all(config)
        bare = dataclasses.replace(config, model=None)
        return cls(config, splits, DataReport(bare, splits, survey(splits, bare)))

    def checked(self, screen: DataScreen) -> Source:
        """The same with every row turned into tokens and looked at, which may take a while."""
        return dataclasses.replace(self, report=look_at(self.config, screen=screen))

    @property
    def findings(self) -> list[Finding]:
        """What is wrong with rows, of which there are places."""
        return [each for each in self.report.found if self.places(each)]

    def places(self, finding: Finding) -> list[int]:
        """The rows of a finding: those of its places that are known, at most 20."""
        numbers = (self._number(finding, line.partition(": ")[0]) for line in finding.lines)
        return list(dict.fromkeys(number for number in numbers if number is not None))

    def _number(self, finding: Finding, place: str) -> int | None:
        try:
            name, _, number = find_row(self.splits, place)
        except LoraError:
            # It is the whole split that something is wrong with.
            return None
        return number if name == finding.split else None


@dataclass(frozen=True)
class Chosen:
    """Some rows of a split by number; `note` says how they were chosen."""

    name: str
    rows: Rows
    numbers: Sequence[int]
    note: str = ""

    def page(self, place: int, size: int) -> Sequence[int]:
        """The numbers of the rows on the page that begins at a place."""
        return self.numbers[place : place + size]


def chosen_by(source: Source, split: str | None, finding: Finding | None, text: str) -> Chosen:
    """The rows of a finding, those that hold a text, both, or all of a split."""
    name, rows = rows_of_split(source.splits, finding.split if finding else split)
    notes = []
    numbers: Sequence[int] = range(len(rows))
    if finding is not None:
        numbers = source.places(finding)
        if finding.count > len(numbers):
            notes.append(f"the first {len(numbers)} of {finding.count:,} places")
    if text and finding is not None:
        numbers = [number for number in numbers if _holds(rows, number, Needle(text))]
    elif text:
        found = list(islice(rows.find(text), MOST + 1))
        numbers = found[:MOST]
        if len(found) > MOST:
            notes.append(f"the first {MOST:,} that hold it")
    return Chosen(name, rows, numbers, ", ".join(notes))


def _holds(rows: Rows, number: int, needle: Needle) -> bool:
    try:
        return needle.in_row(rows.row(number))
    except RowError:
        return True


class TextScreen(DataScreen):
    """Where a check tells how far it is: a line of text for `say`."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__("")
        # The picture has a place in the panel.
        self.shows_pictures = False
        self._say = say

    @property
    def interval(self) -> float:
        """Seconds between two lines."""
        return 0.5

    def draw(self, frame: Frame) -> None:
        """Tell how far the work is."""
        self._say(frame.note or frame.line)
