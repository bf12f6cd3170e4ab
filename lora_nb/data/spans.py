"""Where the turns of an assistant lie in a rendered chat, and which tokens they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lora_nb.data.faults import RowError
from lora_nb.data.tokenizer import Tokenizer

__all__ = ["Offsets", "TokenMap", "shared", "turn_span"]

# Two contents that share neither their first nor their last character.
_PROBES = ("Qj3xw", "Zk8vy")

Messages = list[dict[str, Any]]
Render = Callable[[Messages, bool], str]
"""(messages, with the beginning of an answer) -> text"""


def shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Length of the common beginning of two texts or two lists of ids."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def turn_span(render: Render, messages: Messages, turn: int, full: str) -> tuple[int, int]:
    """Characters [start, end) of `full` that message `turn` adds to the chat.

    An answer goes from the end of its header to the end of its end-of-turn mark, another
    message from the beginning of its header. Where the chat up to the
    turn is a true beginning of the whole, that says it; templates that treat a last message
    unlike an earlier one (thoughts taken out of the history) are asked with probe answers.
    """
    answer = messages[turn]["role"] == "assistant"
    after = full if turn == len(messages) - 1 else _try(render, messages[: turn + 1], False)
    before = _try(render, messages[:turn], answer) if turn else None
    if before is None or after is None:
        return _probed(render, messages, turn, full)
    if full.startswith(after) and after.startswith(before):
        return len(before), len(after)
    return _probed(render, messages, turn, full)


def _probed(render: Render, messages: Messages, turn: int, full: str) -> tuple[int, int]:
    one, other = (_try(render, _with_content(messages, turn, probe), False) for probe in _PROBES)
    if one is None or other is None or one == other:
        return 0, 0
    head = one[: shared(one, other)]
    tail = one[len(one) - shared(one[::-1], other[::-1]) :]
    start = shared(full, head)
    stop = max(start, len(full) - shared(full[::-1], tail[::-1]))
    alone = _try(render, _with_content(messages[: turn + 1], turn, _PROBES[0]), False)
    if alone is None or _PROBES[0] not in alone:
        return start, stop
    mark = alone[alone.rindex(_PROBES[0]) + len(_PROBES[0]) :]
    return start, stop + shared(full[stop:], mark)


def _with_content(messages: Messages, turn: int, content: str) -> Messages:
    probe = {"role": messages[turn]["role"], "content": content}
    return [*messages[:turn], probe, *messages[turn + 1 :]]


def _try(render: Render, messages: Messages, prompt: bool) -> str | None:
    try:
        return render(messages, prompt)
    except RowError:
        return None


class Offsets:
    """Which characters every token of a text holds, as the fast tokenizer underneath knows it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        self._ready = False

    def of(self, text: str, ids: list[int]) -> list[tuple[int, int]] | None:
        """A span for each of `ids`; None if they cannot be had for these very ids."""
        if not self._ready:
            self._backend = _untrimmed(self._backend)
            self._ready = True
        if self._backend is None:
            return None
        encoding = self._backend.encode(text, add_special_tokens=False)
        return encoding.offsets if encoding.ids == ids else None


def _untrimmed(backend: Any) -> Any:
    """The fast tokenizer without its last step, which takes blanks out of the spans."""
    if backend is None or not hasattr(backend, "post_processor"):
        return None
    if backend.post_processor is None:
        return backend
    bare = copy.deepcopy(backend)
    bare.post_processor = None
    return bare


class TokenMap:
    """Which token of `ids` holds which character of `text`."""

    def __init__(self, tokenizer: Tokenizer, offsets: Offsets, text: str, ids: list[int]) -> None:
        self._tokenizer = tokenizer
        self._text = text
        self._ids = ids
        spans = offsets.of(text, ids)
        self._spans = None if spans is None else np.array(spans, np.int64).reshape(-1, 2)

    def first(self, place: int) -> int:
        """The first token that holds anything from character `place` on.

        A token that lies across the place counts: what follows cannot be learned without it.
        """
        if self._spans is None:
            prefix = list(self._tokenizer.encode(self._text[:place], add_special_tokens=False))
            return shared(prefix, self._ids)
        return int(np.searchsorted(self._spans[:, 1], place, side="right"))

    def stop(self, place: int) -> int:
        """One past the last token that begins before character `place`."""
        found = self.first(place)
        if self._spans is None or found == len(self._ids):
            return found
        return found + 1 if self._spans[found, 0] < place else found
