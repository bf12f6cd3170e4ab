"""Options of which several values are given: told apart from lists, and put below `sweep`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lora_nb.config.fields import NESTED
from lora_nb.config.flags import Flag, flags_of
from lora_nb.config.grid import FIXED
from lora_nb.config.merging import RIVALS, SWEEP
from lora_nb.config.options import SweepConfig
from lora_nb.errors import listed

__all__ = ["between_commas", "in_a_list", "spread"]


def spread(
    values: Mapping[str, Any], several: Callable[[Flag, Any], list[Any] | None]
) -> dict[str, Any]:
    """Option values with those of which there are `several` moved below the key `sweep`."""
    flags = {flag.path: flag for flag in flags_of(SweepConfig)}
    kept: dict[str, Any] = {}
    swept: dict[str, Any] = {}
    for key, value in values.items():
        inner = value.items() if key in NESTED and isinstance(value, Mapping) else ()
        taken = {name: _asked(flags.get((key, name)), each, several) for name, each in inner}
        taken = {name: found for name, found in taken.items() if found is not None}
        swept |= taken
        if taken:
            kept[key] = {name: each for name, each in inner if name not in taken}
        elif (found := _asked(flags.get((key,)), value, several)) is not None:
            swept[key] = found
        else:
            kept[key] = value
    _check_rivals(swept, kept)
    if swept:
        kept[SWEEP] = {**kept.get(SWEEP, {}), **swept}
    return {key: value for key, value in kept.items() if not _is_emptied(value)}


def _is_emptied(value: object) -> bool:
    return isinstance(value, Mapping) and not value


def _check_rivals(swept: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """Raise LoraError for an option beside one of several values that says the same thing."""
    inner = (value for key, value in kept.items() if key in NESTED and isinstance(value, Mapping))
    beside = {*kept, *(key for each in inner for key in each)}
    problems = [
        f"{theirs}: given beside {ours}. Give one of the two."
        for pair in RIVALS
        for ours, theirs in (pair, pair[::-1])
        if ours in swept and theirs in beside
    ]
    if problems:
        raise listed(problems)


def _asked(
    flag: Flag | None, value: Any, several: Callable[[Flag, Any], list[Any] | None]
) -> list[Any] | None:
    return None if flag is None or flag.path[-1] in FIXED else several(flag, value)


def between_commas(flag: Flag, value: Any) -> list[Any] | None:
    """Values as they stand behind a flag: `1e-5,1e-4`. Of lists, commas part the members."""
    if flag.is_list or not isinstance(value, str) or "," not in value:
        return None
    return [part.strip() for part in value.split(",")]


def in_a_list(flag: Flag, value: Any) -> list[Any] | None:
    """Values as they stand in an argument: a list, or for options that are lists, one of lists."""
    if isinstance(value, range) or hasattr(value, "tolist"):
        # An array or a column of a frame, whose numbers are no plain ones.
        value = list(value) if isinstance(value, range) else value.tolist()
    if not isinstance(value, list | tuple):
        return None
    if flag.is_list and not all(isinstance(each, list | tuple) for each in value):
        return None
    return list(value)
