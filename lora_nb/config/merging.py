"""Layers of option values put on top of each other, key by key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lora_nb.config.fields import NESTED
from lora_nb.config.yaml_io import KeyPath, Layer

__all__ = ["RIVALS", "SWEEP", "merged"]

SWEEP = "sweep"
"""The key below which options have several values to try."""

# Two words for one thing: the one in the later layer replaces the other.
RIVALS = (("iters", "epochs"), ("mask_prompt", "train_on"), ("scale", "alpha"))


def merged(layers: Iterable[Layer]) -> tuple[dict[str, Any], dict[KeyPath, Layer]]:
    """The values of all layers, later ones on top, and the layer that each key came from."""
    values: dict[str, Any] = {}
    owners: dict[KeyPath, Layer] = {}
    for layer in layers:
        given = {
            key: _flat(value) if key == SWEEP else value for key, value in layer.values.items()
        }
        _make_room(values, given)
        for key, value in given.items():
            old = values.get(key)
            if key in (*NESTED, SWEEP) and isinstance(value, Mapping) and isinstance(old, Mapping):
                _make_room(inner := dict(old), value)
                values[key] = {**inner, **value}
            else:
                values[key] = value
            owners[(key,)] = layer
            if isinstance(value, Mapping):
                owners |= {(key, str(inner)): layer for inner in value}
    return values, owners


def _flat(sweep: Any) -> Any:
    """What is to be tried with the keys inside of nested options beside all others."""
    if not isinstance(sweep, Mapping):
        return sweep
    flat: dict[str, Any] = {}
    for key, values in sweep.items():
        nested = key in NESTED and isinstance(values, Mapping)
        flat |= {str(inner): each for inner, each in values.items()} if nested else {key: values}
    return flat


def _make_room(lower: dict[str, Any], upper: Mapping[str, Any]) -> None:
    """Take out of the lower layers what a key of the upper one replaces."""
    for one, other in RIVALS:
        for ours, theirs in ((one, other), (other, one)):
            if upper.get(theirs) is not None and ours not in upper:
                lower.pop(ours, None)
    if isinstance(swept := lower.get(SWEEP), Mapping):
        inner = {
            key for name in NESTED if isinstance(upper.get(name), Mapping) for key in upper[name]
        }
        lower[SWEEP] = {key: each for key, each in swept.items() if key not in {*upper, *inner}}
    schedule = lower.get("lr_schedule")
    if "learning_rate" in upper and "lr_schedule" not in upper and isinstance(schedule, Mapping):
        lower["lr_schedule"] = _started_at(schedule, upper["learning_rate"])


def _started_at(schedule: Mapping[str, Any], learning_rate: Any) -> dict[str, Any]:
    """The schedule with another initial learning rate, if that is one."""
    arguments = schedule.get("arguments")
    try:
        float(learning_rate)
    except (TypeError, ValueError):
        return dict(schedule)
    if not isinstance(arguments, list) or not arguments:
        return dict(schedule)
    return {**schedule, "arguments": [learning_rate, *arguments[1:]]}
