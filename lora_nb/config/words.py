"""Validation problems in words that say what was given and what would be right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from lora_nb.config.fields import NESTED, specs_of
from lora_nb.errors import did_you_mean

__all__ = ["in_our_words", "without_variants"]

Detail = Mapping[str, Any]


def in_our_words(detail: Detail, path: tuple[str, ...], kind: type[Any]) -> str:
    """One of pydantic's error details as a sentence of ours."""
    problem = str(detail["type"])
    if problem in ("unexpected_keyword_argument", "extra_forbidden"):
        return _no_option(path, kind)
    say = _SAYINGS.get(problem)
    return say(detail) if say else f"{_shown(detail['input'])} is not valid: {detail['msg']}."


def without_variants(details: Iterable[Detail]) -> Iterator[Detail]:
    """The details with one in place of pydantic's one for each type that an option may have."""
    told: set[str] = set()
    for detail in details:
        key = str(detail["loc"][0])
        if key not in _SEVERAL:
            yield detail
        elif key not in told:
            told.add(key)
            yield {**detail, "loc": (key,), "type": key}


def _no_option(path: tuple[str, ...], kind: type[Any]) -> str:
    known = _known(path, kind)
    owner = next((key for key in NESTED if key in known and path[-1] in _keys(NESTED[key])), None)
    if len(path) == 1 and owner:
        return f"belongs below {owner}, as {owner}: {{{path[-1]}: ...}}."
    return "not an option." + did_you_mean(path[-1], known)


def _keys(kind: type[Any]) -> list[str]:
    return [spec.key for spec in specs_of(kind)]


def _known(path: tuple[str, ...], kind: type[Any]) -> list[str]:
    owner = NESTED.get(path[0], kind) if len(path) > 1 else kind
    return _keys(owner)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _bound(words: str, key: str) -> Callable[[Detail], str]:
    return lambda detail: (
        f"{_shown(detail['input'])} is out of range; give {words} {detail['ctx'][key]}."
    )


def _wanted(what: str) -> Callable[[Detail], str]:
    return lambda detail: f"{_shown(detail['input'])} is not {what}."


def _choice(detail: Detail) -> str:
    expected = str(detail["ctx"]["expected"])
    choices = [
        word.strip().strip("'") for part in expected.split(",") for word in part.split(" or ")
    ]
    hint = did_you_mean(str(detail["input"]), choices)
    return f"{_shown(detail['input'])} is not one of {expected}.{hint}"


# Options of more than one type.
_SIZE = _wanted("a size: give bytes, or e.g. 500M or 2GB")
_SEVERAL = {
    "clear_cache_threshold": _SIZE,
    "trunk_cache_limit": _SIZE,
    "hf_dataset": _wanted("a mapping of keys to values, or a list of such mappings"),
}

_SAYINGS: dict[str, Callable[[Detail], str]] = {
    **_SEVERAL,
    "greater_than_equal": _bound("at least", "ge"),
    "greater_than": _bound("more than", "gt"),
    "less_than_equal": _bound("at most", "le"),
    "less_than": _bound("less than", "lt"),
    "finite_number": _wanted("a finite number"),
    "int_parsing": _wanted("a whole number"),
    "int_type": _wanted("a whole number"),
    "int_from_float": _wanted("a whole number"),
    "int_parsing_size": _wanted("a whole number of a size that can be used"),
    "float_parsing": _wanted("a number"),
    "float_type": _wanted("a number"),
    "bool_parsing": _wanted("true or false"),
    "bool_type": _wanted("true or false"),
    "string_type": _wanted("text"),
    "string_unicode": _wanted("text that can be written: it holds half of a character"),
    "list_type": _wanted("a list"),
    "dict_type": _wanted("a mapping of keys to values"),
    "dataclass_type": _wanted("a mapping of keys to values"),
    "literal_error": _choice,
    "missing": lambda detail: "is missing.",
    "string_too_short": lambda detail: "is empty.",
    "string_pattern_mismatch": _wanted(
        "a plain name: letters, digits, '.', '-' and '_', 64 characters at most"
    ),
}
