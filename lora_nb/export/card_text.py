"""Names and texts as they stand in a model card: without a place, a secret, or Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lora_nb.data.sources import looks_like_path
from lora_nb.redact import redacted

__all__ = ["code", "is_on_hub", "plain", "public_name", "table"]


def public_name(name: str) -> str:
    """A model or data set by its name on the Hub, or by the last part of its path."""
    if looks_like_path(name) or Path(name).expanduser().exists():
        return redacted(Path(name).expanduser().absolute().name)
    return redacted(name)


def is_on_hub(name: str) -> bool:
    """Whether a name is one of the Hub, owner and all."""
    return public_name(name) == name and name.count("/") == 1


def table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    """The lines of a table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(plain(str(cell)) for cell in row)} |" for row in rows]


def plain(text: str) -> str:
    """Text that Markdown takes for nothing but text."""
    kept = " ".join(redacted(text).split())
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>|#" else char for char in kept)


def code(text: str) -> str:
    """Text that Markdown takes for code."""
    return f"`{' '.join(text.split()).replace('`', '')}`"
