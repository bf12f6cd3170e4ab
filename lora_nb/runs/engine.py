"""This side of the resident engine: start it, ask it, take a question back, let it go.

It generates text, and shows rows of data as a model's tokenizer and template make them.
"""

from __future__ import annotations

import atexit
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lora_nb.config import DataConfig, GenerateConfig
from lora_nb.data.masks import MaskedRow
from lora_nb.errors import LoraError
from lora_nb.runs.environment import worker_environment

__all__ = ["Piece", "encode", "generate", "is_running", "release"]

_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Piece:
    """A piece of text under its label; the last one of a label has statistics."""

    label: str
    text: str = ""
    stats: dict[str, Any] = field(default_factory=dict)


class _Engine:
    """One engine process. It is used by one thread at a time."""

    def __init__(self) -> None:
        # Never named on the disk; read only to explain a crash.
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lora_nb.worker", "--engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=worker_environment(dict(os.environ)),
            start_new_session=True,
        )
        self._number = 0

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, op: str, config: GenerateConfig | DataConfig, **values: object
    ) -> Iterator[dict[str, Any]]:
        self._number += 1
        number, over = self._number, False
        # The working folder may have changed since the engine was started.
        here = {"folder": str(Path.cwd()), "config": _given(config)}
        self._send({"id": number, "op": op, **here, **values})
        try:
            for message in self._answers(number):
                over = message["kind"] in ("end", "error")
                if message["kind"] == "error":
                    raise LoraError(message["message"])
                if not over:
                    yield message
        finally:
            if not over and self.is_alive:
                self._take_back(number)

    def _take_back(self, number: int) -> None:
        """Cancel a request and read what still comes of it; end the engine if that takes long."""
        timer = threading.Timer(_PATIENCE_SECONDS, self._process.kill)
        timer.start()
        try:
            self._send({"id": number, "op": "cancel"})
            for message in self._answers(number):
                if message["kind"] in ("end", "error"):
                    break
        except LoraError:
            pass
        finally:
            timer.cancel()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message, default=str).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise LoraError(self._why_gone()) from None

    def _answers(self, number: int) -> Iterator[dict[str, Any]]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            message = _parsed(line)
            if message is None or message["id"] != number:
                continue
            yield message
            if message["kind"] in ("end", "error"):
                return
        raise LoraError(self._why_gone())

    def _why_gone(self) -> str:
        status = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        last = f" Its last words: {lines[-1]}" if lines else ""
        cause = " (killed: out of memory?)" if status == -9 else ""
        return f"The generation engine ended with status {status}{cause}.{last}"

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


_lock = threading.RLock()
_engine: _Engine | None = None


def generate(config: GenerateConfig, labels: Sequence[str] = ("",)) -> Iterator[Piece]:
    """Pieces of an answer, once for each label, from the engine of this process.

    The label `base` is generated without the adapter, any other with it. Closing the iterator
    takes the request back. Raises LoraError if something is wrong with the request.
    """
    with _lock:
        for message in _running().ask("generate", config, labels=[*labels]):
            yield Piece(message["label"], message.get("text", ""), message.get("stats", {}))


def encode(config: DataConfig, row: Mapping[str, Any], where: str = "") -> MaskedRow:
    """A row as training sees it; only the model's tokenizer is loaded, and kept.

    Raises LoraError if the row cannot be used or the model is not there.
    """
    with _lock:
        (message,) = _running().ask("encode", config, row=dict(row), where=where)
        return MaskedRow.from_json(message["row"])


def is_running() -> bool:
    """Whether an engine holds a model in memory."""
    return _engine is not None and _engine.is_alive


def release() -> bool:
    """End the engine and free its memory; False if there was none."""
    global _engine
    with _lock:
        gone, _engine = _engine, None
        if gone is None:
            return False
        alive = gone.is_alive
        gone.close()
        return alive


def _running() -> _Engine:
    global _engine  # noqa: PLW0603 (one engine a process)
    if _engine is not None and not _engine.is_alive:
        release()
    if _engine is None:
        _engine = _Engine()
    return _engine


def _given(config: GenerateConfig | DataConfig) -> dict[str, Any]:
    values = dataclasses.asdict(config)
    return {key: value for key, value in values.items() if value is not None}


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line as a message; None for the rest of a line that an interrupt has torn."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and "id" in message else None


atexit.register(release)
