"""Which trial of a sweep is the best: one order for tables, pictures, adapters and the end."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol, TypeVar

from lora_nb.config.grid import Trial

__all__ = ["Ranked", "first", "ranked"]


class Ranked(Protocol):
    """A trial with its status and its losses: the lowest of validation, the last of training.

    Losses are in nats, NaN where there is none.
    """

    @property
    def trial(self) -> Trial:
        """The trial."""
        ...

    @property
    def status(self) -> str:
        """waiting, deleted, or the status of its run."""
        ...

    @property
    def best(self) -> float:
        """Its lowest validation loss."""
        ...

    @property
    def train(self) -> float:
        """Its last training loss."""
        ...


Each = TypeVar("Each", bound=Ranked)


def ranked(trials: Iterable[Each]) -> list[Each]:
    """The trials by their lowest validation loss, then by their training loss.

    Those that have failed come last, whatever they had reached before.
    """
    return sorted(trials, key=_place)


def first(trials: Iterable[Each]) -> Each | None:
    """The best trial with a validation that has not failed, or None."""
    found = next(iter(ranked(trials)), None)
    return found if found and found.status != "failed" and math.isfinite(found.best) else None


def _place(each: Ranked) -> tuple[bool, float, float, int]:
    failed = each.status == "failed"
    return failed, _last(each.best), _last(each.train), each.trial.number


def _last(value: float) -> float:
    return value if math.isfinite(value) else math.inf
