"""From keyword arguments to configs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_nb.config import flags_of, load

__all__ = ["load_options", "path_of", "values_of"]


def load_options(kind: Any, file: str | Path | None, options: Mapping[str, Any]) -> Any:
    """A config from keyword arguments; `rank=4` may stand for `lora_parameters={"rank": 4}`.

    Rows that are given themselves, as a frame or a list, are written to a folder of their own.
    """
    return load(kind, file=path_of(file), flags=values_of(kind, options), flag_origin="")


def path_of(file: str | Path | None) -> Path | None:
    """The path of a file that a person has named, `~` and all."""
    return None if file is None else Path(file).expanduser()


def values_of(kind: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments as values by key, those of inner options where they belong."""
    inner = {flag.path[-1]: flag.path for flag in flags_of(kind) if len(flag.path) == 2}
    values: dict[str, Any] = {}
    for key, value in options.items():
        if key == "data" and not isinstance(value, str | Path):
            from lora_nb.dataset.given import keep_rows

            values[key] = str(keep_rows(value))
        elif key in inner:
            nested = values.setdefault(inner[key][0], {})
            nested[key] = value
        elif isinstance(value, Mapping) and isinstance(values.get(key), dict):
            values[key] |= value
        elif isinstance(value, Mapping):
            values[key] = dict(value)
        else:
            values[key] = str(value) if isinstance(value, Path) else value
    return values
