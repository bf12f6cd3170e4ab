"""What a worker prints, without secrets: it is kept as the log of its run."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any, TextIO

from lora_nb.redact import redacted

__all__ = ["clean_output"]


class _Clean:
    """A text stream that takes secrets out of what is written to it.

    What can't be written is lost: no run ends because the log of its words has no room.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(redacted(text))
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def clean_output() -> None:
    """Take secrets out of everything that this process prints from now on."""
    sys.stdout = _Clean(sys.stdout)
    sys.stderr = _Clean(sys.stderr)
