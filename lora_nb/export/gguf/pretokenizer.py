"""llama.cpp's name for the way in which a byte-level tokenizer cuts text before it merges."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lora_nb.errors import LoraError

__all__ = ["pretokenizer_of"]

_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_UPPER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_PATHS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_BYTES = "<bytes>"
_GPT2 = "<bytes as gpt-2>"
_DIGITS = "<single digits>"

# Name by steps, for tokenizers that take whole words of their list at once, and for others.
_KNOWN: dict[tuple[str, ...], tuple[str, str]] = {
    (_GPT2,): ("", "gpt-2"),
    (_DIGITS, _GPT2): ("", "smollm"),
    (f"{_ENDINGS}|{_WORD}|\\p{{N}}{{1,3}}|{_SIGNS}|{_REST}", _BYTES): ("llama-bpe", "dbrx"),
    (f"{_ENDINGS}|{_WORD}|\\p{{N}}|{_SIGNS}|{_REST}", _BYTES): ("", "qwen2"),
    (
        f"{_UPPER}*{_LOWER}+{_ENDINGS}?|{_UPPER}+{_LOWER}*{_ENDINGS}?|\\p{{N}}{{1,3}}|{_PATHS}|{_REST}",
        _BYTES,
    ): ("", "gpt-4o"),
    (f"{_UPPER}*{_LOWER}+|{_UPPER}+{_LOWER}*|\\p{{N}}|{_PATHS}|{_REST}", _BYTES): ("tekken", ""),
}


def pretokenizer_of(tokenizer: Mapping[str, Any]) -> tuple[str, str]:
    """The name, and what to say about it: nothing if it is known to cut alike.

    `tokenizer` is the content of a tokenizer.json. Raises LoraError for one that puts a space
    before each text, which llama.cpp doesn't do for these.
    """
    steps = tuple(_steps(tokenizer.get("pre_tokenizer") or {}))
    whole = bool((tokenizer.get("model") or {}).get("ignore_merges"))
    known = {key: names[0 if whole else 1] for key, names in _KNOWN.items()}
    if known.get(steps):
        return known[steps], ""
    spelled = {" ".join(key): name or other for (key, name), other in _alternatives(known)}
    closest = difflib.get_close_matches(" ".join(steps), spelled, n=1, cutoff=0.0)
    name = spelled[closest[0]]
    return name, (
        f"llama.cpp's way of cutting text that is closest to this tokenizer's is '{name}'. Compare "
        "its tokens with those of the original before you rely on the file."
    )


def _alternatives(
    known: Mapping[tuple[str, ...], str],
) -> Iterator[tuple[tuple[tuple[str, ...], str], str]]:
    for key, name in known.items():
        yield (key, name), next(other for other in _KNOWN[key] if other)


def _steps(part: Mapping[str, Any]) -> Iterator[str]:
    kind = part.get("type")
    if kind == "Sequence":
        for inner in part.get("pretokenizers") or ():
            yield from _steps(inner)
    elif kind == "ByteLevel":
        if part.get("add_prefix_space"):
            raise LoraError(
                "gguf: this tokenizer puts a space before each text (add_prefix_space), which "
                "llama.cpp does not do for byte-level tokenizers. Its tokens would be others."
            )
        yield _GPT2 if part.get("use_regex", True) else _BYTES
    elif kind == "Digits":
        yield _DIGITS if part.get("individual_digits") else "<digits>"
    elif kind == "Split":
        pattern = part.get("pattern") or {}
        yield _usual(str(pattern.get("Regex") or pattern.get("String") or ""))
    elif kind:
        yield f"<{kind}>"


def _usual(regex: str) -> str:
    """A regex in one of several spellings that mean the same."""
    plain = re.sub(r"(?<=[+*?])\+|(?<=\d\})\+", "", regex)
    plain = plain.replace("(?i:[sdmt]|ll|ve|re)", "(?i:s|t|re|ve|m|ll|d)")
    plain = plain.replace("'(?i:s|t|re|ve|m|ll|d)", _ENDINGS)
    # Where nothing but spaces is left, one spelling asks for the end of the text, too.
    return plain.replace(r"\s+$|", "").replace(r"\s*[\r\n]|", r"\s*[\r\n]+|")
