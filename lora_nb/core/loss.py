"""The loss: cross entropy summed over trained tokens."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from lora_nb.core.packed import apart

__all__ = ["summed_loss"]


def summed_loss(
    model: nn.Module, tokens: mx.array, trained: mx.array, parts: mx.array | None = None
) -> mx.array:
    """Cross entropy in nats, summed over the trained targets of a batch, as an fp32 scalar.

    `tokens` is [rows, length] int32, `trained` [rows, length] bool; trained[:, j] says whether
    token j is a target. `parts` numbers the rows within packed sequences. Source:
    `mlx_lm.tuner.trainer.default_loss`, without its pad token, and summed, so that sums over
    batches and ranks weigh every token alike.
    """
    logits = model(tokens[:, :-1], **apart(model, parts))
    loss = nn.losses.cross_entropy(logits, tokens[:, 1:]) * trained[:, 1:]
    return loss.astype(mx.float32).sum()
