"""What a fit check has found, as its worker leaves it for others to read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["Candidate", "FitResult"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A training that could be run: what is changed, what it takes, whether that fits.

    `peak` is in bytes as MLX counts them, `seconds` those of all steps (NaN where unknown). What
    is `measured` was tried on the longest batch, the rest is reckoned from that. `before` is what
    has to be done first.
    """

    change: str
    flags: str
    peak: int
    seconds: float
    measured: bool
    fits: bool
    before: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The candidates in the order of harm, the training as it is first; sizes in bytes.

    `limit` is what MLX may take: the device's memory that is free for this, less the `overhead`
    that the process has beside MLX.
    """

    device: str
    memory: int
    limit: int
    overhead: int
    rows: int
    length: int
    steps: int
    weights: int
    cache: int
    seconds_without_cache: float
    seconds_with_cache: float
    candidates: list[Candidate]
    notes: list[str]

    @property
    def fits(self) -> bool:
        """Whether the training fits as it is."""
        return self.candidates[0].fits

    @property
    def proposal(self) -> Candidate | None:
        """The least harmful change that fits; None if none is needed, or none is enough."""
        if self.fits:
            return None
        return next((each for each in self.candidates[1:] if each.fits), None)

    def verdict(self) -> str:
        """One sentence that says whether it fits, and what to do if not."""
        given = self.candidates[0]
        room = f"{_gb(given.peak)} of the {_gb(self.limit)} GB that are free ({self.device})"
        if self.fits:
            return f"It fits: the peak is {room}."
        found = self.proposal
        if found is None:
            return f"It does not fit: the peak is {room}. No change that is tried here is enough."
        first = f"{found.before}, then " if found.before else ""
        return (
            f"It does not fit: the peak is {room}. The smallest change that fits: {found.change} "
            f"({_gb(found.peak)} GB): {first}{found.flags}"
        )

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From JSON text. Raises ValueError, KeyError or TypeError if it is none of a result."""
        values = json.loads(text)
        values["candidates"] = [Candidate(**each) for each in values["candidates"]]
        return cls(**values)


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f}" if count < 10e9 else f"{count / 1e9:.1f}"
