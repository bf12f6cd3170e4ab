"""Rows that share a sequence, kept apart: none sees another.

mlx-lm's models ask the cache of a layer for the attention mask. A stand-in for the caches answers
with a mask in which a token sees only earlier tokens of its own row, and keeps nothing. Rotary
positions are relative, so a row may stand anywhere in the sequence. Whatever else a model does
between tokens would let rows see each other, so each model is tried first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from lora_nb.data.prepare import Prepared
from lora_nb.data.tokens import Encoded
from lora_nb.errors import LoraError

__all__ = ["FAULTS", "Apart", "apart", "check_packing"]

FAULTS = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What a model may raise if it is used in a way that it is not made for."""

# Mean difference of a token's loss from that of the row alone, in nats: half precision rounds.
_TOLERANCE = 3e-2
# What a token's loss may change by if another row does; products of other tokens round otherwise.
_SEEN = 1e-2
_ONE_MASK = "its attention takes one mask for a whole batch (--batch-size 1 would do)"
# Their frequencies depend on the length of the whole sequence.
_BY_LENGTH = {"dynamic", "longrope", "su"}


class Apart:
    """Stands for a list of caches: `parts` [rows, length] numbers the row of every token."""

    def __init__(self, model: nn.Module, parts: mx.array) -> None:
        self._layers = len(model.layers)
        self._mask = _Mask(parts)

    def __len__(self) -> int:
        return self._layers

    def __getitem__(self, place: int) -> _Mask:
        return self._mask

    def __iter__(self) -> Iterator[_Mask]:
        return iter([self._mask] * self._layers)


def apart(model: nn.Module, parts: mx.array | None) -> dict[str, Any]:
    """What to call a model with on all but the last token of sequences that have `parts`."""
    return {} if parts is None else {"cache": Apart(model, parts[:, :-1])}


class _Mask:
    """The cache of a layer, which is empty and stays so."""

    offset = 0

    def __init__(self, parts: mx.array) -> None:
        self._parts = parts

    def make_mask(
        self, length: int, return_array: bool = False, window_size: int | None = None
    ) -> mx.array:
        """True where a token (third axis) may see another: [rows, 1, length, length]."""
        place = mx.arange(length)
        before = place[:, None] >= place[None]
        if window_size is not None:
            before = before & (place[:, None] < place[None] + window_size)
        same = self._parts[:, :, None] == self._parts[:, None, :]
        return (same & before[None])[:, None]

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        return keys, values


def check_packing(
    model: nn.Module, config: dict[str, Any], packed: Prepared, batch_size: int
) -> None:
    """Raise LoraError unless the model computes packed rows as it does each alone.

    Tried on a sequence of as many rows as there are: with its first row changed, nothing about
    the others may change, and each row's losses must be those it has alone, also beside other
    sequences in a batch.
    """
    if found := _position_kinds(config) & _BY_LENGTH:
        raise _refusal(f"its positions depend on the length of the sequence ({found.pop()})")
    fullest = max(packed.encoded, key=_rows_in)
    if fullest.parts is None or _rows_in(fullest) < 2:
        return
    was_training = model.training
    model.eval()
    try:
        _check(model, fullest.ids, fullest.parts)
        if batch_size > 1:
            _check_batches(model, fullest.ids, fullest.parts)
    except FAULTS as problem:
        raise _refusal(f"it takes no mask of ours ({type(problem).__name__})") from problem
    finally:
        model.train(was_training)


def _position_kinds(config: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for values in (config, config.get("text_config") or {}):
        for key in ("rope_scaling", "rope_parameters"):
            scaling = values.get(key)
            if isinstance(scaling, dict):
                found |= {str(scaling.get(name)) for name in ("type", "rope_type")}
    return found


def _rows_in(row: Encoded) -> int:
    return 1 if row.parts is None else int(row.parts.max()) + 1


def _check(model: nn.Module, ids: NDArray[np.int32], parts: NDArray[np.int32]) -> None:
    first = parts == 0
    others = (parts[1:] == parts[:-1]) & ~first[1:]
    changed = np.where(first, ids[::-1], ids)
    (together,) = _losses(model, ids, parts)
    if np.abs(together - _losses(model, changed, parts)[0])[others].max(initial=0) > _SEEN:
        raise _refusal("it lets the rows of a sequence see each other")
    for number in range(int(parts.max()) + 1):
        inside = np.flatnonzero(parts == number)
        if len(inside) < 2:
            continue
        (alone,) = _losses(model, ids[inside], np.zeros(len(inside), np.int32))
        if not np.abs(together[inside[1:] - 1] - alone).mean() <= _TOLERANCE:
            raise _refusal("the loss of a row depends on its place in a sequence")


def _check_batches(model: nn.Module, ids: NDArray[np.int32], parts: NDArray[np.int32]) -> None:
    """Some code adds axes before that of the heads, so that masks of a batch fall on these.

    Two sizes, for one of them may be that of an axis by chance.
    """
    whole = np.zeros_like(parts)
    alone = [_losses(model, ids, each)[0] for each in (parts, whole, whole)]
    for count in (2, 3):
        try:
            found = _losses(model, np.stack([ids] * count), np.stack([parts, whole, whole][:count]))
        except ValueError as problem:
            raise _refusal(_ONE_MASK) from problem
        if not np.abs(found - np.stack(alone[:count])).mean() <= _TOLERANCE:
            raise _refusal(_ONE_MASK)


def _losses(
    model: nn.Module, ids: NDArray[np.int32], parts: NDArray[np.int32]
) -> NDArray[np.float32]:
    """The loss of every token but the first in nats, [sequences, length - 1]."""
    tokens, places = mx.array(np.atleast_2d(ids)), mx.array(np.atleast_2d(parts))
    logits = model(tokens[:, :-1], **apart(model, places)).astype(mx.float32)
    losses = nn.losses.cross_entropy(logits, tokens[:, 1:])
    return np.array(losses)


def _refusal(why: str) -> LoraError:
    return LoraError(f"packing: this model can't be trained on packed rows: {why}. Leave it out.")
