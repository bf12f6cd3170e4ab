from __future__ import annotations

import io
import math
import sys
import threading
import time
import warnings
from pathlib import Path
from subprocess import run
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lora_nb.display import alt_text, loss_curve, overlay_curves, png
from lora_nb.display.header import shortened, wrapped
from tests.unit.display.made import (
    data,
    finished,
    losses,
    model,
    numbered,
    saved,
    started,
    train,
    valid,
)

ROOT = Path(__file__).parents[3]
XSS = '<img src=x onerror="alert(1)"> $\\frac{a}$ & _x'


def texts(figure: Figure) -> str:
    inside = [text.get_text() for axes in figure.axes for text in axes.texts]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return "\n".join([text.get_text() for text in figure.texts] + inside + legends)


def test_what_it_shows() -> None:
    figure = loss_curve(finished(), title="my run", lines=["step 300/300 · train 0.1"])
    shown = texts(figure)
    for words in (
        "my run",
        "step 300/300",
        "best 0.031 at 250",
        "train",
        "validation",
        "checkpoint",
    ):
        assert words in shown
    (axes,) = figure.axes
    assert axes.get_xlabel() == "step"


def test_size_and_form() -> None:
    picture = Image.open(io.BytesIO(png(loss_curve(finished()))))
    assert picture.size == (512, 256)
    assert picture.format == "PNG"
    red, green, blue, opaque = picture.convert("RGBA").getpixel((2, 2))  # type: ignore[misc]
    assert min(red, green, blue) > 245
    assert opaque == 255
    assert Image.open(io.BytesIO(png(loss_curve(finished()), 160))).size == (1024, 512)


def test_the_axis_spans_the_planned_steps_only_while_running() -> None:
    halfway = numbered([started(), *losses(120, 10)])
    assert loss_curve(halfway).axes[0].get_xlim() == (0, 300)
    stopped = [*halfway, *numbered([finished()[-1].event])]
    assert loss_curve(stopped).axes[0].get_xlim() == (0, 300)
    assert loss_curve(numbered([valid(0, 1.0)])).axes[0].get_xlim() == (0, 1)


def test_many_points_are_smoothed_and_thinned() -> None:
    few = loss_curve(numbered(losses(20))).axes[0].lines
    assert len(few) == 1
    many = loss_curve(numbered(losses(20_000, planned=20_000))).axes[0].lines
    assert len(many) == 2
    assert all(len(line.get_xdata()) <= 1002 for line in many)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "records",
    [
        [],
        numbered([started(), model(), data()]),
        numbered([valid(0, 2.0)]),
        numbered([train(1, math.nan), valid(1, math.nan)]),
        numbered([train(1, math.inf), train(2, 1e30), valid(2, 1e-30), saved(2)]),
    ],
)
def test_odd_records_draw_without_a_warning(records: list[object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert png(loss_curve(records)).startswith(b"\x89PNG")  # type: ignore[arg-type]


def test_foreign_text_is_drawn_as_it_is_and_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = loss_curve(
            finished(), title=XSS, lines=[f"{XSS} \N{CJK UNIFIED IDEOGRAPH-6F22}\x07"]
        )
        overlay = overlay_curves({XSS: finished(), "_hidden": finished()}, title=XSS)
        assert png(figure)
        assert png(overlay)
    assert "$\\frac{a}$" in texts(figure)
    assert "□□" in texts(figure)
    (legend,) = [axes.get_legend() for axes in overlay.axes]
    assert legend is not None
    first, second = (text.get_text() for text in legend.get_texts())
    assert first.endswith(" (0.031)")
    assert second == "_hidden (0.031)"


def test_overlay_gives_each_run_its_colour() -> None:
    figure = overlay_curves({"a": finished(), "b": numbered(losses(50, 10))})
    named = [line for line in figure.axes[0].lines if str(line.get_label())[0] in "ab"]
    colours = {line.get_color() for line in named}
    assert len(colours) == 2


def test_rcparams_neither_change_nor_shine_through() -> None:
    # Read past RcParams, which looks for a backend when asked for it.
    before = list(dict.items(mpl.rcParams))
    usual = png(loss_curve(finished(), title="a", lines=["b"]))
    assert list(dict.items(mpl.rcParams)) == before
    with mpl.rc_context():
        dark: Any = {
            "axes.facecolor": "black",
            "text.color": "white",
            "axes.edgecolor": "white",
            "xtick.color": "white",
            "grid.color": "red",
            "grid.linestyle": ":",
            "font.size": 20,
            "lines.linestyle": ":",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "black",
            "axes.grid": True,
            "axes.spines.left": True,
        }
        mpl.rcParams.update(dark)
        assert png(loss_curve(finished(), title="a", lines=["b"])) == usual


def test_pyplot_stays_out() -> None:
    code = (
        "import sys\n"
        "from tests.unit.display.made import finished, View\n"
        "from lora_nb.display import loss_curve, png, mimebundle\n"
        "png(loss_curve(finished())); mimebundle(View())\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_room_is_cheap_to_import() -> None:
    code = (
        "import sys, lora_nb.display, lora_nb.display.live, lora_nb.display.background\n"
        "import lora_nb.display.record, lora_nb.display.generation, lora_nb.display.metrics\n"
        "heavy = {'matplotlib', 'pandas', 'IPython', 'numpy', 'mlx', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_threads_draw_the_same() -> None:
    records = finished()
    usual = png(loss_curve(records))
    drawn: list[bytes] = []

    def draw() -> None:
        drawn.extend(png(loss_curve(records)) for _ in range(4))

    threads = [threading.Thread(target=draw) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == [usual] * 8


def test_a_frame_is_small_and_quick() -> None:
    records = numbered([started(), *losses(1000, planned=1000)])
    png(loss_curve(records))
    began = time.process_time()
    picture = png(loss_curve(records))
    assert time.process_time() - began < 0.5
    assert len(picture) < 30_000


def test_alt_text_is_one_sentence_with_numbers() -> None:
    told = alt_text(finished())
    assert told == (
        "Loss over steps: training loss from 1.910 at step 10 to 0.200 at step 300; validation loss"
        " from 2.500 at step 0 to 0.034 at step 300; best validation loss 0.031 at step 250;"
        " 2 checkpoints."
    )
    assert alt_text([]) == "A run without a loss curve."


def test_lines_are_broken_at_their_dots() -> None:
    assert wrapped("aaa · bbb · ccc", 9) == ["aaa · bbb", "ccc"]
    assert wrapped("word " * 40, 20)[-1].endswith("…")
    assert wrapped("x" * 50, 20)[0] == "x" * 20


def test_long_titles_lose_their_middle() -> None:
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert shortened("short", 5) == "short"
