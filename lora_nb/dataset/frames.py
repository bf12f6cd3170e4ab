"""Findings, figures and rows as DataFrames."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lora_nb.data.faults import RowError
from lora_nb.data.findings import Finding
from lora_nb.data.lengths import Lengths
from lora_nb.data.measure import SplitMeasure
from lora_nb.data.rows import Rows
from lora_nb.data.survey import Shape

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["findings_frame", "rows_frame", "summary_frame"]

_QUANTILES = {"min": 0.0, "median": 0.5, "p95": 0.95, "max": 1.0}


def findings_frame(findings: Iterable[Finding]) -> DataFrame:
    """One line for each kind of finding, errors first."""
    import pandas as pd

    names = ["severity", "code", "split", "count", "where", "value", "message", "remedy"]
    return pd.DataFrame([[getattr(each, name) for name in names] for each in findings], None, names)


def summary_frame(
    shapes: Mapping[str, Shape], measures: Mapping[str, SplitMeasure] | None
) -> DataFrame:
    """One line for each split: in tokens where they were counted, else in characters."""
    import pandas as pd

    rows = [
        _shaped(shape) if measures is None else _measured(shape, measures.get(name))
        for name, shape in shapes.items()
    ]
    return pd.DataFrame(rows, index=pd.Index(list(shapes), name="split"))


def _shaped(shape: Shape) -> dict[str, object]:
    return {
        "rows": shape.rows,
        "looked_at": shape.seen,
        "formats": ", ".join(shape.kinds),
        "keys": ", ".join(shape.keys),
        **_quantiles("characters", shape.characters),
    }


def _measured(shape: Shape, found: SplitMeasure | None) -> dict[str, object]:
    if found is None:
        return {"rows": shape.rows}
    return {
        "rows": found.rows,
        "formats": ", ".join(found.kinds),
        "keys": ", ".join(shape.keys),
        **_quantiles("tokens", found.lengths),
        "tokens_total": found.lengths.total,
        "sequences": found.sequences,
        "tokens_used": found.tokens,
        "tokens_trained": found.trained,
        "trained_share": found.trained / found.tokens if found.tokens else 0.0,
        "cut_rows": found.cut_rows,
        "cut_tokens": found.cut_tokens,
        "dropped": found.dropped,
        "no_target": found.skipped,
        "padding_waste": found.padding,
    }


def _quantiles(unit: str, lengths: Lengths) -> dict[str, object]:
    return {f"{unit}_{name}": lengths.quantile(share) for name, share in _QUANTILES.items()}


def rows_frame(parts: Iterable[tuple[str, Rows, Sequence[int]]]) -> DataFrame:
    """Rows by number: their split, number, place and keys; `problem` says why one is no row.

    Values other than texts are written as JSON.
    """
    import pandas as pd

    lines: list[dict[str, object]] = []
    for name, rows, numbers in parts:
        lines += [
            {"split": name, "row": number, "where": rows.where(number), **_cells(rows, number)}
            for number in numbers
        ]
    frame = pd.DataFrame(lines)
    return frame if len(frame.columns) else pd.DataFrame(columns=["split", "row", "where"])


def _cells(rows: Rows, number: int) -> dict[str, object]:
    try:
        row = rows.row(number)
    except RowError as error:
        return {"problem": error.message}
    # A key of the data must not take the place of a column of ours.
    return {_name(str(key)): _cell(value) for key, value in row.items()}


def _name(key: str) -> str:
    return f"{key} (key)" if key in ("split", "row", "where", "problem") else key


def _cell(value: Any) -> object:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
