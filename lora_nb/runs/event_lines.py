"""Events as lines of a run's `events.jsonl`, one JSON object each.

A line is `{"seq": 12, "time": 1764000000.5, "type": "TrainLoss", ...fields}`. It counts only with
its newline, so readers hold back an unended tail.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, get_args

from lora_nb.redact import redacted
from lora_nb.runs.events import Event, Record, Sample

__all__ = ["decode", "encode"]

_TYPES: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Event)}


def encode(record: Record) -> bytes:
    """A record as one JSON line in UTF-8. Floats that JSON lacks become strings."""
    values = {
        "seq": record.seq,
        "time": round(record.time, 3),
        "type": type(record.event).__name__,
        **_fields(record.event),
    }
    return json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _fields(event: Event) -> dict[str, Any]:
    values = dataclasses.asdict(event)
    # What a model was asked and says belongs to the user, as rows do.
    if isinstance(event, Sample):
        return values
    return {key: _plain(value) for key, value in values.items()}


def decode(line: bytes) -> Record:
    """A record from its line.

    Fields unknown to this version are left out, so that newer runs stay readable.
    Raises ValueError for a line that is no event of this version.
    """
    values = json.loads(line)
    if not isinstance(values, dict) or values.get("type") not in _TYPES:
        raise ValueError(f"not an event: {line[:80]!r}")
    kind = _TYPES[values["type"]]
    fields = {f.name: f for f in dataclasses.fields(kind)}
    try:
        known = {
            key: float(value) if fields[key].type == "float" else value
            for key, value in values.items()
            if key in fields
        }
        return Record(values["seq"], values["time"], kind(**known))
    except (KeyError, TypeError) as problem:
        raise ValueError(f"not an event: {line[:80]!r}") from problem


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
