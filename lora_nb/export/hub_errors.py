"""What goes wrong on the way to the Hub, in words that say what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from lora_nb.data.network import chain_of, is_network
from lora_nb.errors import LoraError

__all__ = ["BRIEF", "WAITS", "asked", "in_words", "status_of"]

Answer = TypeVar("Answer")

WAITS = (1.0, 2.0, 4.0)
"""Seconds between the tries of a question that huggingface_hub asks once."""
BRIEF = (2.0,)
"""The same for what it asks several times by itself."""

_PASSING = (408, 429, 500, 502, 503, 504)
_NETWORK = {"TransportError", "NetworkError", "TimeoutException", "RequestException"}
_LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token that may write"
_WORDS = {
    401: f"the Hub does not accept the token (401). {_LOG_IN}.",
    403: (
        f"the token may not write there (403). {_LOG_IN} there, and name a repository of yours or "
        "of an organisation that you belong to."
    ),
    404: "the Hub knows no such repository, or the token may not see it (404).",
    413: "the Hub finds a file too large (413).",
}


def asked(
    doing: str,
    call: Callable[[], Answer],
    *,
    waits: Sequence[float] = WAITS,
    tick: Callable[[], None] = lambda: None,
) -> Answer:
    """What `call` gives back, tried again after faults that may pass; `doing` names it in errors.

    `tick` is called while it waits, and may raise to give up. Raises LoraError.
    """
    for wait in (*waits, None):
        try:
            return call()
        except (AttributeError, NameError, TypeError):
            # A fault of a program, not of the Hub.
            raise
        except Exception as problem:
            # All kinds: which there are differs between huggingface_hub's versions.
            if wait is None or not _may_pass(problem):
                raise LoraError(f"{doing}: {in_words(problem)}") from problem
        _wait(wait, tick)
    raise AssertionError


def _wait(seconds: float, tick: Callable[[], None]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        tick()
        time.sleep(min(0.2, left))


def in_words(problem: BaseException) -> str:
    """A fault in our words, with what to do about it."""
    status = status_of(problem)
    if status in _WORDS:
        return _WORDS[status]
    if status in _PASSING:
        return f"the Hub has failed several times (status {status}). Try again later."
    if is_network(problem, _NETWORK):
        return "no connection to the Hugging Face Hub. Connect, and try again."
    said = getattr(problem, "server_message", None) or str(problem)
    text = " ".join(str(said).split())[:300]
    return f"the Hub refuses it (status {status}): {text}" if status else text


def status_of(problem: BaseException) -> int | None:
    """The status that a server has answered with, if it was one."""
    for each in chain_of(problem):
        status = getattr(getattr(each, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _may_pass(problem: BaseException) -> bool:
    status = status_of(problem)
    return status in _PASSING if status else is_network(problem, _NETWORK)
