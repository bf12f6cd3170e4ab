"""Logits only where there is a target, and the frozen head's gradient formed on the way.

The head of a language model is its widest layer, and of a masked row only some positions are
targets. A family's own code turns hidden states into logits (tied or not, scaled, soft-capped):
the model is called with its body exchanged for the hidden states that were picked, so all of that
stays as it is. Large vocabularies are done in chunks; each chunk's gradient with respect to the
hidden states is formed beside its loss, so no logits outlive their chunk. Sources: Liger Kernel
(arXiv 2410.10989), Cut Cross-Entropy (arXiv 2411.09009).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from lora_nb.core.device import on_cuda
from lora_nb.core.packed import Apart
from lora_nb.core.trees import flat

__all__ = ["Picks", "has_body", "picked_loss", "picks_of", "room_for"]

Picks = tuple[mx.array, mx.array]

# Logits of a chunk in bytes, as fp32.
_CHUNK_BYTES = 1 << 28
_STEP = 32
# Where every new shape is dear, targets are padded to one of these shares of all positions.
_SHARES = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1)


def picks_of(trained: NDArray[np.bool_]) -> Picks:
    """Where the targets of a batch are, in its flattened [rows, length - 1] positions.

    Padded to few different sizes with weightless picks: (places int32 [n], weights bool [n]).
    """
    places = np.flatnonzero(trained[:, 1:])
    count = max(len(places), 1)
    room = room_for(count, trained[:, 1:].size, few=on_cuda())
    padded = np.zeros(room, np.int32)
    padded[: len(places)] = places
    weights = np.arange(room) < len(places)
    return mx.array(padded), mx.array(weights)


def room_for(count: int, positions: int, *, few: bool) -> int:
    """How many picks there are for `count` targets; in `few` different sizes, or less padded."""
    if few:
        rooms = (max(_STEP, int(share * positions)) for share in _SHARES)
        return next((room for room in rooms if room >= count), count)
    step = max(_STEP, 1 << max(count.bit_length() - 3, 0))
    return -(-count // step) * step


def has_body(model: nn.Module) -> bool:
    """Whether the model is a head on a body that gives hidden states, as most of mlx-lm's are."""
    body = model.get("model")
    return isinstance(body, nn.Module) and not isinstance(body.get("model"), nn.Module)


class _Given:
    """Takes the place of a model's body: it gives the hidden states that it was made with."""

    def __init__(self, body: nn.Module, hidden: mx.array) -> None:
        self._body = body
        self._hidden = hidden

    def __call__(self, *_: Any, **__: Any) -> mx.array:
        return self._hidden

    def __getattr__(self, name: str) -> Any:
        # A tied head is found on the body.
        return getattr(self._body, name)


@contextmanager
def _with_body(model: nn.Module, body: Any) -> Iterator[None]:
    before = model["model"]
    # Past nn.Module's __setattr__, which would move anything but a module elsewhere.
    dict.__setitem__(model, "model", body)
    try:
        yield
    finally:
        dict.__setitem__(model, "model", before)


def picked_loss(
    model: nn.Module, tokens: mx.array, picks: Picks, parts: mx.array | None = None
) -> mx.array:
    """Cross entropy in nats, summed over the targets: `summed_loss` with fewer logits."""
    inputs = tokens[:, :-1]
    # Phi names its cache without a default.
    hidden = model["model"](inputs, None if parts is None else Apart(model, parts[:, :-1]))
    places, weights = picks
    hidden = hidden.reshape(-1, hidden.shape[-1])[places]
    targets = tokens[:, 1:].reshape(-1)[places]

    def loss_of(some: mx.array, goal: mx.array, weight: mx.array) -> mx.array:
        with _with_body(model, _Given(model["model"], some[None])):
            logits = model(inputs[:1])
        loss = nn.losses.cross_entropy(logits[0], goal) * weight
        return loss.astype(mx.float32).sum()

    return _in_chunks(model, loss_of, hidden, targets, weights)


def _in_chunks(
    model: nn.Module,
    loss_of: Callable[[mx.array, mx.array, mx.array], mx.array],
    hidden: mx.array,
    targets: mx.array,
    weights: mx.array,
) -> mx.array:
    count = hidden.shape[0]
    size = max(_STEP, _CHUNK_BYTES // (4 * _vocabulary(model)))
    if count <= size or (model.training and _trains_head(model)):
        return loss_of(hidden, targets, weights)
    total = mx.array(0.0)
    for start in range(0, count, size):
        given = [each[start : start + size] for each in (hidden, targets, weights)]
        # Without training no gradient is wanted; that chunks come one by one saves the memory.
        total = total + (_formed(loss_of)(*given)[0] if model.training else loss_of(*given))
    return total


def _formed(loss_of: Callable[[mx.array, mx.array, mx.array], mx.array]) -> Any:
    """The loss together with its gradient, which the backward pass then only scales."""

    @mx.custom_function
    def both(hidden: mx.array, targets: mx.array, weights: mx.array) -> tuple[mx.array, mx.array]:
        return mx.value_and_grad(loss_of)(hidden, targets, weights)

    @both.vjp
    def backward(primals: Any, cotangents: Any, outputs: Any) -> tuple[mx.array, Any, Any]:
        _, targets, weights = primals
        gradient = outputs[1] * cotangents[0].astype(outputs[1].dtype)
        return gradient, mx.zeros_like(targets), mx.zeros_like(weights)

    return both


def _vocabulary(model: nn.Module) -> int:
    return int(getattr(model.args, "vocab_size", 0) or 1)


def _trains_head(model: nn.Module) -> bool:
    """Whether something above the blocks is trained, so that its gradient is needed too."""
    body = set(flat(model["model"].trainable_parameters()))
    inside = {name for name in body if name.startswith(("layers.", "h.", "blocks."))}
    return len(flat(model.trainable_parameters())) != len(inside)
