"""The grid of a sweep: which options have several values, and the training of each combination."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from lora_nb.config import rules
from lora_nb.config.fields import NESTED, specs_of
from lora_nb.config.merging import SWEEP, merged
from lora_nb.config.options import SweepConfig, TrainConfig
from lora_nb.config.rules_shipping import Problem
from lora_nb.config.words import in_our_words, without_variants
from lora_nb.config.yaml_io import Layer
from lora_nb.errors import did_you_mean

__all__ = [
    "FIXED",
    "MOST",
    "Trial",
    "broken_by",
    "trials_of",
    "typed",
]

MOST = 200
"""Trials that a sweep may have."""

# What each trial has of its own, and what is no property of a training.
FIXED = ("name", "adapter_path", "resume_adapter_file", "report_to", "project_name", "train")
_NAME_LENGTH = 48

Config = TypeVar("Config")


@dataclass(frozen=True)
class Trial:
    """One combination: `values` by option, and the training with them. `number` counts from 1."""

    number: int
    name: str
    values: dict[str, Any]
    config: TrainConfig


def broken_by(config: object) -> Iterator[Problem]:
    """What is wrong with the values that a sweep is to try, alone and together."""
    if not isinstance(config, SweepConfig):
        return
    if not config.sweep:
        told = "no option has several values. Give one some: --learning-rate 1e-5,1e-4 on a line, "
        more = "sweep: {learning_rate: [1e-5, 1e-4]} in YAML, or learning_rate=[1e-5, 1e-4]."
        yield (SWEEP,), f"{told}{more}"
        return
    problems = list(_wrong_options(config))
    count = math.prod(len(values) for values in config.sweep.values())
    if count > MOST:
        problems.append(
            ((SWEEP,), f"has {count} combinations, more than {MOST}. Give fewer values.")
        )
    yield from problems or _wrong_together(config)


def _wrong_options(config: SweepConfig) -> Iterator[Problem]:
    kinds = (TrainConfig, NESTED["lora_parameters"])
    known = [spec.key for kind in kinds for spec in specs_of(kind)]
    for key, values in config.sweep.items():
        if key not in known:
            yield (SWEEP, key), f"not an option.{did_you_mean(key, known)}"
        elif key in FIXED:
            yield (SWEEP, key), "can't have several values: it is the same for all trials."
        elif not values:
            yield (SWEEP, key), "has no values to try."
        else:
            yield from _wrong_values(config, key)


def _wrong_values(config: SweepConfig, key: str) -> Iterator[Problem]:
    seen: list[Any] = []
    for value in config.sweep[key]:
        found, details = _changed(config, {key: value})
        yield from (((SWEEP, key), _told(detail)) for detail in details if _is_of(detail, key))
        read = _value_of(found, key) if found else value
        if read in seen:
            yield (SWEEP, key), f"{value!r} stands twice."
        seen.append(read)


def _is_of(detail: Mapping[str, Any], key: str) -> bool:
    return key in [str(part) for part in detail["loc"]]


def _told(detail: Mapping[str, Any]) -> str:
    path = tuple(str(part) for part in detail["loc"] if part != "[key]")
    return in_our_words(detail, path, TrainConfig)


def _wrong_together(config: SweepConfig) -> Iterator[Problem]:
    """Rules that a combination breaks although the options beside it break none."""
    alone = set(rules.broken_by(config))
    for values in _combinations(config):
        found, details = _changed(config, values)
        name = " ".join(f"{key} {value}" for key, value in values.items())
        for detail in details:
            yield (str(detail["loc"][0]),), f"{_told(detail)} (with {name})"
        for path, text in rules.broken_by(found) if found else ():
            if (path, text) not in alone:
                place = (SWEEP, path[-1]) if path[-1] in values else path
                yield place, f"{text.rstrip('.')} (with {name})."


def _combinations(config: SweepConfig) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*config.sweep.values()):
        yield dict(zip(config.sweep, values, strict=True))


def _changed(
    config: SweepConfig, changes: Mapping[str, Any]
) -> tuple[TrainConfig | None, list[Mapping[str, Any]]]:
    """The training with some options changed, or what is wrong with it."""
    base = dataclasses.asdict(config)
    base.pop(SWEEP)
    base["adapter_path"] = base["adapter_path"] or "adapters"
    upper: dict[str, Any] = {}
    for key, value in changes.items():
        if owner := _owner(key):
            upper.setdefault(owner, {})[key] = value
        else:
            upper[key] = value
    values, _ = merged([Layer("", base), Layer("", upper)])
    try:
        return TrainConfig(**values), []
    except ValidationError as error:
        return None, list(without_variants(error.errors()))


def _owner(key: str) -> str:
    """The nested option that a key lies in, or nothing."""
    inner = any(spec.key == key for spec in specs_of(NESTED["lora_parameters"]))
    return "lora_parameters" if inner else ""


def _value_of(config: TrainConfig, key: str) -> Any:
    owner = _owner(key)
    return getattr(getattr(config, owner) if owner else config, key)


def typed(config: Config) -> Config:
    """A sweep with values as they are used, numbers in place of the texts of a line.

    Other configs are as they are.
    """
    if not isinstance(config, SweepConfig):
        return config
    sweep = {
        key: [_read(config, key, value) for value in each] for key, each in config.sweep.items()
    }
    return dataclasses.replace(config, sweep=sweep)


def _read(config: SweepConfig, key: str, value: Any) -> Any:
    found, _ = _changed(config, {key: value})
    read = _value_of(found, key) if found else value
    if dataclasses.is_dataclass(read) and isinstance(value, Mapping):
        # What is not given comes from the options beside it, as in the check.
        return {inner: getattr(read, inner) for inner in value}
    return read


def trials_of(config: SweepConfig, adapters: str = "adapters") -> list[Trial]:
    """Every combination, the last option's values changing fastest.

    The adapters go to folders of their own below `adapters`, or below the config's adapter_path.
    """
    trials: list[Trial] = []
    names: set[str] = set()
    for number, values in enumerate(_combinations(config), 1):
        found, _ = _changed(config, values)
        assert found is not None
        name = _free(_name_of(values), names)
        run_name = f"{config.name}-{name}"[-64:].lstrip("-.") if config.name else name
        own = f"{config.adapter_path or adapters}/{name}"
        # In the sweep's own folder there is only what its own trials have left.
        replaces = config.overwrite or not config.adapter_path
        trial = dataclasses.replace(found, name=run_name, adapter_path=own, overwrite=replaces)
        trials.append(Trial(number, name, values, trial))
    return trials


def _name_of(values: Mapping[str, Any]) -> str:
    words = "-".join(f"{_SHORT.get(key, key)}-{_text(value)}" for key, value in values.items())
    return re.sub(r"[^\w.]+", "-", words)[:_NAME_LENGTH].strip("-.")


_SHORT = {"learning_rate": "lr", "batch_size": "batch", "num_layers": "layers"}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return re.sub(r"e-0*", "e-", f"{value:g}")
    if isinstance(value, Mapping):
        pairs = (f"{key}-{_text(each)}" for key, each in value.items())
        return str(value.get("name") or "-".join(pairs) or None)
    return str(value).rstrip("/").rpartition("/")[2]


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number behind it if it is taken."""
    tries = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    # Names of folders, which on some disks don't tell capitals apart.
    free = next(each for each in tries if each.lower() not in taken)
    taken.add(free.lower())
    return free
