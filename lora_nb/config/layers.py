"""From layers to a config: defaults < demo defaults < YAML < flags, all errors at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from lora_nb.config import grid, rules
from lora_nb.config.fields import specs_of
from lora_nb.config.flags import flags_of
from lora_nb.config.merging import SWEEP, merged
from lora_nb.config.options import DataConfig, FitConfig, SweepConfig, TestConfig, TrainConfig
from lora_nb.config.options_generating import CompareConfig, GenerateConfig
from lora_nb.config.options_shipping import ConvertConfig, FuseConfig, UploadConfig
from lora_nb.config.words import in_our_words, without_variants
from lora_nb.config.yaml_io import KeyPath, Layer, read_yaml_file, read_yaml_text, secrets_in
from lora_nb.errors import listed

__all__ = ["Config", "load"]

Config = TypeVar(
    "Config",
    TrainConfig,
    TestConfig,
    GenerateConfig,
    DataConfig,
    ConvertConfig,
    FuseConfig,
    CompareConfig,
    FitConfig,
    SweepConfig,
    UploadConfig,
)

# Keys of mlx-lm's YAML that say what to do rather than how. Here the verb says it.
_VERB_KEYS = {"config"}

# What is said to a model is not kept in a run's folder.
_SPOKEN = ("prompt", "system_prompt", "history", "prefill_response")
_KEPT = (
    "holds what looks like a password or token. Options are written to the run's folder, so it "
    "is not taken; set it in the environment (Hugging Face: HF_TOKEN, or log in)."
)


def load(
    kind: type[Config],
    *,
    file: Path | None = None,
    cell: str | None = None,
    flags: Mapping[str, Any] | None = None,
    flag_origin: str = "",
) -> Config:
    """A checked config from a YAML file, YAML text and flag values (or keyword arguments).

    Later layers win key by key, inside nested options too. Raises one LoraError that lists every
    problem with its file and line, or flag.
    """
    given = Layer(flag_origin, dict(flags or {}))
    layers = [read_yaml_file(file)] if file is not None else []
    if cell is not None and cell.strip():
        layers.append(read_yaml_text(cell, "cell"))
    layers.append(given)
    layers = [_for_verb(layer, kind) for layer in layers]
    layers.insert(0, _demo_defaults(kind, layers))
    values, owners = merged(layers)
    secrets = [
        f"{_place(path, owners, given, kind)} {_KEPT}"
        for path in secrets_in(values)
        if path[0] not in _SPOKEN
    ]
    if secrets:
        raise listed(dict.fromkeys(secrets))
    config, details = _built(kind, values)
    problems = [_problem(detail, kind, owners, given) for detail in details]
    broken = list(rules.broken_by(config)) if config is not None else []
    if not any(detail["loc"][0] == SWEEP for detail in details):
        broken += grid.broken_by(config)
    problems += [f"{_place(path, owners, given, kind)}: {text}" for path, text in broken]
    if config is None or problems:
        raise listed(dict.fromkeys(problems))
    return grid.typed(config)


def _built(
    kind: type[Config], values: Mapping[str, Any]
) -> tuple[Config | None, list[Mapping[str, Any]]]:
    """A config and what is wrong with the values; those that are wrong have their defaults in it.

    So what the right ones break together is found in the same go. There is none where an option
    without a default is wrong.
    """
    try:
        return kind(**values), []
    except ValidationError as error:
        details = list(without_variants(error.errors()))
    wrong = {str(detail["loc"][0]) for detail in details}
    try:
        return kind(**{key: value for key, value in values.items() if key not in wrong}), details
    except ValidationError:
        return None, details


def _for_verb(layer: Layer, kind: type[Any]) -> Layer:
    """The layer without keys that belong to another verb, or that have no value.

    One YAML serves %lora_train, %lora_test and %lora_generate, as in mlx-lm, so keys of the
    others are no mistake there. In flags they are. A key without a value means 'not given'.
    """
    if not layer.origin:
        return layer
    defaults = {spec.key: spec.default for spec in specs_of(kind)}
    foreign = _keys(TrainConfig, TestConfig, GenerateConfig) - _keys(kind) | _VERB_KEYS
    kept = {
        key: value
        for key, value in layer.values.items()
        if key not in foreign and (value is not None or defaults.get(key) is None)
    }
    return dataclasses.replace(layer, values=kept)


def _keys(*kinds: type[Any]) -> set[str]:
    return {spec.key for kind in kinds for spec in specs_of(kind)}


def _demo_defaults(kind: type[Any], layers: Iterable[Layer]) -> Layer:
    named: dict[str, Any] = {}
    for layer in layers:
        named |= layer.values
    has_defaults = kind not in (GenerateConfig, ConvertConfig, FuseConfig, CompareConfig)
    if not has_defaults or "demo" not in (named.get("model"), named.get("data")):
        return Layer("demo")
    from lora_nb.demo import DEFAULTS_PATH

    return _for_verb(read_yaml_file(DEFAULTS_PATH), kind)


def _problem(
    detail: Mapping[str, Any], kind: type[Any], owners: dict[KeyPath, Layer], given: Layer
) -> str:
    path = tuple(str(part) for part in detail["loc"] if part != "[key]")
    return f"{_place(path, owners, given, kind)}: {in_our_words(detail, path, kind)}"


def _place(path: KeyPath, owners: dict[KeyPath, Layer], given: Layer, kind: type[Any]) -> str:
    layer = next((owners[path[:n]] for n in (2, 1) if path[:n] in owners), None)
    name = ".".join(path)
    if layer is None:
        return name
    if layer is not given:
        return f"{layer.where(path)}: {name}"
    return _flag_name(path, kind) if not given.origin else name


def _flag_name(path: KeyPath, kind: type[Any]) -> str:
    if path[0] == SWEEP and len(path) > 1:
        # On a line, several values stand behind the flag of the option itself.
        path = next((flag.path for flag in flags_of(kind) if flag.path[-1] == path[1]), path)
    return next((flag.names[0] for flag in flags_of(kind) if flag.path == path[:2]), ".".join(path))
