from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from lora_nb.display import figure
from lora_nb.display.header import write_row
from lora_nb.display.layers import Layer, Layers
from lora_nb.display.lettering import Lettering
from lora_nb.display.limits import limits
from lora_nb.display.live_figure import LiveFigure
from lora_nb.display.picture import Canvas, canvas_of, pixels_of, png
from lora_nb.display.progress import line_of
from lora_nb.display.screen import Frame, PictureScreen
from lora_nb.display.state import RunState, state_of
from lora_nb.display.style import blank
from lora_nb.runs.events import Event, Progress
from tests.unit.display.made import (
    FakeKernel,
    data,
    ended,
    finished,
    losses,
    model,
    numbered,
    saved,
    started,
    train,
    valid,
)

TITLE = "20260101-120000-demo"


def falling(steps: int, planned: int) -> list[Event]:
    """A run with losses, validations and checkpoints, whose loss falls to a fiftieth."""
    events: list[Event] = [started(), model(), data(), valid(0, 2.5)]
    for step in range(10, steps + 1, 10):
        noise = 0.05 * (1 + math.sin(step))
        events.append(train(step, 2.5 * math.exp(-step / 300) + noise, planned))
        if step % 50 == 0:
            events.append(valid(step, 2.5 * math.exp(-step / 310) + 0.05))
        if step % 200 == 0:
            events.append(saved(step))
    return events


def shown(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture)).convert("RGB")


def same(live: LiveFigure, state: RunState, lines: Sequence[str]) -> bool:
    """Whether a live picture is the one that is drawn in full at its limits."""
    picture = live.png(state, lines)
    full = figure.draw(state, title=TITLE, lines=lines, limits=live.limits)
    return shown(picture).tobytes() == shown(png(full)).tobytes()


def test_live_pictures_are_those_drawn_in_full() -> None:
    live, state = LiveFigure(TITLE), RunState()
    different = []
    for place, event in enumerate(falling(600, 900)):
        state.feed(event)
        if place < 8 or place % 3 == 0:
            lines = [line_of(state, "running"), *(["a note · of two"] if place % 5 == 0 else [])]
            different += [] if same(live, state, lines) else [place]
    assert different == []


@pytest.mark.parametrize(
    "events",
    [
        [],
        [started(), Progress(stage="validating", done=1, total=25)],
        [train(1, math.nan), valid(1, math.nan)],
        [train(1, math.inf), train(2, 1e30), valid(2, 1e-30), saved(2)],
        [train(1, 1e301), train(2, -1e301)],
        [valid(0, 0.0), train(1, 0.0)],
        losses(2000, planned=2000),
    ],
)
def test_odd_runs_look_as_in_full(events: list[Event]) -> None:
    live, state = LiveFigure(TITLE), RunState()
    for event in events:
        state.feed(event)
    odd = "$\\frac{a}$ \N{CJK UNIFIED IDEOGRAPH-6F22} · _x · T.7 · fi 1/4 \u0627\u0644"
    assert same(live, state, [odd])
    assert same(live, state, ["step 1/4"])


def test_what_stays_is_kept_while_the_curve_grows() -> None:
    live, state = LiveFigure(TITLE), state_of(numbered([*falling(400, 900)]))
    live.png(state, ["step 400"])
    before = live.painted
    assert before == (1, 1, 1)
    first = shown(live.png(state, ["step 410"])).tobytes()
    state.feed(train(410, 0.9, 900))
    assert shown(live.png(state, ["step 410"])).tobytes() != first
    assert live.painted == before


@pytest.mark.parametrize(
    ("event", "painted"),
    [
        (train(410, 4.0, 900), (1, 1, 2)),
        (train(410, -0.5, 900), (1, 1, 2)),
        (valid(400, 0.7), (1, 2, 2)),
        (saved(400), (1, 2, 2)),
        (train(410, 0.9, 1200), (2, 2, 2)),
    ],
)
def test_it_is_drawn_anew_when_it_must(event: Event, painted: tuple[int, ...]) -> None:
    live = LiveFigure(TITLE)
    state = state_of(numbered([started(), *losses(400, 10, 900)]))
    live.png(state, ["a"])
    state.feed(event)
    assert same(live, state, ["a"])
    assert live.painted == painted


def test_a_third_row_moves_the_picture_down() -> None:
    live, state = LiveFigure(TITLE), state_of(numbered(losses(100)))
    for lines in (["a"], ["a", "b"], ["a", "b", "c"], ["a"]):
        assert same(live, state, lines)
    assert live.painted[0] == 3


