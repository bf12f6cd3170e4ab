"""Secrets taken out of texts before they are kept or shown."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator

__all__ = ["MARK", "has_secret", "is_secret_name", "redacted", "secrets_of"]

MARK = "[secret]"

# Tokens of services that can be told by their looks. A group's name says what it finds.
_LOOKS = re.compile(
    r"""
    (?P<Hugging_Face_token> \b hf_[A-Za-z0-9]{20,} | \b api_org_[A-Za-z0-9]{20,} )
  | (?P<OpenAI_or_Anthropic_key> \b sk-[A-Za-z0-9_-]{20,} )
  | (?P<GitHub_token> \b github_pat_[A-Za-z0-9_]{20,} | \b gh[opsru]_[A-Za-z0-9]{20,} )
  | (?P<GitLab_token> \b glpat-[A-Za-z0-9_-]{16,} )
  | (?P<AWS_key> \b (?:AKIA|ASIA)[0-9A-Z]{16} \b )
  | (?P<Google_key> \b AIza[A-Za-z0-9_-]{30,} )
  | (?P<Slack_token> \b xox[abeprs]-[A-Za-z0-9-]{10,} )
  | (?P<password_in_an_address> (?<=://) [^\s/@:"]* : [^\s/@"]+ (?=@) )
  | (?P<private_key>
        -----BEGIN[ ](?:[A-Z0-9]+[ ])*PRIVATE[ ]KEY(?:[ ]BLOCK)?-----
        (?: [\s\S]*? -----END[ ](?:[A-Z0-9]+[ ])*PRIVATE[ ]KEY(?:[ ]BLOCK)?----- )? )
    """,
    re.VERBOSE,
)
_NAME = (
    r"(?:(?:access|api|auth|aws|bearer|hf|hub|huggingface|refresh|use_auth|wandb)[_-])*"
    r"(?:token|passwd|password|secret|api[_-]?key|(?:secret[_-]?)?access[_-]?key)"
)
_IS_NAME = re.compile(_NAME, re.IGNORECASE)
# A value under such a name: quoted, or up to the next blank, comma or bracket.
_NAMED = re.compile(
    rf"(?<![\w-])(?P<head>{_NAME}['\"]?\s*[:=]\s*)"
    r"(?P<value>'[^'\n]*'|\"[^\"\n]*\"|(?![\[{{])[^\s,;}}\]'\"]+)",
    re.IGNORECASE,
)
_HARMLESS = ("", "none", "null", "true", "false", MARK)
_VARIABLE = re.compile(r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|KEY)$")
_SHORTEST = 8
# What stands behind such a name and looks like no word: long, of letters and digits.
_LONG_VALUE = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[^\s<>{}|]{16,}")


def is_secret_name(name: str) -> bool:
    """Whether a key of this name holds a secret; `eos_token` and its like do not."""
    return _IS_NAME.fullmatch(name) is not None


def has_secret(text: str) -> bool:
    """Whether there is something in a text that looks like a secret, or is one of this process."""
    return _LOOKS.search(text) is not None or any(value in text for value in _of_environment())


def redacted(text: str) -> str:
    """The text with `[secret]` in place of tokens and passwords.

    Known are the tokens of common services by their looks, what stands behind names such as
    `password:`, and the values of this process's environment variables with such names.
    """
    for value in _of_environment():
        text = text.replace(value, MARK)
    text = _LOOKS.sub(MARK, text)
    return _NAMED.sub(_hidden, text)


def secrets_of(text: str, known: Iterable[str] = ()) -> Iterator[tuple[int, str]]:
    """The line, from 1, and the kind of each secret in a text, but never the secret itself.

    What `redacted` takes out is found, but for short values behind names such as `password:`,
    which texts about passwords have, too. `known` are values that are secrets as well.
    """
    found = [(hit.start(), str(hit.lastgroup).replace("_", " ")) for hit in _LOOKS.finditer(text)]
    for hit in _NAMED.finditer(text):
        if _LONG_VALUE.fullmatch(hit["value"].strip("'\"")):
            name = hit["head"].strip(" '\":=")
            found.append((hit.start("value"), f"value of {name}"))
    values = (*_of_environment(), *known)
    found += [(text.find(value), "secret of this machine") for value in values if value in text]
    lines = {text.count("\n", 0, place) + 1: what for place, what in sorted(found, reverse=True)}
    yield from sorted(lines.items())


def _hidden(found: re.Match[str]) -> str:
    value = found["value"]
    bare = value.strip("'\"")
    if bare.lower() in _HARMLESS:
        return found[0]
    quote = value[0] if value[0] in "'\"" else ""
    return f"{found['head']}{quote}{MARK}{quote}"


def _of_environment() -> tuple[str, ...]:
    pairs = tuple(
        value
        for name, value in os.environ.items()
        if len(value) >= _SHORTEST and _VARIABLE.search(name)
    )
    return _longest_first(pairs)


@functools.cache
def _longest_first(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(values), key=len, reverse=True))
