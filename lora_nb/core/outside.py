"""What the training loop has to do with the outside: requests in between, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lora_nb.runs.control import Pause, Request

__all__ = ["Outcome", "Requests"]


class Requests(Protocol):
    """What the loop asks of the outside between two steps."""

    paused: bool

    def stop_wanted(self, step: int, *, pause: Pause = "wait") -> bool:
        """Whether to stop now; a pause waits in here.

        With `wishes` it also returns while `paused` is true, if there are some to carry out, and
        with `pass` in any case.
        """
        ...

    def wishes(self) -> Sequence[Request]:
        """What else is to be done before the next step, as asked for since the last call."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How the loop ended, after how many steps, and whether it gave up waiting (`early`)."""

    status: Literal["completed", "stopped"]
    step: int
    early: bool = False
