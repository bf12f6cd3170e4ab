"""A sweep on the screen: the curves of its trials in a notebook, a line in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_nb.display.overlay import overlay_alt, overlay_of
from lora_nb.display.screen import Frame, screen_here
from lora_nb.display.state import RunState
from lora_nb.runs.folder import RunFolder
from lora_nb.sweeping.board import DOT, Board

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SweepScreen"]


class SweepScreen:
    """Shows how the trials stand whenever the sweep tells of something, on the screen of here."""

    def __init__(self, sweep: RunFolder, *, background: bool = False) -> None:
        self._board = Board(sweep)
        self._screen = screen_here(sweep.name, background=background, drawing=self._drawing)

    @property
    def interval(self) -> float:
        """Seconds between two frames at least."""
        return self._screen.interval

    def draw(self, frame: Frame) -> None:
        """Show the trials as they stand now, in the place of what the frame says of the sweep."""
        self._board.look()
        best = self._board.best()
        line = DOT.join([frame.line, *best]) if frame.last else self._board.line()
        # Without a stage that counts, a line is worth printing each time it changes.
        self._screen.draw(
            Frame(RunState(started=frame.state.started), line, frame.note, frame.last)
        )

    def warn(self, message: str) -> None:
        """Show a warning that stays."""
        self._screen.warn(message)

    def _drawing(self, frame: Frame) -> tuple[Figure, str]:
        states = self._board.states()
        lines = [frame.line, frame.note] if frame.note else [frame.line]
        title = self._board.sweep.name
        return overlay_of(states, title=title, lines=lines), overlay_alt(states)
