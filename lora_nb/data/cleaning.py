"""Which rows stay when data is cleaned, and an account of those that go."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lora_nb.data.faults import RowError
from lora_nb.data.findings import Finding, Ledger
from lora_nb.data.formats import Features, Kind, kind_of, text_of, to_messages, tools_of
from lora_nb.data.jsonl import JsonlRows
from lora_nb.data.keys import Content, exact_key
from lora_nb.data.messages import ROLES, empty_part
from lora_nb.data.rows import Rows
from lora_nb.data.sources import SPLITS, Splits
from lora_nb.data.writing import to_line

__all__ = ["CHANGED", "Cleaned", "clean", "lines_of"]

CHANGED = frozenset({"bom", "crlf", "blank"})
"""Codes of what was changed in a file; all others are of rows that were dropped."""
_BLANKS = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"


@dataclass
class Cleaned:
    """The numbers of the rows of each split that stay, and what was dropped or changed."""

    kept: dict[str, list[int]] = field(default_factory=dict)
    changes: list[Finding] = field(default_factory=list)


def clean(
    splits: Splits, options: Features, refused: Mapping[str, Collection[int]] | None = None
) -> Cleaned:
    """Drop what cannot be used, what is empty, what is there twice, and leaks into held-out rows.

    Of equal rows of a split the first stays; of a row in several splits, that of test, else of
    valid. Rows that are long or unusual stay. `refused` has the numbers of the rows that a model's
    own template or tokenizer refuses; without it, the roles known to all templates are allowed.
    """
    ledger = Ledger()
    kept: dict[str, list[int]] = {}
    held_out: dict[bytes, str] = {}
    for name, rows in reversed(list(splits.items())):
        broken = None if refused is None else frozenset(refused.get(name, ()))
        sieve = _Sieve(rows, options, broken, ledger, held_out)
        kept[name] = [number for number in range(len(rows)) if sieve.keeps(number)]
        held_out |= sieve.places
        if isinstance(rows, JsonlRows):
            _note_changes(rows, kept[name], ledger)
    for name, reason in splits.unreadable.items():
        ledger.add("info", "unreadable", f"{reason} It is left out.", split=name)
    found = ledger.findings()
    order = {name: place for place, name in enumerate(SPLITS)}
    return Cleaned(
        {name: kept[name] for name, _ in splits.items()},
        sorted(found, key=lambda each: (order[each.split], each.code in CHANGED)),
    )


class _Sieve:
    """Decides on the rows of one split, in their order."""

    def __init__(
        self,
        rows: Rows,
        options: Features,
        broken: frozenset[int] | None,
        ledger: Ledger,
        held_out: Mapping[bytes, str],
    ) -> None:
        self.places: dict[bytes, str] = {}
        self._rows = rows
        self._options = options
        self._broken = broken
        self._ledger = ledger
        self._held_out = held_out

    def keeps(self, number: int) -> bool:
        """Whether a row stays; if not, the account says why."""
        where = self._rows.where(number)
        try:
            row = self._rows.row(number)
        except RowError as error:
            return self._drop(error.code, error.message, where, error.value)
        if self._broken is not None and number in self._broken:
            return self._drop(*self._why(row), where)
        try:
            kind, content = self._content(row)
        except RowError as error:
            if self._broken is None:
                return self._drop(error.code, error.message, where, error.value)
            # The model's template knows more roles than others do.
            return True
        if part := empty_part(content, kind):
            return self._drop("empty", f"{part} is empty.", where)
        key = exact_key(content, row.get("tools"))
        if key in self._held_out:
            place = self._held_out[key]
            return self._drop("leak", f"the row is also held out ({place}), where it stays.", where)
        if key in self.places:
            first = self.places[key]
            return self._drop("duplicate", f"the row is the same as {first}, which stays.", where)
        self.places[key] = where
        return True

    def _why(self, row: Mapping[str, Any]) -> tuple[str, str]:
        try:
            self._content(row)
        except RowError as error:
            return error.code, error.message
        return "refused", "the model's template or tokenizer, or --long-rows, refuses the row."

    def _content(self, row: Mapping[str, Any]) -> tuple[Kind, Content]:
        kind = kind_of(row, self._options)
        if kind == "text":
            return kind, text_of(row, self._options)
        content = to_messages(row, self._options, ROLES)
        tools_of(row)
        return kind, content

    def _drop(self, code: str, message: str, where: str, value: str = "") -> bool:
        self._ledger.add("info", code, message, where=where, value=value, split=self._rows.name)
        return False


def _note_changes(rows: JsonlRows, kept: list[int], ledger: Ledger) -> None:
    file = rows.path.name
    counts = {
        "bom": (int(rows.has_mark), "the byte order mark at the start of the file is taken out."),
        "crlf": (
            sum(rows.raw(number).endswith(b"\r") for number in kept),
            "lines end in LF, no longer in CRLF.",
        ),
        "blank": (rows.lines - len(rows), "blank lines are taken out."),
    }
    for code, (count, message) in counts.items():
        if count:
            ledger.add("info", code, message, where=file, split=rows.name, count=count)


def lines_of(rows: Rows, numbers: Collection[int]) -> Iterator[bytes]:
    """Rows as lines: those of a file as they are written there, but for blanks around them."""
    for number in numbers:
        if isinstance(rows, JsonlRows):
            yield rows.raw(number).removeprefix(_BOM).strip(_BLANKS)
        else:
            yield to_line(rows.row(number))