def test_a_falling_run_is_rarely_drawn_anew() -> None:
    live, state = LiveFigure(TITLE), RunState()
    for event in falling(1500, 1500):
        state.feed(event)
        live.png(state, [line_of(state, "running")])
    frame, legend, loss_axis = live.painted
    assert frame <= 3
    assert legend <= 7
    assert loss_axis <= 7 + 10


def test_the_last_frame_is_drawn_in_full(kernel: FakeKernel) -> None:
    screen, state = PictureScreen(TITLE), RunState()
    for event in falling(300, 300):
        state.feed(event)
        screen.draw(Frame(state, "going on"))
    state.feed(ended())
    screen.draw(Frame(state, "completed", last=True))
    full = png(figure.draw(state, title=TITLE, lines=["completed"]), figure.DPI * 2)
    assert base64.b64decode(kernel.last["image/png"]) == full
    assert [kernel.metadata[-1]["image/png"][side] for side in ("width", "height")] == [512, 256]
    assert kernel.metadata[-2]["image/png"]["width"] == 512


def test_limits_stay_while_they_fit_and_have_room_below() -> None:
    state = state_of(numbered([train(1, 2.0), train(2, 1.0)]))
    low, high = limits(state)
    assert low < 0.8
    assert 2.0 < high < 2.1
    state.feed(train(3, 0.8))
    assert limits(state, (low, high)) == (low, high)
    state.feed(train(4, 0.1))
    lower = limits(state, (low, high))
    assert -0.11 < lower[0] < 0
    state.feed(train(5, 1e-6))
    assert limits(state, lower) == lower
    assert limits(RunState(), lower) == (0, 1)


def test_limits_narrow_once_it_is_known_how_little_the_losses_vary() -> None:
    state = state_of(numbered([train(step, 2.0 + step / 1000) for step in range(1, 20)]))
    low, high = limits(state, (0.0, 3.0))
    assert 1.9 < low < 2.0 < high < 2.1


def test_layers_are_painted_from_the_lowest_changed_one() -> None:
    canvas = canvas_of(blank(1, 1, 10))
    canvas.draw()
    painted: list[str] = []

    def layer(name: str, key: int) -> Layer:
        def paint() -> tuple[Canvas, object]:
            painted.append(name)
            pixels_of(canvas)["abc".index(name)] = key
            return canvas, canvas.figure.bbox  # type: ignore[attr-defined]

        return Layer(key, paint)  # type: ignore[arg-type]

    layers = Layers()
    layers.show([layer("a", 1), layer("b", 2), layer("c", 3)])
    pixels_of(canvas)[:] = 99
    layers.show([layer("a", 1), layer("b", 2), layer("c", 3)])
    assert "".join(painted) == "abc"
    layers.show([layer("a", 1), layer("b", 7), layer("c", 3)])
    assert "".join(painted) == "abcbc"
    assert [int(row[0, 0]) for row in pixels_of(canvas)[:3]] == [1, 7, 3]
    assert layers.painted == [1, 2, 2]


def test_rows_are_copied_from_pixels_and_are_what_would_be_drawn() -> None:
    letters = Lettering(6.4, 3.2, 80)
    for step in range(12):
        row = (
            f"step {step * 97}/4444 · train 0.{step * 71} · 5.{step}k tok/s · AV To f{step} (best)"
        )
        target, wanted = blank(6.4, 3.2, 80), blank(6.4, 3.2, 80)
        canvas = canvas_of(target)
        canvas.draw()
        letters.write(target, canvas, 2, row)
        write_row(wanted, 2, row)
        full = canvas_of(wanted)
        full.draw()
        assert np.array_equal(pixels_of(canvas), pixels_of(full))
    assert letters.copies


def test_letters_between_pixels_are_left_to_matplotlib() -> None:
    with mpl.rc_context({"text.hinting": "none"}):
        live, state = LiveFigure(TITLE), state_of(finished()[:-1])
        for step in range(6):
            assert same(live, state, [f"step {step}0/300 · train 0.3{step}"])


def test_a_curve_that_passes_below_the_best_loss_is_seen() -> None:
    live, state = LiveFigure(TITLE), state_of(numbered([started(), train(10, 2.0, 900)]))
    state.feed(valid(100, 1.0))
    for step in range(20, 400, 20):
        state.feed(train(step, 1.1 + step / 4000, 900))
        assert same(live, state, ["a"])


def test_copies_that_are_not_the_same_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lettering, "_advance", lambda self, piece, after: 9.0)
    live, state = LiveFigure(TITLE), state_of(finished()[:-1])
    for step in range(5):
        assert same(live, state, [f"step {step}0/300 · train 0.3{step}"])
