"""A YAML file of options, sorted for a form: what is its own, another verb's, or nobody's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_nb.config import load
from lora_nb.config.fields import NESTED, specs_of
from lora_nb.config.yaml_io import read_yaml_file
from lora_nb.errors import LoraError

__all__ = ["Loaded", "read_options"]


@dataclass(frozen=True)
class Loaded:
    """The options of a form; keys of other verbs; and a sentence on each key of none."""

    values: dict[str, Any] = field(default_factory=dict)
    foreign: dict[str, Any] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """What of the file the form does not use."""
        lines = list(self.unknown.values())
        if self.foreign:
            lines.append(f"Of other verbs, kept but not used here: {', '.join(self.foreign)}.")
        return "\n".join(lines)


def read_options(kind: type[Any], path: Path) -> Loaded:
    """Read a file for the form of a config. Raises LoraError if it can't be read."""
    layer = read_yaml_file(path)
    own = {spec.key for spec in specs_of(kind)}
    unknown = _unknown(kind, path, layer.values)
    loaded = Loaded(unknown=unknown)
    for key, value in layer.values.items():
        if str(key) in unknown or value is None:
            continue
        (loaded.values if key in own else loaded.foreign)[str(key)] = _known(key, value, unknown)
    return loaded


def _known(key: str, value: Any, unknown: Mapping[str, str]) -> Any:
    """A value without the nested keys that are no options."""
    if key not in NESTED or not isinstance(value, Mapping):
        return value
    return {name: inner for name, inner in value.items() if f"{key}.{name}" not in unknown}


def _unknown(kind: type[Any], path: Path, values: Mapping[str, Any]) -> dict[str, str]:
    """The keys that no input can take, with the sentence that `-c` has for each."""
    try:
        load(kind, file=path)
    except LoraError as problem:
        lines = [line.removeprefix("  - ") for line in str(problem).splitlines()]
    else:
        return {}
    dotted = [str(key) for key in values]
    dotted += [f"{key}.{name}" for key in NESTED for name in _inner(values.get(key))]
    # There are inputs for what is inside these, and none for anything in their place.
    flat = {spec.key for spec in specs_of(kind) if spec.key in NESTED and spec.opt.flag}
    flat -= {key for key in flat if isinstance(values.get(key), Mapping)}
    found: dict[str, str] = {}
    for key in dotted:
        wanted = f"{key}: " if key in flat else f"{key}: not an option."
        for line in lines:
            if line.partition(": ")[2].startswith(wanted):
                found[key] = line
    return found


def _inner(value: Any) -> list[str]:
    return list(map(str, value)) if isinstance(value, Mapping) else []
