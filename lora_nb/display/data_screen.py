"""Where a look through data is shown while it goes on, and the picture that stays."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lora_nb.display import card, notebook
from lora_nb.display.figure import DPI
from lora_nb.display.picture import base64_text, png
from lora_nb.display.screen import Frame, NoScreen, Screen, TtyScreen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PLACEHOLDER", "DataScreen"]

PLACEHOLDER = "<lora_nb data>"
_FINE = 2


class DataScreen:
    """In a notebook one picture: the progress, then the histogram in its place.

    The picture is there even if nothing had to be counted, so that a notebook which is run again
    has the same outputs. In a terminal the progress goes to stderr: stdout is for the report.
    """

    def __init__(self, title: str) -> None:
        self.shows_pictures = notebook.in_kernel()
        self._title = title
        self._handle: notebook.Handle | None = None
        self._other: Screen = TtyScreen(sys.stderr) if sys.stderr.isatty() else NoScreen()

    @property
    def interval(self) -> float:
        return 1.0 if self.shows_pictures else self._other.interval

    def draw(self, frame: Frame) -> None:
        """Show how far the work is."""
        if not self.shows_pictures:
            self._other.draw(frame)
            return
        lines = [frame.line, frame.note] if frame.note else [frame.line]
        self._put(card.draw_card(frame.state, title=self._title, lines=lines), frame.line)

    def warn(self, message: str) -> None:
        """Leave it out: the report lists what was found."""

    def finish(self, figure: Figure, alt: str) -> None:
        """Show the picture that stays."""
        if self.shows_pictures:
            self._put(figure, alt)

    def _put(self, figure: Figure, alt: str) -> None:
        width, height = (round(side * DPI) for side in figure.get_size_inches())
        bundle = {"image/png": base64_text(png(figure, DPI * _FINE)), "text/plain": PLACEHOLDER}
        metadata: dict[str, dict[str, object]] = {
            "image/png": {"width": width, "height": height, "alt": alt}
        }
        if self._handle is None:
            self._handle = notebook.new_handle()
            self._handle.display(bundle, raw=True, metadata=metadata)
        else:
            self._handle.update(bundle, raw=True, metadata=metadata)
