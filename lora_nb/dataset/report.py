"""The result of a look at data."""

from __future__ import annotations

from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lora_nb.config import DataConfig
from lora_nb.config.derived import train_on_of
from lora_nb.data.findings import Finding
from lora_nb.data.lengths import Lengths
from lora_nb.data.mark import read_mark
from lora_nb.data.measure import Measured
from lora_nb.data.rows import Rows
from lora_nb.data.sources import Splits
from lora_nb.data.survey import Survey
from lora_nb.dataset.account import Account
from lora_nb.dataset.frames import findings_frame, rows_frame, summary_frame
from lora_nb.dataset.places import find_row, rows_of_split
from lora_nb.dataset.summary import head_table, summary_table
from lora_nb.display.data_record import DataRecord, Fixed, Picture, html_of, text_of
from lora_nb.display.figure import DPI
from lora_nb.display.histogram import histogram_alt, length_histogram
from lora_nb.display.mask_view import MaskView
from lora_nb.display.notebook import this_cell
from lora_nb.display.picture import base64_text, png
from lora_nb.errors import LoraError
from lora_nb.runs import engine

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

__all__ = ["DataReport", "mask_view"]

_FINE = 2
_HEAD = 3
_TEMPLATES = {
    "model": "the model's chat template",
    "file": "a chat template from a file",
    "chatml": "ChatML, as the model has no chat template",
}


class DataReport:
    """Data as training sees it: findings, figures, rows, masks.

    Without a model there are no tokens: lengths are in characters, and of a large split only some
    rows are looked at. If the data is a cleaned copy that was made just now, `fixed` says what was
    dropped or changed for it.
    """

    def __init__(
        self,
        config: DataConfig,
        splits: Splits,
        seen: Survey,
        measured: Measured | None = None,
        fixed: Account | None = None,
    ) -> None:
        self.config = config
        self.splits = splits
        self.fixed = fixed
        self._seen = seen
        self._measured = measured
        self._drawn_in: int | None = None

    @property
    def title(self) -> str:
        """What the data is called: its path or name, or that of a notebook's variable."""
        mark = read_mark(Path(self.config.data).expanduser())
        return mark.title if mark is not None and mark.made == "notebook" else self.config.data

    @property
    def summary(self) -> DataFrame:
        """One line for each split: rows, formats, lengths, and with a model what is trained."""
        return summary_frame(
            self._seen.shapes, None if self._measured is None else self._measured.splits
        )

    @property
    def findings(self) -> DataFrame:
        """One line for each kind of fault: severity, how often, where first, what to do."""
        return findings_frame(self._findings)

    @property
    def found(self) -> list[Finding]:
        """The same as records, with the first places of each."""
        return list(self._findings)

    @property
    def ok(self) -> bool:
        """Whether there is no error that would keep a training from starting."""
        return all(finding.severity != "error" for finding in self._findings)

    def head(self, count: int = 5, split: str | None = None) -> DataFrame:
        """The first rows of a split (of train, if it is there)."""
        return self.page(0, count, split)

    def page(self, start: int = 0, count: int = 20, split: str | None = None) -> DataFrame:
        """`count` rows from number `start` on, counted from 0."""
        name, rows = rows_of_split(self.splits, split)
        numbers = range(len(rows))[max(0, start) : max(0, start) + max(0, count)]
        return rows_frame([(name, rows, numbers)])

    def search(self, text: str, limit: int = 20, split: str | None = None) -> DataFrame:
        """The first rows that hold a text in a key or value, whatever its letter case."""
        if not text:
            raise LoraError("There is nothing to search for: the text is empty.")
        parts: list[tuple[str, Rows, list[int]]] = []
        for name, rows in self.splits.items():
            if split is None or name == rows_of_split(self.splits, split)[0]:
                found = list(islice(rows.find(text), limit - sum(len(part[2]) for part in parts)))
                parts.append((name, rows, found))
        return rows_frame(parts)

    def row(self, place: int | str) -> MaskView:
        """A row as training sees it: 17 (of train, counted from 0), "valid:17", "valid.jsonl:17".

        Raises LoraError if there is no such row, it cannot be used, or no model is named.
        """
        return mask_view(self.config, self.splits, place)

    def histogram(self) -> Figure:
        """The lengths of all rows as a matplotlib figure."""
        return length_histogram(self._lengths, unit=self._unit, limit=self._limit, title=self.title)

    @property
    def alt_text(self) -> str:
        """What the histogram shows, in words."""
        return histogram_alt(self._lengths, unit=self._unit, limit=self._limit)

    def drawn(self) -> DataReport:
        """The same report, whose picture this cell shows already."""
        self._drawn_in = this_cell()
        return self

    def __str__(self) -> str:
        return text_of(self._record)

    __repr__ = __str__

    def _repr_mimebundle_(self, **_asked: object) -> dict[str, str]:
        if self._drawn_in is not None and self._drawn_in == this_cell():
            return {"text/plain": str(self), "text/html": html_of(self._record, None)}
        return {
            "text/plain": str(self),
            "text/html": self.html(),
            "image/png": self._picture.png,
        }

    def html(self) -> str:
        """The report as static HTML with its histogram, every text escaped."""
        return html_of(self._record, self._picture)

    @property
    def _findings(self) -> list[Finding]:
        return self._seen.findings if self._measured is None else self._measured.findings

    @property
    def _unit(self) -> str:
        return "characters" if self._measured is None else "tokens"

    @property
    def _limit(self) -> int | None:
        return None if self._measured is None else self.config.max_seq_length

    @property
    def _lengths(self) -> dict[str, Lengths]:
        if self._measured is None:
            return {name: shape.characters for name, shape in self._seen.shapes.items()}
        return {name: found.lengths for name, found in self._measured.splits.items()}

    @cached_property
    def _picture(self) -> Picture:
        figure = self.histogram()
        width, height = (round(side * DPI) for side in figure.get_size_inches())
        return Picture(base64_text(png(figure, DPI * _FINE)), width, height, self.alt_text)

    @cached_property
    def _record(self) -> DataRecord:
        first = next(iter(dict(self.splits.items())))
        return DataRecord(
            title=self.title,
            about=self._about(),
            fixed=self._fixed(),
            findings=self._findings,
            summary=summary_table(
                self._seen.shapes, None if self._measured is None else self._measured.splits
            ),
            head=head_table(rows_of_split(self.splits, first)[1], _HEAD),
        )

    def _fixed(self) -> Fixed | None:
        if self.fixed is None:
            return None
        return Fixed(self.fixed.headline, self.fixed.table, self.fixed.lines)

    def _about(self) -> list[tuple[str, str]]:
        if self._measured is None:
            return [("model", "none, so no tokens are counted (give --model)")]
        return [
            ("model", self.config.model or ""),
            ("trained on", train_on_of(self.config)),
            ("template", _TEMPLATES[self._measured.template]),
            ("max_seq_length", f"{self.config.max_seq_length:,} ({self.config.long_rows})"),
        ]


def mask_view(config: DataConfig, splits: Splits, place: int | str) -> MaskView:
    """A row of some data as training sees it; see `DataReport.row`."""
    name, rows, number = find_row(splits, place)
    if config.model is None:
        raise LoraError("The tokens of a row need a tokenizer: name a model (--model).")
    where = rows.where(number)
    row = engine.encode(config, rows.row(number), where)
    return MaskView(row, f"{name} row {number} ({where})")
