"""What a form's inputs amount to: a checked config, or which option is wrong in which words."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lora_nb.config import Flag, load
from lora_nb.config.fields import specs_of
from lora_nb.errors import LoraError, listed
from lora_nb_widgets.config_form_fields import Path, value_at

__all__ = ["Checked", "check", "defaults_of", "nested", "plain", "refuse_unknown"]

_SEVERAL = re.compile(r"\d+ problems:\n")
_NO_OPTION = ": not an option."
_DECIDING = ("model", "data")


@dataclass(frozen=True)
class Checked:
    """A config, or None and the problems: by option, and those that belong to none.

    `values` are the given ones that differ from the defaults, nested as in YAML.
    """

    config: Any = None
    values: dict[str, Any] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @property
    def error(self) -> str:
        """All problems as lines."""
        return "\n".join([*self.problems.values(), *self.others])


def check(
    kind: type[Any],
    given: Mapping[Path, Any],
    options: Iterable[Flag],
    defaults: Mapping[str, Any],
) -> Checked:
    """Check given values by the rules of the flags."""
    try:
        config = load(kind, flags=nested(given))
    except LoraError as problem:
        return _failed(str(problem), options)
    values = plain(config)
    told = {
        path: value_at(values, path)
        for path in given
        if value_at(values, path) != value_at(defaults, path)
    }
    return Checked(config, nested(told))


def refuse_unknown(kind: type[Any], values: Mapping[str, Any]) -> None:
    """Raise LoraError for the keys that are no options, in the words of the flags."""
    try:
        load(kind, flags=values)
    except LoraError as problem:
        if unknown := [line for line in _lines(str(problem)) if _NO_OPTION in line]:
            raise listed(unknown) from None


def defaults_of(kind: type[Any], given: Mapping[Path, Any]) -> dict[str, Any]:
    """The defaults beside the given values: the demo's own where that is chosen."""
    deciding = {path: given[path] for path in given if path[0] in _DECIDING}
    try:
        values = plain(load(kind, flags=nested(deciding)))
    except LoraError:
        values = {spec.key: _plain(spec.default) for spec in specs_of(kind)}
    # These are no defaults, but given.
    own = {spec.key: _plain(spec.default) for spec in specs_of(kind)}
    return values | {path[0]: own[path[0]] for path in deciding}


def plain(config: Any) -> dict[str, Any]:
    """A config as a mapping of its keys, nested ones too."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def nested(values: Mapping[Path, Any]) -> dict[str, Any]:
    """Values by path as nested mappings."""
    result: dict[str, Any] = {}
    for path, value in values.items():
        place = result
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = value
    return result


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(value)
    return value


def _failed(message: str, options: Iterable[Flag]) -> Checked:
    names = {name: flag.path for flag in options for name in (*flag.names, ".".join(flag.path))}
    problems: dict[Path, str] = {}
    others: list[str] = []
    for line in _lines(message):
        path = _owner(line, names)
        if path is None:
            others.append(line)
        else:
            problems[path] = "\n".join(filter(None, [problems.get(path), line]))
    return Checked(problems=problems, others=tuple(others))


def _lines(message: str) -> list[str]:
    """The problems of a message, one each."""
    lines = message.split("\n")
    if _SEVERAL.match(message):
        lines = [line.removeprefix("  - ") for line in lines[1:]]
    return lines


def _owner(line: str, names: Mapping[str, Path]) -> Path | None:
    """The option that a problem's line begins with, or one that holds what it begins with."""
    place = re.split(r":? ", line, maxsplit=1)[0].rstrip(":")
    while place:
        if place in names:
            return names[place]
        place = place.rpartition(".")[0]
    return None
