"""What a model said in the midst of its training, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lora_nb.runs.events import Record, Sample

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["samples_frame"]


def samples_frame(records: Iterable[Record]) -> DataFrame:
    """A DataFrame of the samples of a run in their order: `step`, `prompt`, `text`."""
    from pandas import DataFrame

    samples = [record.event for record in records if isinstance(record.event, Sample)]
    rows = [(sample.step, sample.prompt, sample.text) for sample in samples]
    return DataFrame(rows, columns=["step", "prompt", "text"])
