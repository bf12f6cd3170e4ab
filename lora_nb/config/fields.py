"""What the declarations in `options` say, as plain records: one `Spec` an option."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from lora_nb.config.declaring import Opt
from lora_nb.config.options import LoraParameters, LrSchedule

__all__ = ["NESTED", "Spec", "flat_defaults", "flat_options", "specs_of"]

# Options that mlx-lm nests in its YAML, and the class of their inner keys.
NESTED: dict[str, type[Any]] = {"lora_parameters": LoraParameters, "lr_schedule": LrSchedule}


@dataclass(frozen=True)
class Spec:
    """One option: its key, type, choices, default, help and what it is as a flag."""

    key: str
    opt: Opt
    choices: tuple[str, ...]
    is_switch: bool
    is_list: bool
    metavar: str
    default: Any
    help: str


def flat_options(config: Any) -> dict[str, Any]:
    """Every option of a config by its key, those of nested ones as `lora_parameters.rank`."""
    return _flat({field.name: getattr(config, field.name) for field in dataclasses.fields(config)})


def flat_defaults(kind: type[Any]) -> dict[str, Any]:
    """What the options of a config class are if nothing is given, by the same keys."""
    return _flat({spec.key: spec.default for spec in specs_of(kind)})


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name in NESTED and dataclasses.is_dataclass(value):
            inner = dataclasses.asdict(value)  # type: ignore[arg-type]  # an instance, not a class
            flat |= {f"{name}.{key}": each for key, each in inner.items()}
        else:
            flat[name] = value
    return flat


def specs_of(kind: type[Any]) -> tuple[Spec, ...]:
    """The options of a config class in the order of their declaration."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return tuple(
        _spec(kind, field, hints[field.name])
        for field in dataclasses.fields(kind)
        if field.name in hints
    )


def _spec(kind: type[Any], field: dataclasses.Field[Any], hint: Any) -> Spec:
    leaves = list(_leaves(hint))
    opt = next((leaf for leaf in leaves if isinstance(leaf, Opt)), Opt())
    literals = [value for leaf in leaves for value in _literals(leaf)]
    return Spec(
        key=field.name,
        opt=opt,
        choices=tuple(str(value) for value in literals),
        is_switch=bool in leaves,
        is_list=any(get_origin(leaf) is list for leaf in leaves),
        metavar=opt.metavar or _metavar(leaves, opt),
        default=_default(field),
        help=_help(kind, field.name),
    )


def _metavar(leaves: Sequence[Any], opt: Opt) -> str:
    """What stands for the value in help texts: a count N, a number X, a path; else the name."""
    names = {"path": "PATH", "adapter": "PATH|RUN"}
    return "N" if int in leaves else "X" if float in leaves else names.get(opt.completes, "")


def _leaves(hint: Any) -> typing.Iterator[Any]:
    """The types and metadata inside an annotation, outermost first."""
    if get_origin(hint) is Annotated:
        inner, *metadata = get_args(hint)
        yield from metadata
        yield from _leaves(inner)
    elif get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _leaves(part)
    else:
        yield hint


def _literals(leaf: Any) -> tuple[Any, ...]:
    return get_args(leaf) if get_origin(leaf) is Literal else ()


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    default = field.default
    # pydantic's Field(default_factory=...) arrives as a default.
    factory = getattr(default, "default_factory", None)
    if factory is not None:
        return factory()
    info_default = getattr(default, "default", default)
    return None if info_default is dataclasses.MISSING else info_default


def _help(kind: type[Any], name: str) -> str:
    for owner in kind.__mro__:
        info = getattr(owner, "__pydantic_fields__", {}).get(name)
        if info is not None and info.description:
            return str(info.description)
    return ""
