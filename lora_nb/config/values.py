"""Values of options as they are told: in tables, names of curves and messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["said"]


def said(value: Any) -> str:
    """A value as YAML would have it, numbers short: `0.0001`, `true`, `none`, `[a, b]`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {said(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(said, value))}]"
    return str(value)
