"""JSON Lines: a byte-offset index made in one pass, rows parsed when asked for."""

from __future__ import annotations

import hashlib
import json
import os
import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lora_nb.data.faults import RowError, shorten
from lora_nb.data.rows import Rows
from lora_nb.data.search import Needle
from lora_nb.errors import LoraError

__all__ = ["JsonlRows"]

_BLOCK = 1 << 23
_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
_SPACE = re.compile(rb"[ \t\r\n]*")
_ONE_LINE = "Each line holds one complete JSON object."


@dataclass(frozen=True)
class _Index:
    """Byte span [start, end) and number (from 1) of every line that is not blank."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    line: NDArray[np.int64]
    lines: int
    size: int


class JsonlRows(Rows):
    """Rows of a .jsonl file: always UTF-8, with or without BOM, LF or CRLF, blank lines skipped.

    Places are `train.jsonl:12`, the line counted from 1; with a label they are `df[11]`.

    The file is read by offset and never mapped: a file cut short under a map would kill the
    process that reads it.
    """

    def __init__(self, path: Path, name: str, label: str = "") -> None:
        self.name = name
        self.path = path
        self._label = label
        try:
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise LoraError(f"{path}: cannot be read ({error.strerror}).") from error
        weakref.finalize(self, os.close, self._fd)
        try:
            self._index = _index(self._fd, path)
        except OSError as error:
            raise LoraError(f"{path}: cannot be read ({error.strerror}).") from error

    def __len__(self) -> int:
        return len(self._index.line)

    def where(self, index: int) -> str:
        line = self._index.line[index]
        return f"{self._label}[{line - 1}]" if self._label else f"{self.path.name}:{line}"

    @property
    def lines(self) -> int:
        """The lines of the file, blank ones too."""
        return self._index.lines

    @property
    def has_mark(self) -> bool:
        """Whether the file begins with a byte order mark."""
        return _read(self._fd, len(_BOM), 0) == _BOM

    def row(self, index: int) -> dict[str, Any]:
        raw = self.raw(index)
        try:
            return _parse(raw)
        except RowError as error:
            if os.fstat(self._fd).st_size != self._index.size:
                raise RowError(
                    "changed",
                    "the file was changed while it was being read.",
                    "Start again when it is complete.",
                    where=self.where(index),
                ) from error
            raise error.at(self.where(index)) from error.__cause__

    def raw(self, index: int) -> bytes:
        """The bytes of a row's line, without its line end."""
        start, end = int(self._index.start[index]), int(self._index.end[index])
        return _read(self._fd, end - start, start)

    def find(self, text: str) -> Iterator[int]:
        """As for all rows, but only lines whose bytes may hold the text are parsed.

        A line that is broken counts if its bytes may hold it.
        """
        needle = Needle(text)
        place, kept, beyond = 0, b"", 0
        while block := _read(self._fd, _BLOCK, place):
            data = kept + block.lower()
            before = place - len(kept)
            at = needle.place(data, max(0, beyond - before))
            while at >= 0:
                index = int(np.searchsorted(self._index.end, before + at, side="right"))
                if index == len(self):
                    return
                # A place between two rows lies in a blank line.
                inside = self._index.start[index] <= before + at
                if inside and self._holds(index, needle):
                    yield index
                beyond = int(self._index.end[index]) if inside else before + at + 1
                at = needle.place(data, beyond - before)
            place += len(block)
            kept = data[len(data) - min(len(data), needle.longest - 1) :]

    def _holds(self, index: int, needle: Needle) -> bool:
        try:
            return needle.in_row(self.row(index))
        except RowError:
            return True

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        place = 0
        while block := _read(self._fd, _BLOCK, place):
            digest.update(block)
            place += len(block)
        return digest.hexdigest()


