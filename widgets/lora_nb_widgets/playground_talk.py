"""The asking: one request to the resident engine for each side, in a thread that can be stopped."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Protocol, cast

from lora_nb.config import GenerateConfig
from lora_nb.runs import engine
from lora_nb_widgets.playground_chat import Turn

__all__ = ["Talk"]

_INTERVAL = 0.2


class _Pieces(Protocol):
    """The engine's answer, which ends when it is closed."""

    def __iter__(self) -> Iterator[engine.Piece]: ...
    def close(self) -> None: ...


class Talk:
    """One turn as it is answered. `show` is called as it grows, five times a second at most."""

    def __init__(
        self, turn: Turn, configs: Mapping[str, GenerateConfig], show: Callable[[], None]
    ) -> None:
        self._turn = turn
        self._configs = configs
        self._show = show
        self._stopped = threading.Event()
        self._due = 0.0
        _talks.add(self)

    def stop(self) -> None:
        """End it with the piece that comes next."""
        self._stopped.set()

    def answer(self) -> None:
        """Let each side answer, the work of a thread. Raises LoraError if one can't."""
        for label, config in self._configs.items():
            if not self._stopped.is_set():
                self._one(label, config)
        for answer in self._turn.answers.values():
            if not answer.is_over:
                answer.stats, answer.is_over = {"finish_reason": "interrupted"}, True

    def _one(self, label: str, config: GenerateConfig) -> None:
        answer = self._turn.answers[label]
        pieces = cast("_Pieces", engine.generate(config, (label,)))
        # Closed, it takes the request back.
        with closing(pieces):
            for piece in pieces:
                answer.text += piece.text
                if piece.stats:
                    answer.stats, answer.is_over = piece.stats, True
                if self._stopped.is_set():
                    return
                self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _INTERVAL
            self._show()


_talks: weakref.WeakSet[Talk] = weakref.WeakSet()


def _stop_all() -> None:
    for talk in list(_talks):
        talk.stop()


# Called before the engine is let go, which waits for the answer that is under way.
atexit.register(_stop_all)
