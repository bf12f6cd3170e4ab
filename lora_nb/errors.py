"""The one error type a user of lora_nb meets."""

from __future__ import annotations

from collections.abc import Iterable

from lora_nb.redact import redacted

__all__ = ["NO_PROMPT", "LoraError", "did_you_mean", "listed"]

NO_PROMPT = "The prompt is empty. Write it behind the flags or into the cell."


class LoraError(Exception):
    """An error that a user can act on: what is wrong, where, and what to do.

    In a notebook it shows as its message alone, without a traceback, and the cell still fails
    (IPython asks exceptions for `_render_traceback_`). Secrets are taken out of the message.
    """

    def __init__(self, message: str) -> None:
        super().__init__(redacted(message))

    def _render_traceback_(self) -> list[str]:
        return [f"LoraError: {self}"]


def listed(problems: Iterable[str]) -> LoraError:
    """One error out of several problems, each on a line of its own."""
    lines = list(problems)
    if len(lines) == 1:
        return LoraError(lines[0])
    return LoraError(f"{len(lines)} problems:\n" + "\n".join(f"  - {line}" for line in lines))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the known word nearest to `word`, or an empty string."""
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
