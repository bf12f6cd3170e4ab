"""The event log of a run: one writer that never tears a line, any number of readers."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from lora_nb.runs.event_lines import decode, encode
from lora_nb.runs.events import Event, Record

__all__ = ["EventLog", "Tail", "read"]


class EventLog:
    """Appends events to `events.jsonl`, one write per line; `seq` goes on where the file ends.

    A tail without newline, left by a killed writer, is cut off on opening.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._seq = self._mend()

    def _mend(self) -> int:
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.ftruncate(self._descriptor, len(whole))
        return max((record.seq for record in _decoded(whole)), default=0)

    def write(self, event: Event, *, durable: bool = False) -> Record:
        """Append an event; with `durable` it is on the disk when this returns.

        Raises OSError if the disk is full; the log stays whole.
        """
        record = Record(self._seq + 1, time.time(), event)
        line = encode(record)
        written = os.write(self._descriptor, line)
        if written < len(line):
            # The next line must not be glued to the part that found room.
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self._seq = record.seq
        if durable:
            os.fsync(self._descriptor)
        return record

    def close(self) -> None:
        """Close the file. Later writes fail."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Tail:
    """Reads a log as it grows: each `poll` gives the complete lines since the one before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def poll(self) -> Iterator[Record]:
        """The events that have come since the last poll."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        yield from _decoded(whole)


def _decoded(lines: bytes) -> Iterator[Record]:
    """The events in whole lines. Lines that are none are passed over.

    A newer version may have events of further types, and a broken disk may have left anything.
    """
    for line in lines.splitlines():
        try:
            yield decode(line)
        except ValueError:
            continue


def read(path: Path) -> list[Record]:
    """All complete events of a log; an absent file has none."""
    return list(Tail(path).poll())
