"""Models and adapters side by side: what each has answered to the same rows, and its loss."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_nb.display.tables import html_table, wrapper
from lora_nb.display.text_table import text_table
from lora_nb.errors import LoraError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Comparison"]

_SHOWN = 5
_LONGEST = 300


@dataclass(frozen=True, eq=False)
class Comparison:
    """What several contenders made of the same rows; `rows` are those of `comparison.json`.

    The rows come with the highest loss of the last contender first.
    """

    contenders: Sequence[str]
    rows: Sequence[dict[str, Any]]

    @classmethod
    def of(cls, path: Path) -> Comparison:
        """The comparison of a run. Raises LoraError if it was stopped before it was done."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise LoraError("The comparison was stopped before it was done.") from None
        except (OSError, ValueError) as problem:
            raise LoraError(f"{path} can't be read: {problem}.") from None
        return cls(found["contenders"], sorted(found["rows"], key=_badness))

    @property
    def frame(self) -> DataFrame:
        """The rows: place, prompt, expected answer, then loss, exact match, answer of each."""
        import pandas as pd

        frame = pd.DataFrame(
            [
                {
                    **{key: row[key] for key in ("row", "prompt", "expected")},
                    **self._cells(row["answers"]),
                }
                for row in self.rows
            ]
        )
        for name in self.contenders:
            frame[f"{name} exact"] = frame[f"{name} exact"].astype("boolean")
            frame[f"{name} loss"] = frame[f"{name} loss"].astype("float64")
        return frame

    def _cells(self, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {
            f"{name} {column}": answer[key]
            for name, answer in zip(self.contenders, answers, strict=True)
            for column, key in (("loss", "loss"), ("exact", "exact"), ("answer", "text"))
        }

    @property
    def summary(self) -> DataFrame:
        """One row for each contender: the mean of its rows' losses, and the share of exact answers.

        Both are NaN where there is nothing to count.
        """
        import pandas as pd

        index = pd.Index(list(self.contenders), name="contender")
        figures = [self._figures(number) for number in range(len(self.contenders))]
        return pd.DataFrame(figures, index=index, columns=["loss", "exact", "rows"])

    def _figures(self, number: int) -> tuple[float, float, int]:
        answers = [row["answers"][number] for row in self.rows]
        losses = [math.nan if each["loss"] is None else each["loss"] for each in answers]
        exact = [each["exact"] for each in answers if each["exact"] is not None]
        return _mean(losses), _mean(exact), len(answers)

    def _summary_rows(self) -> list[Sequence[str]]:
        rows: list[Sequence[str]] = []
        for number, name in enumerate(self.contenders):
            mean, exact, count = self._figures(number)
            rows.append(
                (name, _loss(mean), "" if math.isnan(exact) else f"{exact:.0%}", f"{count}")
            )
        return rows

    def __repr__(self) -> str:
        parts = [text_table(_HEAD, self._summary_rows())]
        for row in self.rows[:_SHOWN]:
            lines = [
                ("prompt", "", _short(row["prompt"])),
                ("expected", "", _short(row["expected"])),
            ]
            parts.append(f"{row['row']}\n{text_table(_ROW_HEAD, [*lines, *self._lines(row)])}")
        if len(self.rows) > _SHOWN:
            parts.append(f"and {len(self.rows) - _SHOWN} more rows in .frame")
        return "\n\n".join(parts)

    def _lines(self, row: dict[str, Any]) -> list[tuple[str, str, str]]:
        return [
            (name, _loss(each["loss"]), _short(each["text"]))
            for name, each in zip(self.contenders, row["answers"], strict=True)
        ]

    def _repr_html_(self) -> str:
        head = ["row", "prompt", "expected"]
        head += [f"{name}{part}" for name in self.contenders for part in (" (loss)", "")]
        body = []
        for row in self.rows[:_SHOWN]:
            cells = [row["row"], _short(row["prompt"]), _short(row["expected"])]
            cells += [cell for line in self._lines(row) for cell in line[1:]]
            body.append(cells)
        more = len(self.rows) - _SHOWN
        caption = "Highest loss first" + (f"; {more} more rows in .frame" if more > 0 else "")
        return wrapper(html_table(self._summary_rows(), _HEAD), html_table(body, head, caption))


_HEAD = ("contender", "loss", "exact", "rows")
_ROW_HEAD = ("", "loss", "text")


def _badness(row: dict[str, Any]) -> float:
    """The loss of the last contender, downwards; what is no number comes first."""
    value = row["answers"][-1]["loss"]
    return -math.inf if value is None else -round(value, 6)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _loss(value: float | None) -> str:
    """Two decimals: the same on all computers, as far as there is such a thing."""
    return "nan" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
