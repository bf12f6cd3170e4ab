"""Flags of magics and console: named after the keys, with mlx-lm's names, parsed strictly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_nb.config.declaring import Completes
from lora_nb.config.fields import NESTED, Spec, specs_of
from lora_nb.errors import did_you_mean, listed

__all__ = [
    "CONFIG_FLAG",
    "OWN",
    "Flag",
    "Parsed",
    "flag_table",
    "flags_of",
    "looks_like_flag",
    "parse_flags",
]


OWN = "This command"
"""Group of the flags that are no options of a config."""


@dataclass(frozen=True)
class Flag:
    """One flag: how it is written, what it takes, and the key path it sets."""

    path: tuple[str, ...]
    names: tuple[str, ...]
    help: str
    group: str = "General"
    choices: tuple[str, ...] = ()
    completes: Completes = ""
    metavar: str = ""
    default: Any = None
    is_switch: bool = False
    is_list: bool = False

    is_option: bool = True

    @property
    def negations(self) -> tuple[str, ...]:
        """`--no-...` names of a switch that a YAML file may have turned on."""
        if not (self.is_switch and self.is_option):
            return ()
        return tuple("--no-" + name[2:] for name in self.names if name.startswith("--"))

    @property
    def placeholder(self) -> str:
        """What stands for the value in help texts."""
        if self.is_switch:
            return ""
        if self.choices:
            return "{" + ",".join(self.choices) + "}"
        return self.metavar or self.path[-1].upper()


CONFIG_FLAG = Flag(
    ("config",),
    ("-c", "--config"),
    "A YAML file with options; flags go on top.",
    group="Run",
    completes="path",
    metavar="FILE",
)


@dataclass
class Parsed:
    """A parsed line: values by key, the `-c` file, further flags' values, and the other words."""

    values: dict[str, Any] = field(default_factory=dict)
    config_file: Path | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)


def flags_of(kind: type[Any]) -> tuple[Flag, ...]:
    """All flags of a verb, `-c` last."""
    return (*_config_flags(kind, ()), CONFIG_FLAG)


def _config_flags(kind: type[Any], prefix: tuple[str, ...]) -> Iterator[Flag]:
    for spec in specs_of(kind):
        if spec.key in NESTED and not prefix:
            if spec.opt.flag:
                yield from _config_flags(NESTED[spec.key], (spec.key,))
        elif spec.opt.flag:
            yield _flag(spec, prefix)


def _flag(spec: Spec, prefix: tuple[str, ...]) -> Flag:
    own = "--" + spec.key.replace("_", "-")
    names = tuple(dict.fromkeys((own, *spec.opt.flags)))
    return Flag(
        path=(*prefix, spec.key),
        names=names,
        help=spec.help,
        group=spec.opt.group,
        choices=spec.choices,
        completes=spec.opt.completes,
        metavar=spec.metavar,
        default=spec.default,
        is_switch=spec.is_switch,
        is_list=spec.is_list,
    )


def parse_flags(words: Sequence[str], flags: Iterable[Flag]) -> Parsed:
    """Sort the words of a line into values by key.

    `--flag value` and `--flag=value` are the same. Values stay text (validation reads them) but
    for switches. Values of flags that are no options of a config go to `Parsed.extra`. A word
    that is no flag goes to `Parsed.rest`, and so does everything behind `--`.
    Raises LoraError that lists every unknown or incomplete flag.
    """
    table = flag_table(flags)
    parsed = Parsed()
    problems: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            parsed.rest += queue
            break
        if not looks_like_flag(word):
            parsed.rest.append(word)
            continue
        name, equals, given = word.partition("=")
        if name not in table:
            problems.append(_unknown(name, table, queue))
            continue
        flag, switched_on = table[name]
        if flag.is_switch:
            value: object = switched_on
            if equals:
                problems.append(f"{name} takes no value (got '{given}').")
        else:
            value = given if equals else _next_value(queue)
            if value is None:
                problems.append(f"{name} needs a value: {name} {flag.placeholder}.")
                continue
        _store(parsed, flag, value)
    if problems:
        raise listed(problems)
    return parsed


def _next_value(queue: list[str]) -> str | None:
    return queue.pop(0) if queue and not looks_like_flag(queue[0]) else None


def flag_table(flags: Iterable[Flag]) -> dict[str, tuple[Flag, bool]]:
    """Every way to write a flag, with the flag and the value it gives a switch."""
    table: dict[str, tuple[Flag, bool]] = {}
    for flag in flags:
        for name in flag.names:
            table[name] = (flag, True)
        for name in flag.negations:
            table[name] = (flag, False)
    return table


def looks_like_flag(word: str) -> bool:
    """Whether a word is a flag; negative numbers and quoted text with a dash are none."""
    if not word.startswith("-") or word == "-":
        return False
    try:
        float(word)
    except ValueError:
        return " " not in word.partition("=")[0]
    return False


def _unknown(name: str, table: dict[str, tuple[Flag, bool]], queue: list[str]) -> str:
    # The unknown flag's value would otherwise pass for a word of its own.
    if queue and not looks_like_flag(queue[0]):
        queue.pop(0)
    return f"{name} is not a flag here.{did_you_mean(name, table)}"


def _store(parsed: Parsed, flag: Flag, value: Any) -> None:
    if flag.is_list and isinstance(value, str):
        value = [part for part in value.split(",") if part]
    if not flag.is_option:
        parsed.extra[flag.path[-1]] = value
    elif flag is CONFIG_FLAG:
        parsed.config_file = Path(value).expanduser()
    elif len(flag.path) == 1:
        parsed.values[flag.path[0]] = value
    else:
        parsed.values.setdefault(flag.path[0], {})[flag.path[1]] = value
