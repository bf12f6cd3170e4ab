"""Whether a fused model answers as its base and adapter did, told by numbers.

One model is in memory at a time, so what is compared is kept: for each trained token its loss and
the likeliest token, and the logits of some tokens, within a budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from lora_nb.data.tokens import Encoded
from lora_nb.runs.export_events import Fidelity

__all__ = ["Measured", "Rows", "advice", "compared", "measure"]

# Longer rows are looked at up to here: the logits of a row are in memory at once.
_LONGEST = 512
_BUDGET_BYTES = 1 << 28
# With one token in fifty decided otherwise, half of all greedy answers of 35 tokens differ.
_AGREEMENT = 0.98
# More than this share of what the adapter has gained may not be lost; below the second number,
# in nats per token, a loss is the same for all purposes.
_SHARE_OF_GAIN = 0.1
_SAME_LOSS = 0.005


@dataclass(frozen=True)
class Rows:
    """Encoded rows to look at, with the place of each, and where they come from in words."""

    encoded: Sequence[Encoded]
    where: Sequence[str]
    source: str


@dataclass
class Measured:
    """What a model makes of rows: per row, losses and likeliest tokens, and some logits in fp32."""

    losses: list[NDArray[np.float32]] = field(default_factory=list)
    likeliest: list[NDArray[np.int64]] = field(default_factory=list)
    logits: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """The mean over all trained tokens, in nats."""
        return float(np.concatenate(self.losses).mean())

    @property
    def row_losses(self) -> list[float]:
        """The mean of each row."""
        return [float(losses.mean()) for losses in self.losses]


def measure(
    model: nn.Module, rows: Rows, tick: Callable[[], None] = lambda: None, *, keep: bool = True
) -> Measured:
    """What the model makes of the rows; `tick()` is called after each and may raise to give up."""
    found = Measured()
    for row in rows.encoded:
        _add(found, model, row, len(rows.encoded), keep)
        mx.clear_cache()
        tick()
    return found


def _add(found: Measured, model: nn.Module, row: Encoded, count: int, keep: bool) -> None:
    ids = mx.array(row.ids[:_LONGEST])
    places = np.flatnonzero(row.trained[1:_LONGEST])
    if not len(places):
        # Every trained token lies beyond what is looked at.
        places = np.arange(len(ids) - 1)
    logits = model(ids[None, :-1])[0][mx.array(places)].astype(mx.float32)
    targets = ids[1:][mx.array(places)]
    losses = nn.losses.cross_entropy(logits, targets)
    best = mx.argmax(logits, axis=-1)
    mx.eval(losses, best)
    found.losses.append(np.array(losses))
    found.likeliest.append(np.array(best).astype(np.int64))
    if keep:
        room = max(1, _BUDGET_BYTES // (4 * logits.shape[-1] * count))
        some = np.unique(np.linspace(0, len(places) - 1, min(room, len(places))).round())
        found.logits.append(np.array(logits[mx.array(some.astype(np.int32))]))


def compared(
    rows: Rows, base: Measured, adapter: Measured, fused: Measured, started: float, repair: str
) -> Fidelity:
    """The three as an event; `repair` says what to do where too much is lost."""
    fused_agreement = _agreement(adapter, fused)
    return Fidelity(
        source=rows.source,
        rows=len(rows.encoded),
        tokens=sum(map(len, adapter.losses)),
        base_loss=base.loss,
        adapter_loss=adapter.loss,
        fused_loss=fused.loss,
        base_agreement=_agreement(adapter, base),
        fused_agreement=fused_agreement,
        base_max_difference=_differences(adapter, base)[0],
        fused_max_difference=_differences(adapter, fused)[0],
        base_mean_difference=_differences(adapter, base)[1],
        fused_mean_difference=_differences(adapter, fused)[1],
        advice=advice(base.loss, adapter.loss, fused.loss, fused_agreement, repair),
        seconds=round(time.perf_counter() - started, 3),
    )


def _agreement(one: Measured, other: Measured) -> float:
    return float(np.mean(np.concatenate(one.likeliest) == np.concatenate(other.likeliest)))


def _differences(one: Measured, other: Measured) -> tuple[float, float]:
    """The largest and the mean difference of the logits."""
    each = [np.abs(a - b) for a, b in zip(one.logits, other.logits, strict=True)]
    count = sum(differences.size for differences in each)
    return (
        float(max(differences.max() for differences in each)),
        float(sum(differences.sum(dtype=np.float64) for differences in each) / count),
    )


def advice(base: float, adapter: float, fused: float, agreement: float, repair: str) -> str:
    """What to say if fusing has lost too much of what was learnt, else nothing.

    Losses are in nats, `agreement` is the share of tokens with the same likeliest token.
    """
    reasons = []
    if not agreement >= _AGREEMENT:
        reasons.append(f"the likeliest token is the same for only {agreement:.1%} of the tokens")
    gain, lost = base - adapter, fused - adapter
    if not lost <= max(_SHARE_OF_GAIN * gain, _SAME_LOSS):
        share = f" ({lost / gain:.0%} of what the adapter had gained)" if gain > 0 else ""
        reasons.append(f"the loss is {fused:.3f} instead of {adapter:.3f}{share}")
    if not reasons:
        return ""
    return f"The fused model does not answer as base and adapter do: {'; '.join(reasons)}. {repair}"
