"""All rows of a split as trained tokens, in one pass that also notes what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lora_nb.data.faults import RowError, shorten
from lora_nb.data.findings import Finding, Ledger, Severity, raise_errors
from lora_nb.data.rows import Rows
from lora_nb.data.tokens import Encoded, Encoder

__all__ = ["Prepared", "Progress", "Watch", "prepare", "scan"]

Progress = Callable[[int, int], None]
"""(rows done, rows in all)"""
Watch = Callable[[int, Mapping[str, Any], list[Encoded]], None]
"""Sees every usable row: its number, itself, its sequences."""

_STRIDE = 200


@dataclass
class Prepared:
    """The sequences to train on, with the place of each; `row` numbers the row it is from.

    `broken` numbers the rows that cannot be used.

    `tokens` and `trained` count over `encoded`. Rows without a target are left out
    (`skipped`), rows dropped for their length too (`dropped`).
    """

    encoded: list[Encoded] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    tokens: int = 0
    trained: int = 0
    cut_rows: int = 0
    cut_tokens: int = 0
    skipped: int = 0
    dropped: int = 0
    broken: list[int] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.encoded)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each sequence, for a BatchPlan."""
        return [len(each) for each in self.encoded]


def prepare(rows: Rows, encoder: Encoder, progress: Progress | None = None) -> Prepared:
    """Encodes all rows; `findings` holds the warnings.

    Raises one LoraError that lists every row that cannot be used.
    """
    ledger = Ledger()
    prepared = scan(rows, encoder, ledger, progress=progress)
    prepared.findings = ledger.findings()
    raise_errors(prepared.findings)
    return prepared


def scan(
    rows: Rows,
    encoder: Encoder,
    ledger: Ledger,
    *,
    used: bool = True,
    needed: bool = True,
    watch: Watch | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Encodes all rows that can be and notes the others.

    Rows of a split that is not used are only looked at, and their faults are warnings. A split
    that is used but not needed may turn out to have no rows.
    """
    prepared = Prepared()
    total = len(rows)
    for number in range(total):
        where = rows.where(number)
        try:
            row = rows.row(number)
            parts = encoder.encode(row, where) if used else encoder.look(row, where)
        except RowError as error:
            prepared.broken.append(number)
            ledger.row("error" if used else "warning", error, rows.name)
        else:
            if used:
                _take(prepared, rows, number, parts, ledger)
            if watch is not None:
                watch(number, row, parts)
        if progress is not None and (number + 1 == total or (number + 1) % _STRIDE == 0):
            progress(number + 1, total)
    _note_lengths(prepared, rows, encoder, ledger)
    if not total or (used and not prepared.broken and not prepared.encoded):
        _note_nothing(rows, ledger, "error" if used and needed else "warning")
    return prepared


def _note_nothing(rows: Rows, ledger: Ledger, severity: Severity) -> None:
    if len(rows):
        ledger.add(
            severity, "no_targets", "no row has a token to train on.",
            "Change the rows, or train on more of them (--train-on, --max-seq-length).",
            where=rows.name, split=rows.name,
        )  # fmt: skip
    else:
        ledger.add(
            severity, "no_rows", "there are no rows.", "Put one JSON object on each line.",
            where=rows.name, split=rows.name,
        )  # fmt: skip


def _take(
    prepared: Prepared, rows: Rows, number: int, parts: list[Encoded], ledger: Ledger
) -> None:
    """Keeps the sequences that have a target."""
    if not parts:
        prepared.dropped += 1
        ledger.add(
            "warning", "dropped", "the row is longer than --max-seq-length and left out.",
            "Raise the length, or choose --long-rows cut or split.",
            where=rows.where(number), split=rows.name,
        )  # fmt: skip
        return
    useful = [part for part in parts if part.trained.any()]
    if not useful:
        prepared.skipped += 1
        ledger.add(
            "warning", "no_target", _why_no_target(parts),
            "It is left out of the training.", where=rows.where(number), split=rows.name,
            value=f"{sum(len(part) for part in parts)} tokens",
        )  # fmt: skip
        return
    where = rows.where(number)
    prepared.kinds[parts[0].kind] += 1
    for part in useful:
        prepared.encoded.append(part)
        prepared.where.append(where)
        prepared.row.append(number)
        prepared.tokens += len(part)
        prepared.trained += part.targets
        if part.cut:
            prepared.cut_rows += 1
            prepared.cut_tokens += part.cut


def _why_no_target(parts: list[Encoded]) -> str:
    if parts[0].cut:
        return "the row has no token to train on: its prompt alone fills --max-seq-length."
    if parts[0].kind == "text":
        return "the row has no token to train on: its text is empty or too short."
    return "the row has no token to train on: it has no answer of an assistant."


def _note_lengths(prepared: Prepared, rows: Rows, encoder: Encoder, ledger: Ledger) -> None:
    if not prepared.cut_rows:
        return
    first = next(i for i, part in enumerate(prepared.encoded) if part.cut)
    share = prepared.cut_tokens / (prepared.tokens + prepared.cut_tokens)
    limit = encoder.options.max_seq_length
    ledger.add(
        "warning", "cut",
        f"rows are cut to {limit} tokens; {share:.1%} of all tokens are lost.",
        "Raise --max-seq-length, or choose --long-rows split or drop.",
        where=prepared.where[first], split=rows.name, count=prepared.cut_rows,
        value=shorten(len(prepared.encoded[first]) + prepared.encoded[first].cut),
    )  # fmt: skip