def _read(fd: int, size: int, place: int) -> bytes:
    """`size` bytes from `place` on, fewer only at the end of the file."""
    parts: list[bytes] = []
    while size > 0 and (part := os.pread(fd, size, place)):
        parts.append(part)
        size -= len(part)
        place += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _index(fd: int, path: Path) -> _Index:
    head = _read(fd, 3, 0)
    if head[:2] in _WIDE_BOMS:
        raise LoraError(f"{path}: is UTF-16 text. Save it again as UTF-8.")
    first = len(_BOM) if head == _BOM else 0
    breaks: list[NDArray[np.int64]] = []
    blank_starts: list[NDArray[np.int64]] = []
    size, before = first, 10
    while block := _read(fd, _BLOCK, size):
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == 10)
        breaks.append(ends + size)
        blank_starts.append(_starts_blank(data, ends, before) + size)
        before = int(data[-1])
        size += len(block)
    ends = np.concatenate([*breaks, np.array([size] if before != 10 else [], np.int64)])
    starts = np.concatenate([np.array([first], np.int64), ends[:-1] + 1])[: len(ends)]
    keep = starts < ends
    suspects = np.searchsorted(starts, np.concatenate([np.zeros(0, np.int64), *blank_starts]))
    for number in suspects.tolist():
        if keep[number] and _is_blank(fd, int(starts[number]), int(ends[number])):
            keep[number] = False
    lines = np.flatnonzero(keep)
    return _Index(starts[lines], ends[lines], lines + 1, len(ends), size)


def _starts_blank(
    data: NDArray[np.uint8], ends: NDArray[np.int64], before: int
) -> NDArray[np.int64]:
    """Starts of those lines of a block whose first byte is a blank: only they can be blank."""
    starts = ends[ends < len(data) - 1] + 1
    if before == 10:
        starts = np.concatenate([np.zeros(1, np.int64), starts])
    first = data[starts]
    blank: NDArray[np.bool_] = (first == 32) | (first == 13) | (first == 9)
    return starts[blank]


def _is_blank(fd: int, start: int, end: int) -> bool:
    head = _read(fd, min(end - start, 64), start)
    if _SPACE.fullmatch(head) is None:
        return False
    return end - start <= 64 or _SPACE.fullmatch(_read(fd, end - start, start)) is not None


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise RowError(
            "encoding",
            f"byte {error.start + 1} of the line (0x{raw[error.start]:02x}) is not UTF-8 text.",
            "Save the file again as UTF-8.",
            value=shorten(raw[max(0, error.start - 20) : error.start + 10]),
        ) from error
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise _broken(text, error) from error
    except RecursionError as error:
        raise RowError("json", "the JSON is nested too deeply.", "Make the row flatter.") from error
    except ValueError as error:
        raise RowError("json", f"broken JSON: {error}.", _ONE_LINE, value=shorten(text)) from error
    if not isinstance(row, dict):
        raise _not_object(row)
    return row


def _broken(text: str, error: json.JSONDecodeError) -> RowError:
    stripped = text.strip()
    if stripped in ("[", "{"):
        shape = "array" if stripped == "[" else "object"
        return RowError(
            "json",
            f"broken JSON at column {error.colno}: the {shape} goes on over more lines.",
            _ONE_LINE,
            value=shorten(text),
        )
    what = error.msg[:1].lower() + error.msg[1:]
    hint = _ONE_LINE
    if error.msg == "Extra data" and text[error.pos : error.pos + 1] == "{":
        hint = "Put each object on a line of its own."
    elif stripped.startswith("{'"):
        hint = "JSON wants double quotes, as json.dumps writes them."
    around = text[max(0, error.pos - 20) : error.pos + 20]
    return RowError(
        "json", f"broken JSON at column {error.colno}: {what}.", hint, value=shorten(around)
    )


def _not_object(row: object) -> RowError:
    names = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    name = names.get(type(row), "a number")
    hint = 'Write it as an object, e.g. {"text": "..."}.'
    if isinstance(row, list) and row and isinstance(row[0], dict):
        hint = "Write each object of the array on a line of its own, without the brackets."
    return RowError(
        "not_object", f"the line holds {name}, not an object.", hint, value=shorten(row)
    )
