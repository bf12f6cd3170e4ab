from __future__ import annotations

import math

import pytest

from lora_nb.display.words import duration, gigabytes, loss, plain, rate


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.412, "0.412"), (0.0021, "0.0021"), (0.0, "0.000"), (12.3, "12.300"), (math.nan, "nan")],
)
def test_loss(value: float, shown: str) -> None:
    assert loss(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.31, "0.31"), (3.14, "3.1"), (9.97, "10"), (31.2, "31"), (999.7, "1.0k"), (5234.5, "5.2k")],
)
def test_rate(value: float, shown: str) -> None:
    assert rate(value) == shown


def test_rate_of_large_numbers() -> None:
    assert [rate(v) for v in (99_960, 123_456, 1.3e6, math.inf)] == ["100k", "123k", "1.3M", "?"]


def test_duration_and_memory() -> None:
    assert [duration(s) for s in (0, 41.4, 725, 3723, -1, math.nan)] == [
        "0:00", "0:41", "12:05", "1:02:03", "?", "?",
    ]  # fmt: skip
    assert [gigabytes(v) for v in (0.42, 12.44)] == ["0.42 GB", "12.4 GB"]


def test_plain_takes_control_characters_out() -> None:
    assert (
        plain("a\x1b[31mb\r\nc\u202e")
        == "a\N{REPLACEMENT CHARACTER}[31mb  c\N{REPLACEMENT CHARACTER}"
    )
    assert plain("a\n\tb\x07", lines=True) == "a\n\tb\N{REPLACEMENT CHARACTER}"
