"""The three formats of a row (chat, completions, text), found per row and checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, Protocol

from lora_nb.data.faults import RowError, shorten
from lora_nb.data.messages import ROLES, check_messages, check_text, check_whole, named
from lora_nb.errors import did_you_mean

__all__ = ["Features", "Kind", "kind_of", "text_of", "to_messages", "tools_of"]

Kind = Literal["chat", "completions", "text"]


class Features(Protocol):
    """The keys under which rows hold their parts (DataOptions has them)."""

    @property
    def prompt_feature(self) -> str: ...
    @property
    def completion_feature(self) -> str: ...
    @property
    def chat_feature(self) -> str: ...
    @property
    def text_feature(self) -> str: ...


def kind_of(row: Mapping[str, Any], options: Features) -> Kind:
    """The format of a row; completions before chat before text where keys of several are there.

    A key that holds null counts only if no format is complete without it. Extra keys are ignored.
    Raises RowError for a row that fits none.
    """
    wanted = _wanted(options)
    for kind, keys in wanted.items():
        if all(row.get(key) is not None for key in keys):
            return kind
    for keys in wanted.values():
        if all(key in row for key in keys):
            null = next(key for key in keys if row[key] is None)
            raise RowError(
                "null", f"'{null}' is null.", "Give it a value, or leave the row out.", value="None"
            )
    raise _no_format(row, options)


def to_messages(
    row: Mapping[str, Any], options: Features, roles: Collection[str] = ROLES
) -> list[dict[str, Any]]:
    """The row as chat messages, checked; a text row has none and gives an empty list.

    Raises RowError for wrong types, unknown roles, missing or empty parts.
    """
    kind = kind_of(row, options)
    if kind == "chat":
        return check_messages(row[options.chat_feature], options.chat_feature, roles)
    if kind == "completions":
        prompt = check_text(row[options.prompt_feature], f"'{options.prompt_feature}'")
        completion = check_text(row[options.completion_feature], f"'{options.completion_feature}'")
        return [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": completion},
        ]
    return []


def text_of(row: Mapping[str, Any], options: Features) -> str:
    """The text of a text row, checked."""
    return check_text(row[options.text_feature], f"'{options.text_feature}'")


def tools_of(row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The tools of a chat or completions row, checked; None if it has none."""
    tools = row.get("tools")
    if tools is None:
        return None
    remedy = "Write it as a list of tool descriptions, each an object."
    if not isinstance(tools, list):
        hint = " (JSON inside a text)" if isinstance(tools, str) else ""
        raise RowError(
            "type", f"'tools' is {named(tools)}{hint}, not a list.", remedy, value=shorten(tools)
        )
    for number, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise RowError(
                "type",
                f"tools[{number}] is {named(tool)}, not an object.",
                remedy,
                value=shorten(tool),
            )
    check_whole(tools, "'tools'")
    return tools or None


def _wanted(options: Features) -> dict[Kind, tuple[str, ...]]:
    return {
        "completions": (options.prompt_feature, options.completion_feature),
        "chat": (options.chat_feature,),
        "text": (options.text_feature,),
    }


def _no_format(row: Mapping[str, Any], options: Features) -> RowError:
    formats = [" and ".join(f"'{key}'" for key in keys) for keys in _wanted(options).values()]
    wanted = f"Wanted are {formats[0]}, or {formats[1]}, or {formats[2]}."
    known = [key for keys in _wanted(options).values() for key in keys]
    has = [str(key) for key in row]
    if not has:
        return RowError("keys", "the row is empty.", wanted, value="{}")
    shown = ", ".join(f"'{key}'" for key in has[:8]) + (", …" if len(has) > 8 else "")
    remedy = wanted + _hint(row, options, known, has)
    return RowError(
        "keys",
        f"the row has no format we know: its keys are {shown}.",
        remedy,
        value=shorten(dict(row)),
    )


def _hint(row: Mapping[str, Any], options: Features, known: list[str], has: list[str]) -> str:
    """What the keys were probably meant to be, or which option names other keys."""
    if options.prompt_feature in row or options.completion_feature in row:
        missing = (
            options.completion_feature if options.prompt_feature in row else options.prompt_feature
        )
        near = did_you_mean(missing, [key for key in has if key not in known])
        return f" '{missing}' is missing.{near}"
    conversations = row.get("conversations")
    if isinstance(conversations, list):
        return " Name another key with --chat-feature conversations."
    for key in has:
        near = did_you_mean(key, known)
        if near:
            return near
    return " Other keys are named with --prompt-feature and its siblings."
