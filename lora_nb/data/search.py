"""Text in rows: any letter case, in whatever way a file spells its characters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Needle"]

_SHORT = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
# JSON need not escape these, but some writers do, so that their output fits into a web page.
_OFTEN_ESCAPED = "/<>&'\x7f"
# Shorter parts are found too often to be of help.
_WORTH_FINDING = 3


class Needle:
    r"""A text to look for, in rows and in the bytes of JSON lines.

    In JSON a character may stand for itself or be escaped (`ü` is also `\u00fc`), so a place
    found there is only likely: `in_row` decides.
    """

    def __init__(self, text: str) -> None:
        self._text = text.lower()
        spelled = [_spellings(char) for char in self._text]
        self.longest = sum(max(map(len, ways)) for ways in spelled)
        # Looking for fixed bytes is several times as fast as a pattern.
        self._fixed, self._before = _longest_fixed(spelled)
        self._pattern = _pattern(spelled) if any(len(ways) > 1 for ways in spelled) else None

    def place(self, lower: bytes, start: int) -> int:
        """The first likely place from `start` on in JSON bytes in small letters, or -1."""
        if self._pattern is None:
            return lower.find(self._fixed, start)
        if len(self._fixed) < _WORTH_FINDING:
            found = self._pattern.search(lower, start)
            return -1 if found is None else found.start()
        at = lower.find(self._fixed, start)
        while at >= 0:
            first = max(start, at - self._before)
            found = self._pattern.search(lower, first, at + self.longest)
            if found is not None:
                return found.start()
            at = lower.find(self._fixed, at + 1)
        return -1

    def in_row(self, row: Mapping[str, Any]) -> bool:
        """Whether a key or value of the row holds the text."""
        return any(self._text in text.lower() for text in _texts(row))


def _texts(row: Mapping[str, Any]) -> Iterator[str]:
    waiting: list[Any] = [row]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting.extend(value.keys())
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        else:
            yield json.dumps(value, default=str)


def _longest_fixed(spelled: list[tuple[bytes, ...]]) -> tuple[bytes, int]:
    """The longest part that is spelled in one way, and how many bytes may come before it."""
    best, best_before = b"", 0
    run, run_before, before = b"", 0, 0
    for ways in spelled:
        run = run + ways[0] if len(ways) == 1 else b""
        before += max(map(len, ways))
        if not run:
            run_before = before
        elif len(run) > len(best):
            best, best_before = run, run_before
    return best, best_before


def _pattern(spelled: list[tuple[bytes, ...]]) -> re.Pattern[bytes]:
    parts = [b"(?:" + b"|".join(map(re.escape, ways)) + b")" for ways in spelled]
    return re.compile(b"".join(parts))


def _spellings(char: str) -> tuple[bytes, ...]:
    """Every way in which JSON in small letters may write a small letter or its capital."""
    if char in _SHORT:
        return (f"\\{_SHORT[char]}".encode(), _escaped(char))
    if char in '"\\':
        return (f"\\{char}".encode(), _escaped(char))
    if char == "/":
        return (b"/", b"\\/", _escaped(char))
    if char < " ":
        return (_escaped(char),)
    if char.isascii() and char not in _OFTEN_ESCAPED:
        return (char.encode(),)
    forms = [char, *(form for form in (char.upper(), char.title()) if form.lower() == char)]
    ways = [form.encode("utf-8", "surrogatepass") for form in forms]
    return tuple(dict.fromkeys([*ways, *(_escaped(form) for form in forms)]))


def _escaped(text: str) -> bytes:
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)).encode()
