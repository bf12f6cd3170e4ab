"""What the doctor found: gathered by kind, with the first places of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lora_nb.data.faults import RowError
from lora_nb.errors import LoraError

__all__ = ["Finding", "Ledger", "Severity", "raise_errors"]

Severity = Literal["error", "warning", "info"]
_SHOWN = 20
_ORDER: dict[str, int] = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Finding:
    """One kind of fault in one split: how often, where first, what to do.

    `lines` holds `place: message` of the first places, at most 20.
    """

    severity: Severity
    code: str
    count: int
    where: str
    value: str
    message: str
    remedy: str
    lines: tuple[str, ...] = ()
    split: str = ""

    def __str__(self) -> str:
        """The finding on one line, as a user reads it."""
        place = f"{self.where}: " if self.where else ""
        more = f" ({self.count} times in all)" if self.count > 1 and self.where else ""
        return f"{place}{self.message}{more} {self.remedy}".rstrip()


class Ledger:
    """Gathers findings of equal split, severity and code."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], Finding] = {}

    def add(
        self,
        severity: Severity,
        code: str,
        message: str,
        remedy: str = "",
        *,
        where: str = "",
        value: str = "",
        split: str = "",
        count: int = 1,
    ) -> None:
        """Notes one fault, or `count` equal ones."""
        key = (split, severity, code)
        old = self._found.get(key)
        line = (f"{where}: {message}" if where else message,)
        if old is None:
            new = Finding(severity, code, count, where, value, message, remedy, line, split)
        else:
            lines = old.lines + line if len(old.lines) < _SHOWN else old.lines
            new = Finding(
                severity, code, old.count + count, old.where, old.value, old.message,
                old.remedy, lines, split,
            )  # fmt: skip
        self._found[key] = new

    def has(self, code: str, split: str = "") -> bool:
        """Whether such a fault was noted in a split."""
        return any(key[0] == split and key[2] == code for key in self._found)

    def row(self, severity: Severity, error: RowError, split: str = "") -> None:
        """Notes a row that cannot be used."""
        self.add(
            severity, error.code, error.message, error.remedy,
            where=error.where, value=error.value, split=split,
        )  # fmt: skip

    def findings(self) -> list[Finding]:
        """All of them, errors first, else in the order they were found."""
        return sorted(self._found.values(), key=lambda finding: _ORDER[finding.severity])


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raises one LoraError that lists every error, at most 20 lines and then a count."""
    errors = [finding for finding in findings if finding.severity == "error"]
    total = sum(finding.count for finding in errors)
    if not total:
        return
    if total == 1:
        raise LoraError(f"{errors[0].lines[0]} {errors[0].remedy}".rstrip())
    lines: list[str] = []
    for finding in errors:
        for number, line in enumerate(finding.lines):
            lines.append(f"{line} {finding.remedy}".rstrip() if number == 0 else line)
    shown = lines[:_SHOWN]
    more = [f"  … and {total - len(shown)} more"] if total > len(shown) else []
    listing = [f"  - {line}" for line in shown] + more
    raise LoraError(f"The data has {total} problems:\n" + "\n".join(listing))
