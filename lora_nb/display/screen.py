"""Where a live run is shown: a picture in a notebook, lines in a terminal, or nowhere."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TextIO

from lora_nb.display import card, figure
from lora_nb.display.live_figure import LiveFigure
from lora_nb.display.notebook import Handle, in_kernel, new_handle
from lora_nb.display.picture import base64_text, png
from lora_nb.display.state import RunState
from lora_nb.display.words import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "PLACEHOLDER",
    "Drawing",
    "Frame",
    "LineScreen",
    "NoScreen",
    "PictureScreen",
    "Screen",
    "TtyScreen",
    "screen_here",
]

PLACEHOLDER = "<lora_nb run>"
"""The text of a live view, never another: test tools compare a cell's first text with its last."""

_FINE = 2


@dataclass(frozen=True)
class Frame:
    """What is to be shown: the state, its progress line, a note beside it, and lines that stay."""

    state: RunState
    line: str
    note: str = ""
    last: bool = False
    lines: str = ""


class Drawing(Protocol):
    """Draws a frame; returns the picture and what it shows in words."""

    def __call__(self, frame: Frame) -> tuple[Figure, str]: ...


class Screen(Protocol):
    """Something a run can be shown on; frames come no closer than `interval` seconds."""

    @property
    def interval(self) -> float: ...

    def draw(self, frame: Frame) -> None:
        """Show a frame in the place of the one before."""

    def warn(self, message: str) -> None:
        """Show a warning that stays."""


class PictureScreen:
    """One picture in the cell's output, replaced with every frame; the last one stays.

    With `aloud`, warnings go to stderr, else (in threads, whose prints may land in a foreign cell)
    they are left to the note in the picture.
    """

    interval = 1.0

    def __init__(self, title: str, *, aloud: bool = True, drawing: Drawing | None = None) -> None:
        self._drawing = drawing or partial(_drawing, title=title)
        self._live = None if drawing else LiveFigure(title)
        self._aloud = aloud
        self._handle: Handle | None = None

    def draw(self, frame: Frame) -> None:
        """Draw the frame; the last one twice as fine, for screens that can show it.

        Lines are printed beside the picture; in threads, they are left to the run's record.
        """
        if frame.lines and self._aloud:
            _write(f"{frame.lines}\n")
        picture, (width, height), shows = self._picture(frame)
        bundle = {"image/png": base64_text(picture), "text/plain": PLACEHOLDER}
        alt = f"{frame.line} | {shows}"
        self._put(bundle, {"image/png": {"width": width, "height": height, "alt": alt}})

    def _picture(self, frame: Frame) -> tuple[bytes, tuple[int, int], str]:
        """The picture as PNG, its size in pixels of the usual density, and what it shows."""
        if self._live and not frame.last and _is_curve(frame.state):
            picture = self._live.png(frame.state, _lines(frame))
            return picture, _pixels(figure.WIDTH, figure.HEIGHT), figure.alt_of(frame.state)
        drawn, shows = self._drawing(frame)
        picture = png(drawn, figure.DPI * _FINE if frame.last else None)
        return picture, _pixels(*drawn.get_size_inches()), shows

    def _put(self, bundle: dict[str, str], metadata: dict[str, dict[str, object]]) -> None:
        if self._handle is None:
            self._handle = new_handle()
            self._handle.display(bundle, raw=True, metadata=metadata)
        else:
            self._handle.update(bundle, raw=True, metadata=metadata)

    def warn(self, message: str) -> None:
        """Say it on stderr, unless it is left to the picture."""
        if self._aloud:
            _warn(message)


class LineScreen:
    """A line for every report, on a stdout that is no terminal: files, pipes, CI logs."""

    interval = 0.0

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out
        self._said = ""

    def draw(self, frame: Frame) -> None:
        """Write the line if it is new; of stages that count, only that they begin."""
        if frame.lines:
            _write(f"{frame.lines}\n", self._out)
        counting = None if frame.last else frame.state.progress
        if counting and frame.state.train and not frame.note:
            return
        text = frame.note or (f"{plain(counting.stage)}…" if counting else frame.line)
        if text != self._said:
            self._said = text
            _write(f"{text}\n", self._out)

    def warn(self, message: str) -> None:
        """Say it on stderr."""
        _warn(message)


class TtyScreen:
    """One line at the bottom of a terminal, rewritten with every frame."""

    interval = 0.2

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out

    def draw(self, frame: Frame) -> None:
        """Rewrite the line; the last one stands in full and is ended."""
        if frame.lines:
            _write(f"\r\x1b[K{frame.lines}\n", self._out)
        text = f"{frame.note} · {frame.line}" if frame.note else frame.line
        room = shutil.get_terminal_size().columns - 1
        if frame.last:
            text += "\n"
        elif len(text) > room:
            text = f"{text[: room - 1]}…"
        _write(f"\r\x1b[K{text}", self._out)

    def warn(self, message: str) -> None:
        """Clear the line, then say it on stderr."""
        _write("\r\x1b[K", self._out)
        _warn(message)


class NoScreen:
    """Shows nothing but warnings, and without `aloud` not even these."""

    interval = float("inf")

    def __init__(self, *, aloud: bool = True) -> None:
        self._aloud = aloud

    def draw(self, frame: Frame) -> None:
        """Show nothing."""

    def warn(self, message: str) -> None:
        """Say it on stderr."""
        if self._aloud:
            _warn(message)


def screen_here(
    title: str, *, quiet: bool = False, background: bool = False, drawing: Drawing | None = None
) -> Screen:
    """The screen that fits where Python runs; `drawing` makes its pictures, if it has any."""
    if quiet:
        return NoScreen()
    if in_kernel():
        return PictureScreen(title, aloud=not background, drawing=drawing)
    if background:
        return NoScreen(aloud=False)
    return TtyScreen() if sys.stdout.isatty() else LineScreen()


def _drawing(frame: Frame, title: str) -> tuple[Figure, str]:
    return _figure(frame, title), figure.alt_of(frame.state)


def _figure(frame: Frame, title: str) -> Figure:
    draw = figure.draw if _is_curve(frame.state) else card.draw_card
    return draw(frame.state, title=title, lines=_lines(frame))


def _is_curve(state: RunState) -> bool:
    return state.has_curve or state.started is None or state.started.verb == "train"


def _lines(frame: Frame) -> list[str]:
    return [frame.line, frame.note] if frame.note else [frame.line]


def _pixels(width: float, height: float) -> tuple[int, int]:
    return round(width * figure.DPI), round(height * figure.DPI)


def _write(text: str, out: TextIO | None = None) -> None:
    # Asked for each time: a notebook or test may have put another stdout in its place.
    stream: TextIO = out or sys.stdout
    stream.write(text)
    stream.flush()


def _warn(message: str) -> None:
    _write(f"warning: {plain(message)}\n", sys.stderr)
