"""The answer of a fit check: a verdict, and what could be run instead."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lora_nb.config import FitConfig
from lora_nb.display.tables import escape, html_table, wrapper
from lora_nb.display.text_table import text_table
from lora_nb.display.words import duration, gigabytes, plain
from lora_nb.runs.fit_result import Candidate, FitResult

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["FitReport"]

_COLUMNS = ("change", "peak", "time", "from", "fits", "flags")
_SHOWN = 8
_SHOWN_IF_IT_FITS = 3


class FitReport:
    """Whether a training fits, and the changes that were looked at, the least harmful first."""

    def __init__(self, config: FitConfig, result: FitResult) -> None:
        self.config = config
        self.result = result

    @property
    def fits(self) -> bool:
        """Whether the training fits as it is."""
        return self.result.fits

    @property
    def proposal(self) -> Candidate | None:
        """The least harmful change that fits; None if none is needed, or none is enough."""
        return self.result.proposal

    @property
    def verdict(self) -> str:
        """One sentence that says whether it fits, and what to do if not."""
        return self.result.verdict()

    @property
    def frame(self) -> DataFrame:
        """A row for each candidate: change, peak_gb, seconds, measured, fits, before, flags."""
        from pandas import DataFrame

        rows = [
            {
                "change": each.change,
                "peak_gb": each.peak / 1e9,
                "seconds": each.seconds,
                "measured": each.measured,
                "fits": each.fits,
                "before": each.before,
                "flags": each.flags,
            }
            for each in self.result.candidates
        ]
        return DataFrame(rows)

    def _about(self) -> list[tuple[str, str]]:
        found = self.result
        pairs = [
            ("model", self.config.model),
            ("device", f"{found.device}, {gigabytes(found.memory / 1e9)}"),
            ("free for training", gigabytes(found.limit / 1e9)),
            ("beside it", gigabytes(found.overhead / 1e9) if found.overhead else ""),
            ("weights", gigabytes(found.weights / 1e9)),
            ("longest batch", f"{found.rows} x {found.length} tokens"),
            ("trunk cache", gigabytes(found.cache / 1e9) if found.cache else "none"),
            ("steps", f"{found.steps}"),
            ("time", self._time()),
        ]
        return [(name, plain(value)) for name, value in pairs if value]

    def _time(self) -> str:
        found = self.result
        plainly = duration(found.seconds_without_cache)
        if math.isnan(found.seconds_with_cache):
            return f"about {plainly}"
        return f"about {duration(found.seconds_with_cache)}, without the trunk cache {plainly}"

    def _rows(self) -> list[list[str]]:
        """The first candidates, the proposal among them."""
        found = self.result
        shown = found.candidates[: _SHOWN_IF_IT_FITS if found.fits else _SHOWN]
        if found.proposal is not None and found.proposal not in shown:
            shown = [*shown[:-1], found.proposal]
        return [
            [
                plain(each.change),
                gigabytes(each.peak / 1e9),
                duration(each.seconds),
                "measured" if each.measured else "reckoned",
                "yes" if each.fits else "no",
                plain(each.flags),
            ]
            for each in shown
        ]

    def __repr__(self) -> str:
        about = self._about()
        room = max(len(name) for name, _ in about)
        lines = ["<lora_nb fit>", plain(self.verdict)]
        lines += [f"  {name:<{room}}  {value}" for name, value in about]
        lines += ["", text_table(_COLUMNS, self._rows())]
        return "\n".join([*lines, *(plain(note) for note in self.result.notes)])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        notes = "".join(f"<div>{escape(plain(note))}</div>" for note in self.result.notes)
        return {
            "text/plain": repr(self),
            "text/html": wrapper(
                f'<div style="color:inherit;"><b>{escape(plain(self.verdict))}</b></div>',
                html_table(self._about()),
                html_table(self._rows(), _COLUMNS),
                f'<div style="color:inherit;">{notes}</div>',
            ),
        }
