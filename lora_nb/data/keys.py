"""When two rows are the same, and when they differ in nothing that matters much."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

__all__ = ["Content", "exact_key", "near_key"]

Content = str | Sequence[dict[str, Any]]

# Signs of sentences become blanks. Those of numbers, code and formulas (-, +, <, %) stay.
_SIGNS = bytes.maketrans(signs := b".,;:!?\"'`()[]{}", b" " * len(signs))
_WIDE_SIGNS = "…“”„‘’«»¿¡、。，；：！？「」\xa0\u3000"  # noqa: RUF001
_BETWEEN = " \0 "


def exact_key(content: Content, tools: object) -> bytes:
    """Equal for rows of the same messages (or text) and tools; other keys do not count."""
    text = json.dumps([content, tools], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def near_key(content: Content, tools: object) -> int:
    """Equal for rows that differ only in letter case, blanks and the signs of sentences.

    Rows of equal exact keys have equal ones, too. Only within one process.
    """
    more: list[object] = [tools]
    if isinstance(content, str):
        text = content
    else:
        text = _BETWEEN.join([each.get("content") or "" for each in content])
        more += [each["tool_calls"] for each in content if each.get("tool_calls")]
    # Bytes: a translation of texts is several times as slow.
    folded = b" ".join(_folded(text).translate(_SIGNS).split())
    if not folded.strip(b"\0 "):
        # Of nothing but signs, so every sign counts.
        return hash(exact_key(content, tools))
    return hash(folded if more == [None] else folded + repr(more).encode(errors="replace"))


def _folded(text: str) -> bytes:
    folded = text.casefold()
    if not folded.isascii():
        for sign in _WIDE_SIGNS:
            folded = folded.replace(sign, " ")
    return folded.encode("utf-8", "surrogatepass")
