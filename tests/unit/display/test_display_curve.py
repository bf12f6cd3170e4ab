from __future__ import annotations

import math

from lora_nb.display.curve import points, smooth, thin


def test_points_are_in_order_and_gaps_are_nan() -> None:
    told = points({20: 1.0, 10: math.inf})
    assert [step for step, _ in told] == [10, 20]
    assert math.isnan(told[0][1])


def test_thin_keeps_ends_and_peaks() -> None:
    raw = [(step, 1.0) for step in range(100_000)]
    raw[33_333] = (33_333, 9.0)
    raw[66_666] = (66_666, 0.1)
    few = thin(raw, 1000)
    assert len(few) <= 1002
    assert few[0] == raw[0]
    assert few[-1] == raw[-1]
    assert {(33_333, 9.0), (66_666, 0.1)} <= set(few)
    assert few == sorted(few)


def test_thin_leaves_short_curves_and_survives_nan() -> None:
    short = [(1, 1.0), (2, 2.0)]
    assert thin(short) == short
    assert len(thin([(step, math.nan) for step in range(5000)], 100)) <= 102


def test_smooth_keeps_a_straight_line_and_flattens_noise() -> None:
    flat = smooth([(step, 1.0 + (-1) ** step * 0.5) for step in range(1000)])
    assert max(abs(loss - 1.0) for _, loss in flat) < 0.05
    straight = smooth([(step, float(step)) for step in range(1000)])
    assert all(abs(loss - step) < 1e-6 for step, loss in straight[50:-50])


def test_smooth_leaves_nan_out() -> None:
    told = smooth([(step, math.nan if step == 50 else 2.0) for step in range(100)])
    assert all(loss == 2.0 for _, loss in told)
