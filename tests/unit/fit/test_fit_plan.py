"""From measured figures to candidates: sizes, times, their order and their flags."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from lora_nb.config import FitConfig, TrainConfig, load
from lora_nb.core.fit_plan import Change, Probed, candidates, peak_of, seconds_of, without_cache
from lora_nb.runs.fit_result import FitResult

GB = 10**9
ONE_ROW = "--batch-size 1 --grad-accumulation-steps 8 --iters 64"


def probed(**figures: Any) -> Probed:
    """A model of 14 GB with 16 of 32 blocks trained on batches of 4 rows of 2048 tokens."""
    usual: dict[str, Any] = {
        "load": 14 * GB,
        "fixed": 15 * GB,
        "base": 14 * GB,
        "below": 7 * GB,
        "trained": 900_000_000,
        "gradients": 300_000_000,
        "step": 16 * GB,
        "less": 10 * GB,
        "recomputed": 6 * GB,
        "evaluation": 1 * GB,
        "cache": 2 * GB,
        "cache_place": "memory",
        "cacheable": True,
        "measured": True,
        "blocks": 16,
        "rows": 4,
        "length": 2048,
        "shares": [0.5, 1.0, 0.5, 0.5],
        "steps": 16,
        "plain_seconds": 4.0,
        "fill_seconds": 1.0,
        "cached_seconds": 2.0,
        "less_seconds": 2.4,
        "recomputed_seconds": 5.0,
        "row_seconds": 1.0,
        "can_quantise": True,
    }
    return Probed(**(usual | figures))


def config(**options: Any) -> TrainConfig:
    usual: dict[str, Any] = {"model": "owner/big", "data": "d", "batch_size": 4}
    return TrainConfig(**(usual | options))


def test_a_peak_is_what_lies_there_and_what_the_longest_batch_takes() -> None:
    assert peak_of(without_cache(probed()), Change()) == 31 * GB
    assert peak_of(without_cache(probed(load=40 * GB)), Change()) == 40 * GB
    assert peak_of(without_cache(probed(evaluation=20 * GB)), Change()) == 35 * GB


def test_a_cache_fills_up_and_then_stands_in_for_the_blocks_below() -> None:
    # 0.5 and then 1.0 of 2.5 shares are there when the longest batch comes.
    assert peak_of(probed(), Change()) == int((15 + 1.2 + 16) * GB)
    late = probed(shares=[0.5, 0.5, 0.5, 1.0])
    assert peak_of(late, Change()) == (15 + 2 + 16) * GB
    # Rows are put together at the end, when they are there twice.
    assert peak_of(probed(cache=12 * GB, step=0, less=0), Change()) == (15 + 24) * GB
    assert peak_of(late, Change(cache="disk")) == 31 * GB


@pytest.mark.parametrize(
    ("change", "peak"),
    [
        (Change(recompute=True), 21.0),
        (Change(rows=2), 15.3 + 8),
        (Change(rows=1), 15.3 + 4),
        (Change(blocks=8), 15 - 0.45 + 10),
        (Change(length=512), 15 + 4),
        (Change(quantise=True), 15 - 14 * (1 - 4.5 / 16) + 16),
        (Change(recompute=True, rows=1), 15.3 + 1.5),
    ],
)
def test_what_a_change_saves(change: Change, peak: float) -> None:
    assert peak_of(without_cache(probed()), change) == pytest.approx(peak * GB, rel=1e-6)


def test_times_are_those_of_all_steps() -> None:
    # A step has no fixed part here, so the mean batch takes 0.625 of the longest.
    assert seconds_of(without_cache(probed())) == pytest.approx(16 * 4 * 0.625)
    assert seconds_of(probed()) == pytest.approx((4 * 3 + 12 * 2) * 0.625)
    assert seconds_of(without_cache(probed()), Change(rows=1)) == pytest.approx(16 * 4 * 0.625)
    assert seconds_of(without_cache(probed(row_seconds=2.5)), Change(rows=1)) == pytest.approx(
        16 * 4 * (4 * 0.5 + 0.5 * 0.625)
    )
    assert seconds_of(without_cache(probed()), Change(recompute=True)) == pytest.approx(16 * 3.125)
    assert math.isnan(seconds_of(probed(), Change(quantise=True)))


def test_candidates_come_in_the_order_of_their_harm() -> None:
    found = candidates(probed(), config(), 24 * GB)
    changes = [each.change for each in found]
    assert changes[:6] == [
        "as configured",
        "trunk cache on disk",
        "recomputed activations",
        "batches of 2, gradients gathered over 4 rows",
        "batches of 1, gradients gathered over 4 rows",
        "trunk cache on disk, recomputed activations, batches of 2, gradients gathered over 4 rows",
    ]
    assert len(set(changes)) == len(changes)
    assert changes[-1].endswith("a model of 4 bits (QLoRA)")
    assert [each.measured for each in found[:4]] == [True, False, True, False]
    order = [changes.index(c) for c in changes if "trained block" in c and "4 bits" not in c]
    assert min(order) > changes.index("batches of 1, gradients gathered over 4 rows")


@pytest.mark.parametrize(
    ("limit", "flags"),
    [
        (24, "--grad-checkpoint"),
        (21, ONE_ROW),
        (
            17,
            f"--trunk-cache disk --grad-checkpoint {ONE_ROW}",
        ),
        (9, "--model big-4bit"),
    ],
)
def test_the_smallest_change_that_fits_is_proposed(limit: int, flags: str) -> None:
    made = probed() if limit > 9 else probed(step=GB, less=0, recomputed=0, cache=0, evaluation=0)
    options = config(grad_accumulation_steps=2)
    found = result(candidates(made, options, limit * GB), limit)
    assert not found.fits
    assert found.proposal is not None
    assert found.proposal.flags == flags
    words = flags.split()
    again = {word.removeprefix("--").replace("-", "_") for word in words if word[:2] == "--"}
    assert set(found.proposal.values) == again
    # It is accepted back.
    load(TrainConfig, flags=found.proposal.values)
    if "model" in again:
        assert found.proposal.before == "%lora_convert --model owner/big -q --mlx-path big-4bit"


def result(found: list[Any], limit: int) -> FitResult:
    return FitResult(
        device="GPU", memory=30 * GB, limit=limit * GB, overhead=0, rows=4, length=2048, steps=16,
        weights=14 * GB, cache=0, seconds_without_cache=1.0, seconds_with_cache=math.nan,
        candidates=found, notes=["<b>"],
    )  # fmt: skip


def test_nothing_is_proposed_where_nothing_helps_or_is_needed() -> None:
    found = candidates(probed(), config(), GB)
    assert result(found, 1).proposal is None
    assert "No change that is tried here is enough." in result(found, 1).verdict()
    fine = result(candidates(probed(), config(), 99 * GB), 99)
    assert fine.proposal is None
    assert fine.verdict() == "It fits: the peak is 32.2 of the 99.0 GB that are free (GPU)."


def test_a_cache_is_proposed_only_where_there_can_be_one() -> None:
    def changes(**figures: Any) -> str:
        made = probed(cache=0, cache_place="off", **figures)
        return " ".join(each.flags for each in candidates(made, config(), GB))

    assert "--trunk-cache disk" in changes()
    assert "--trunk-cache" not in changes(cacheable=False)


def test_epochs_need_no_other_number_of_steps() -> None:
    found = candidates(probed(), config(epochs=2), 99 * GB)
    assert found[3].flags == "--batch-size 2 --grad-accumulation-steps 2"


def test_a_result_comes_back_from_its_text() -> None:
    found = result(candidates(probed(), config(), 20 * GB), 20)
    again = FitResult.from_json(found.to_json())
    assert again.verdict() == found.verdict()
    assert [dataclasses.replace(c, seconds=0) for c in again.candidates] == [
        dataclasses.replace(c, seconds=0) for c in found.candidates
    ]


def test_the_report_is_static_and_escaped() -> None:
    from lora_nb.fitting.report import FitReport

    found = result(candidates(probed(), config(), 20 * GB), 20)
    report = FitReport(FitConfig(model="<script>", data="d"), found)
    bundle = report._repr_mimebundle_()
    assert "<script" not in bundle["text/html"]
    assert "<b>" not in bundle["text/html"].replace("<b>It does", "")
    assert "--batch-size 1" in bundle["text/plain"]
    assert list(report.frame.columns) == [
        "change", "peak_gb", "seconds", "measured", "fits", "before", "flags",
    ]  # fmt: skip
    assert report.proposal is not None
    assert not report.fits
