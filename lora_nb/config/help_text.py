"""The help text of a verb: its purpose, every flag with its default, and what has no flag."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from lora_nb.config.fields import Spec, specs_of
from lora_nb.config.flags import Flag
from lora_nb.config.values import said

__all__ = ["usage", "yaml_only"]

_WIDTH = 88
# Keeps a value in the line of its word.
_TIE = "\N{NO-BREAK SPACE}"


def yaml_only(kind: type[Any]) -> tuple[Spec, ...]:
    """The options of a verb that no flag can say: they are lists or mappings."""
    return tuple(spec for spec in specs_of(kind) if not spec.opt.flag)


def usage(
    prog: str,
    purpose: str,
    flags: Iterable[Flag],
    positional: str = "",
    *,
    yaml: Sequence[Spec] = (),
) -> str:
    """The help text of a verb: purpose, then every flag by group with its default.

    `yaml` are the options without a flag.
    """
    groups: dict[str, list[Flag]] = {}
    for flag in flags:
        groups.setdefault(flag.group, []).append(flag)
    head = " ".join(filter(None, [prog, "[flags]" if groups else "", positional]))
    lines = [head, "", *_wrapped(purpose)]
    for group, members in groups.items():
        lines += ["", f"{group}:"]
        lines += [line for flag in members for line in _describe(flag)]
    if yaml:
        lines += ["", "In YAML, or as an argument in Python:"]
        lines += [line for spec in yaml for line in (f"  {spec.key}", *_wrapped(spec.help, 6))]
    switches = [name for members in groups.values() for flag in members for name in flag.negations]
    if switches:
        off = f"What a YAML file has turned on, --no-... turns off, e.g. {switches[0]}."
        lines += ["", *_wrapped(off)]
    return "\n".join(lines)


def _wrapped(text: str, indent: int = 0) -> list[str]:
    """The text in lines, its paragraphs kept; nothing that might be copied is broken."""
    space = " " * indent
    return [
        line.replace(_TIE, " ")
        for paragraph in text.split("\n")
        for line in textwrap.wrap(
            paragraph, _WIDTH, initial_indent=space, subsequent_indent=space,
            break_long_words=False, break_on_hyphens=False,
        ) or [""]
    ]  # fmt: skip


def _describe(flag: Flag) -> list[str]:
    head = ", ".join(flag.names)
    if flag.placeholder:
        head += f" {flag.placeholder}"
    return [f"  {head}", *_wrapped(f"{flag.help}{_default_of(flag)}", 6)]


def _default_of(flag: Flag) -> str:
    if flag.is_switch:
        return " On by default." if flag.default else ""
    return "" if flag.default in (None, "") else f" Default:{_TIE}{said(flag.default)}."
