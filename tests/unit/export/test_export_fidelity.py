"""The fidelity guard: figures, thresholds, and what is kept of them."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from lora_nb.data.tokens import Encoded
from lora_nb.export import fidelity
from lora_nb.export.fidelity import Rows, advice, compared, measure
from lora_nb.runs.event_lines import decode, encode
from lora_nb.runs.events import Record
from lora_nb.runs.export_events import Fidelity

VOCAB = 11


class Table(nn.Module):
    """Logits that depend on the last token alone."""

    def __init__(self, seed: int, add: float = 0.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        random = np.random.default_rng(seed)
        self.logits = mx.array(random.standard_normal((VOCAB, VOCAB)).astype(np.float32) + add)

    def __call__(self, tokens: mx.array) -> mx.array:
        return self.logits[tokens]


def row(*ids: int, first: int = 1) -> Encoded:
    trained = np.arange(len(ids)) >= first
    return Encoded(np.array(ids, np.int32), trained, "text")


ROWS = Rows([row(1, 2, 3, 4, 5), row(6, 7, 8, 9, first=3)], ["a:1", "a:2"], "valid rows")


def losses_of(model: Table, ids: list[int], first: int) -> list[float]:
    logits = np.array(model.logits).astype(np.float64)
    return [
        float(np.log(np.exp(logits[ids[i - 1]]).sum()) - logits[ids[i - 1], ids[i]])
        for i in range(first, len(ids))
    ]


def test_losses_are_those_of_the_trained_tokens() -> None:
    model = Table(1)
    found = measure(model, ROWS)
    wanted = [losses_of(model, [1, 2, 3, 4, 5], 1), losses_of(model, [6, 7, 8, 9], 3)]
    assert found.loss == pytest.approx(np.mean(wanted[0] + wanted[1]), abs=1e-6)
    assert found.row_losses == pytest.approx([np.mean(each) for each in wanted], abs=1e-6)
    assert [len(each) for each in found.likeliest] == [4, 1]
    assert found.logits[0].shape == (4, VOCAB)


def test_few_logits_are_kept_of_large_vocabularies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "_BUDGET_BYTES", 2 * 2 * 4 * VOCAB)
    found = measure(Table(1), ROWS)
    assert [each.shape for each in found.logits] == [(2, VOCAB), (1, VOCAB)]
    assert len(found.losses[0]) == 4
    assert measure(Table(1), ROWS, keep=False).logits == []


def test_a_row_whose_targets_lie_too_far_is_looked_at_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fidelity, "_LONGEST", 3)
    assert [len(each) for each in measure(Table(1), ROWS).losses] == [2, 2]


def test_figures() -> None:
    base, adapter, fused = Table(1), Table(2), Table(2, add=0.25)
    one, two, three = (measure(model, ROWS) for model in (base, adapter, fused))
    found = compared(ROWS, one, two, three, 0.0, "Mend it.")
    assert (found.rows, found.tokens, found.source) == (2, 5, "valid rows")
    # A number added to all logits changes nothing but themselves.
    assert found.fused_loss == pytest.approx(found.adapter_loss, abs=1e-6)
    assert found.fused_agreement == 1.0
    assert found.fused_max_difference == pytest.approx(0.25, abs=1e-6)
    assert found.fused_mean_difference == pytest.approx(0.25, abs=1e-6)
    assert found.base_agreement < 1.0
    assert found.base_max_difference > found.base_mean_difference > 0.5
    assert found.advice == ""
    event = decode(encode(Record(1, 2.0, found))).event
    assert event == found


CASES: dict[str, tuple[tuple[float, float, float, float], list[str]]] = {
    "same": ((2.0, 1.0, 1.0, 1.0), []),
    "just enough": ((2.0, 1.0, 1.09, 0.98), []),
    "tokens": ((2.0, 1.0, 1.0, 0.979), ["only 97.9% of the tokens"]),
    "loss": ((2.0, 1.0, 1.2, 1.0), ["1.200 instead of 1.000 (20% of what"]),
    "both": ((2.0, 1.0, 1.9, 0.5), ["only 50.0%", "90%"]),
    "noise": ((1.003, 1.0, 1.004, 1.0), []),
    "no gain": ((1.0, 1.2, 1.3, 1.0), ["1.300 instead of 1.200"]),
    "better": ((2.0, 1.0, 0.5, 1.0), []),
    "no number": ((2.0, 1.0, float("nan"), 0.0), ["only 0.0%", "nan instead of 1.000"]),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_what_is_said_when_too_much_is_lost(case: str) -> None:
    figures, wanted = CASES[case]
    text = advice(*figures, "Mend it.")
    assert bool(text) == bool(wanted)
    assert all(each in text for each in wanted)
    assert not text or text.endswith("Mend it.")


def some_fidelity(**changes: Any) -> Fidelity:
    usual: dict[str, Any] = {
        "source": "valid rows",
        "rows": 2,
        "tokens": 5,
        "base_loss": 2.0,
        "adapter_loss": 1.0,
        "fused_loss": 1.5,
        "base_agreement": 0.25,
        "fused_agreement": 0.75,
        "base_max_difference": 9.0,
        "fused_max_difference": 4.0,
        "base_mean_difference": 3.0,
        "fused_mean_difference": 2.0,
        "advice": "",
        "seconds": 1.0,
    }
    return Fidelity(**usual | changes)


def test_the_table() -> None:
    from lora_nb.display.fidelity import COLUMNS, fidelity_frame, fidelity_rows

    frame = fidelity_frame(some_fidelity())
    assert list(frame.index) == ["base", "adapter", "fused"]
    assert frame.loc["fused"].to_dict() == {
        "loss": 1.5,
        "agreement": 0.75,
        "max_difference": 4.0,
        "mean_difference": 2.0,
    }
    rows = fidelity_rows(some_fidelity())
    assert {len(each) for each in rows} == {len(COLUMNS)}
    assert rows[2] == ("fused", "1.500", "75.0%", "2.000", "4.000")
