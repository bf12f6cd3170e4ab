"""Figures as PNG bytes, small enough to stay in a notebook."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["base64_text", "png"]

_COLOURS = 64


class _Canvas(Protocol):
    def draw(self) -> None: ...
    def buffer_rgba(self) -> memoryview: ...
    def get_width_height(self) -> tuple[int, int]: ...


def png(figure: Figure, dpi: float | None = None) -> bytes:
    """The figure as a PNG with a palette; `dpi` other than the figure's own draws it finer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    if dpi is not None:
        figure.set_dpi(dpi)
    canvas: _Canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    image = Image.frombytes("RGBA", (width, height), bytes(canvas.buffer_rgba()))
    small = image.convert("RGB").quantize(
        _COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
    )
    out = io.BytesIO()
    small.save(out, format="PNG", optimize=False)
    return out.getvalue()


def base64_text(picture: bytes) -> str:
    """PNG bytes as the text a display bundle or data URI holds."""
    return base64.b64encode(picture).decode("ascii")
