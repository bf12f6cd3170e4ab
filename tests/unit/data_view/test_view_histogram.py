"""The histogram: the shares of each split, and where max_seq_length lies."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from lora_nb.data.lengths import Lengths
from lora_nb.display.histogram import histogram_alt, length_histogram
from lora_nb.display.picture import png

TRAIN = Lengths.of([*range(20, 120), 60, 60])
VALID = Lengths.of([40, 50, 60])


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def _heights(figure: Figure) -> list[float]:
    """The sum of the bars of each outline."""
    return [
        float(np.sum(patch.get_data().values))
        for patch in figure.axes[0].patches
        if hasattr(patch, "get_data") and not patch.get_fill()
    ]


def test_each_split_is_drawn_in_shares() -> None:
    figure = length_histogram({"train": TRAIN, "valid": VALID}, unit="tokens", title="demo")
    assert _heights(figure) == pytest.approx([1, 1])
    assert figure.axes[0].get_xlabel() == "tokens in a row"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["train (102)", "valid (3)"]
    looks = {line.get_linestyle() for line in figure.legends[0].get_lines()}
    assert len(looks) == 2, "colour alone must not tell them apart"


def test_the_limit_is_a_line_with_the_rows_beyond_it() -> None:
    figure = length_histogram({"train": TRAIN}, unit="tokens", limit=100)
    (line,) = figure.axes[0].lines
    assert line.get_xdata()[0] == 100  # type: ignore[index]
    assert _texts(figure) == [" max_seq_length 100; 19 rows are longer "]


def test_a_far_limit_does_not_squeeze_the_bars() -> None:
    figure = length_histogram({"train": TRAIN}, unit="tokens", limit=2048)
    assert figure.axes[0].get_xlim()[1] < 150
    assert not figure.axes[0].lines
    assert _texts(figure) == ["max_seq_length 2,048 →"]


def test_a_few_very_long_rows_are_gathered() -> None:
    lengths = Lengths.of([*range(20, 420), 50_000])
    figure = length_histogram({"train": lengths}, unit="tokens")
    assert figure.axes[0].get_xlim()[1] < 600
    assert _heights(figure) == pytest.approx([1])
    assert "last bar: up to 50,000" in _texts(figure)


@pytest.mark.parametrize("lengths", [{}, {"train": Lengths()}, {"train": Lengths.of([7])}])
def test_little_or_nothing_to_draw(lengths: dict[str, Lengths]) -> None:
    figure = length_histogram(lengths, unit="tokens", limit=2048)
    assert png(figure).startswith(b"\x89PNG")


def test_the_same_picture_each_time() -> None:
    pictures = {png(length_histogram({"train": TRAIN}, unit="tokens", limit=99)) for _ in range(2)}
    assert len(pictures) == 1


def test_it_is_told_in_words() -> None:
    told = histogram_alt({"train": TRAIN, "test": Lengths.of([7])}, unit="tokens", limit=100)
    assert told == (
        "Histogram of row lengths in tokens. train: 102 rows of 20 to 119 tokens, half of them up "
        "to 68, 95 % up to 114; test: 1 row of 7 to 7 tokens, half of them up to 7, 95 % up to 7; "
        "max_seq_length is 100, 19 rows are longer."
    )
    assert histogram_alt({}, unit="tokens") == "There are no rows to draw."
