"""Checks on chat messages: types, roles, contents, tool calls."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lora_nb.data.faults import RowError, shorten
from lora_nb.errors import did_you_mean

__all__ = [
    "ROLES",
    "check_messages",
    "check_text",
    "check_whole",
    "empty_part",
    "named",
    "order_fault",
]

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function", "ipython"})
_RESULTS = frozenset({"tool", "function", "ipython"})
_SYSTEMS = frozenset({"system", "developer"})
_OTHER_NAMES = {
    "human": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "ai": "assistant",
}


def named(value: object) -> str:
    """What a value is, in JSON's words, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {str: "a text", list: "a list", dict: "an object", int: "a number", float: "a number"}
    return names.get(type(value), f"of type {type(value).__name__}")


def check_text(value: object, name: str) -> str:
    """`value` if it is text that can be tokenised, else RowError."""
    if not isinstance(value, str):
        if isinstance(value, list) and all(isinstance(part, dict) for part in value) and value:
            return _joined(value, name)
        code = "null" if value is None else "type"
        raise RowError(
            code,
            f"{name} is {named(value)}, not a text.",
            "Write it in quotes.",
            value=shorten(value),
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError(
            "surrogate",
            f"{name} holds half of a character (an unpaired surrogate, character "
            f"{error.start + 1}).",
            "Replace it: it cannot be written as UTF-8.",
            value=shorten(ascii(value[max(0, error.start - 10) : error.start + 10])),
        ) from error
    return value


def check_whole(value: object, name: str) -> None:
    """RowError if somewhere in a value there is half of a character."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError(
            "surrogate",
            f"{name} holds half of a character (an unpaired surrogate).",
            "Replace it: it cannot be written as UTF-8.",
            value=shorten(ascii(text[max(0, error.start - 10) : error.start + 10])),
        ) from error


def check_messages(value: object, name: str, roles: Collection[str]) -> list[dict[str, Any]]:
    """Messages with known roles and contents; keys that hold null are left out.

    Lists of text parts are joined. Raises RowError, naming the message.
    """
    if not isinstance(value, list):
        raise RowError(
            "type",
            f"'{name}' is {named(value)}, not a list.",
            'Write messages as [{"role": "user", "content": "..."}, ...].',
            value=shorten(value),
        )
    if not value:
        raise RowError("empty", f"'{name}' is an empty list.", "Leave the row out.", value="[]")
    return [_message(each, f"{name}[{i}]", roles) for i, each in enumerate(value)]


def _message(value: object, name: str, roles: Collection[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise RowError(
            "type",
            f"{name} is {named(value)}, not an object.",
            'Write a message as {"role": "user", "content": "..."}.',
            value=shorten(value),
        )
    message = {key: part for key, part in value.items() if part is not None}
    message["role"] = role = _role(message, name, roles)
    calls = message.get("tool_calls")
    if calls is not None and not _are_objects(calls):
        raise RowError(
            "type",
            f"{name}.tool_calls is not a list of objects.",
            "Write it as the tool calls of a chat API, or leave it out.",
            value=shorten(calls),
        )
    if len(message) > 1 + ("content" in message):
        check_whole({k: v for k, v in message.items() if k != "content"}, name)
    if "content" in message:
        message["content"] = check_text(message["content"], f"{name}.content")
    elif not (role == "assistant" and (calls or message.get("reasoning_content"))):
        if "content" in value:
            raise RowError(
                "null",
                f"{name}.content is null.",
                "Only an assistant message with tool_calls may lack content.",
                value="None",
            )
        near = did_you_mean("content", [str(key) for key in value if key != "role"])
        near = near.replace(" Did you mean", " Is it")
        raise RowError(
            "keys",
            f"{name} has no 'content'.",
            f"Its keys are {', '.join(repr(str(key)) for key in value)}.{near}",
            value=shorten(dict(value)),
        )
    return message


def _role(message: Mapping[str, Any], name: str, roles: Collection[str]) -> str:
    role = message.get("role")
    if role is None:
        if "from" in message and "value" in message:
            raise RowError(
                "keys",
                f"{name} has 'from' and 'value' in place of 'role' and 'content'.",
                "Rename them (human becomes user, gpt becomes assistant).",
                value=shorten(dict(message)),
            )
        raise RowError(
            "keys",
            f"{name} has no 'role'.",
            'Add one: "system", "user" or "assistant".',
            value=shorten(dict(message)),
        )
    if not isinstance(role, str):
        raise RowError(
            "type",
            f"{name}.role is {named(role)}, not a text.",
            'Write "system", "user" or "assistant".',
            value=shorten(role),
        )
    if role not in roles:
        other = _OTHER_NAMES.get(role.strip().lower())
        near = f" Did you mean '{other}'?" if other else did_you_mean(role.strip().lower(), roles)
        raise RowError(
            "role",
            f"{name} has the unknown role {shorten(role)}.",
            f"Known are system, user, assistant and tool.{near}",
            value=shorten(role),
        )
    return role


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _joined(parts: list[dict[str, Any]], name: str) -> str:
    texts = []
    for number, part in enumerate(parts):
        if "role" in part and "text" not in part:
            raise RowError(
                "type",
                f"{name} is a list of messages, not a text.",
                "Write the whole chat as one list under 'messages'.",
                value=shorten(part),
            )
        if part.get("type", "text") != "text" or not isinstance(part.get("text"), str):
            raise RowError(
                "type",
                f"{name}[{number}] is not a text part.",
                "Only text can be trained on: leave out pictures and sound.",
                value=shorten(part),
            )
        texts.append(check_text(part["text"], f"{name}[{number}].text"))
    return "".join(texts)


def order_fault(messages: Sequence[dict[str, Any]]) -> str:
    """What is unusual in the order of the roles, or an empty string."""
    before = ""
    for number, message in enumerate(messages):
        role = message["role"]
        if role in _SYSTEMS and number > 0 and before not in _SYSTEMS:
            return f"message {number + 1} is a {role} message after the talk has begun"
        if role == before and role in ("user", "assistant"):
            return f"messages {number} and {number + 1} are both {role} messages"
        if role == "assistant" and before in ("", *_SYSTEMS):
            return "the talk begins with the assistant"
        if role in _RESULTS and before not in (*_RESULTS, "assistant"):
            return f"message {number + 1} is a {role} result that no assistant message asked for"
        before = role
    if before != "assistant":
        return f"the last message is a {before} message, not an answer of the assistant"
    return ""


def empty_part(content: str | Sequence[dict[str, Any]], kind: str) -> str:
    """The first part of a row that holds nothing but blanks, by its name, or an empty string.

    A system message may be empty.
    """
    if isinstance(content, str):
        return "" if content.strip() else "the text"
    for place, message in enumerate(content):
        text = message.get("content")
        if text is None or text.strip() or message["role"] in _SYSTEMS:
            continue
        if message.get("tool_calls") or message.get("reasoning_content"):
            continue
        if kind == "completions":
            return "the completion" if place else "the prompt"
        return f"message {place + 1}"
    return ""
