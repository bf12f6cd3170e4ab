"""Which rows are to blame where a loss or gradient is no longer a number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lora_nb.core.batching import Split, TokenBatch
from lora_nb.core.step import Stepper

__all__ = ["diverged"]

_FEW = 4


def diverged(step: int, batch: TokenBatch, loss: float, train: Split, stepper: Stepper) -> str:
    """What happened in a step, and which rows of its batch do it alone, in words."""
    what = f"the loss is {loss}" if not math.isfinite(loss) else "the gradient is not finite"
    first = f"Step {step}: {what}. Training was stopped, checkpoints before it are kept."
    rows = batch.rows
    alone = [train.part(step - 1, n, n + 1) for n in range(len(rows))]
    guilty = [row.rows[0] for row in alone if not stepper.is_finite(row, step)]
    if 0 < len(guilty) < len(rows):
        return f"{first} Alone, too, these rows give no number: {_named(guilty)}. Look at them."
    why = "Each of its rows alone gives none either" if guilty else "Alone they give numbers"
    return (
        f"{first} {why}: {_named(rows)}. Try a smaller learning_rate, max_grad_norm 1.0, "
        "or look at these rows."
    )


def _named(rows: Sequence[str]) -> str:
    more = f" and {len(rows) - _FEW} more" if len(rows) > _FEW else ""
    return ", ".join(rows[:_FEW]) + more
