"""How a fused model compares with what it was made of, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_nb.display.words import loss
from lora_nb.runs.export_events import Fidelity

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["COLUMNS", "fidelity_frame", "fidelity_rows"]

COLUMNS = ("", "loss", "same token", "logits differ", "at most")


def fidelity_frame(found: Fidelity) -> DataFrame:
    """One row each for base, adapter and fused model; the last three columns are to the adapter.

    `loss` is in nats per trained token, `agreement` the share of tokens with the same likeliest
    token, `max_difference` and `mean_difference` those of the logits.
    """
    import pandas as pd

    columns = ["loss", "agreement", "max_difference", "mean_difference"]
    index = pd.Index(["base", "adapter", "fused"], name="model")
    return pd.DataFrame(_figures(found), index=index, columns=columns)


def _figures(found: Fidelity) -> list[tuple[float, float, float, float]]:
    """Loss, agreement, largest and mean difference of base, adapter and fused model."""
    return [
        (
            found.base_loss,
            found.base_agreement,
            found.base_max_difference,
            found.base_mean_difference,
        ),
        (found.adapter_loss, 1.0, 0.0, 0.0),
        (
            found.fused_loss,
            found.fused_agreement,
            found.fused_max_difference,
            found.fused_mean_difference,
        ),
    ]


def fidelity_rows(found: Fidelity) -> list[Sequence[str]]:
    """The same in words, a row for each of COLUMNS."""
    names = ("base", "base and adapter", "fused")
    return [
        (name, loss(value), f"{agreement:.1%}", loss(mean), loss(largest))
        for name, (value, agreement, largest, mean) in zip(names, _figures(found), strict=True)
    ]
